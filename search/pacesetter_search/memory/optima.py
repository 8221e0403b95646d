"""From runs that have ended to best peaks that were measured.

Two things tell where a best peak lies: complete short runs of one job (``RunRecord.found``), and runs that differ in
their peak alone. All peaks are those of a linear decay, and of an optimizer without momentum, so that they compare.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pacesetter_search.memory.kinds import SCALE
from pacesetter_search.memory.records import RunRecord
from pacesetter_search.transfer.places import Optimum
from pacesetter_search.transfer.sweeps import SMALL, Cost, Trial, best_peak, cost_of_an_octave

ALIKE = 0.02
"""Relative difference of sizes, budgets and batches up to which they count as one."""

AHEAD_SD = 0.35
"""Octaves by which the best peak of a run moves from one length to twice that, around its mean fall [15 small language
models]: a short run says less of a long one."""

SAME_SHAPE = 0.1
"""Octaves between the best peaks of two shapes up to which runs of both compare by what they end with."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A best peak, with the runs that tell it."""

    optimum: Optimum
    sources: tuple[str, ...]
    """Ids of their curves."""


def optima_of(records: Sequence[RunRecord]) -> list[Remembered]:
    """Return what runs of one kind say of best peaks. Runs whose size, budget or batch is not known say nothing."""
    placed = [one for one in records if _place(one) is not None]
    found = [each for one in placed for each in _found(one)]
    return [*found, *_swept(placed)]


def effective_log2_lr(lr: float, momentum: float, shape_octaves: float) -> float:
    """Return log2 of a peak as that of a linear decay without momentum."""
    return math.log2(lr / (1.0 - momentum)) - shape_octaves


def place_of(record: RunRecord) -> Optimum | None:
    """Return where a run stands and the peak that it ran at, of a linear decay without momentum; None if not known."""
    if _place(record) is None:
        return None
    peak = effective_log2_lr(record.peak_lr, record.momentum, record.shape_octaves)
    return _optimum(record, 1.0, peak, 0.0)


def _place(record: RunRecord) -> tuple[float, float, float] | None:
    """Return parameters, tokens and batch, where all are known and possible."""
    parameters, batch = record.workload.parameters, record.workload.batch_tokens
    if parameters is None or batch is None or record.tokens is None or batch > record.tokens:
        return None
    return parameters, record.tokens, batch


def _optimum(record: RunRecord, share: float, log2_lr: float, sd: float) -> Optimum:
    place = _place(record)
    assert place is not None
    parameters, tokens, batch = place
    workload = record.workload
    return Optimum(
        parameters=parameters,
        tokens=max(share * tokens, batch),
        batch=batch,
        lr=math.exp2(log2_lr),
        sd=sd,
        width=workload.width_ratio,
        depth=workload.depth_ratio,
        family=workload.family,
    )


def _found(record: RunRecord) -> list[Remembered]:
    shift = math.log2(1.0 - record.momentum)
    found = []
    for each in record.found:
        sd = math.hypot(each.sd, AHEAD_SD * math.sqrt(-math.log2(each.share)))
        found.append(
            Remembered(_optimum(record, each.share, each.log2_lr - shift, sd), (record.id,))
        )
    return found


def _swept(records: Sequence[RunRecord]) -> list[Remembered]:
    """Return the best peaks of runs that differ in their peak alone."""
    groups: list[list[RunRecord]] = []
    for one in records:
        if not one.completed or one.final_loss is None or one.final_loss <= 0.0:
            continue
        group = next((each for each in groups if _compare(each[0], one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return [best for group in groups if (best := _best_of(group)) is not None]


def _best_of(group: Sequence[RunRecord]) -> Remembered | None:
    trials = [
        Trial(
            math.exp2(effective_log2_lr(one.peak_lr, one.momentum, one.shape_octaves)),
            one.final_loss or math.inf,
            one.workload.objective.noise or 0.0,
        )
        for one in group
    ]
    try:
        mean, sd = best_peak(trials, _cost(group[0]))
    except ValueError:
        return None  # one peak only, or the others diverged: no bowl to look into
    return Remembered(_optimum(group[0], 1.0, mean, sd), tuple(one.id for one in group))


def _cost(record: RunRecord) -> Cost:
    place = _place(record)
    assert place is not None
    at_scale = record.regime == "pretrain" and place[0] >= SCALE
    return Cost(cost_of_an_octave(place[1] / place[0])) if at_scale else SMALL


def _compare(one: RunRecord, other: RunRecord) -> bool:
    """Whether two runs differ in their peak alone, as far as their records tell."""
    mine, theirs = _place(one), _place(other)
    assert mine is not None
    assert theirs is not None
    ratios = (one.workload.width_ratio, one.workload.depth_ratio)
    return (
        one.workload.family == other.workload.family
        and one.optimizer == other.optimizer
        and one.validated == other.validated
        and ratios == (other.workload.width_ratio, other.workload.depth_ratio)
        and abs(one.shape_octaves - other.shape_octaves) <= SAME_SHAPE
        and math.isclose(one.weight_decay, other.weight_decay, rel_tol=ALIKE)
        and all(math.isclose(a, b, rel_tol=ALIKE) for a, b in zip(mine, theirs, strict=True))
    )
