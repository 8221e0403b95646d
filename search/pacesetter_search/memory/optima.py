"""From runs that have ended to best peaks that were measured.

Two things tell where a best peak lies: complete short runs of one job (``RunRecord.found``), and runs that differ in
their peak alone; runs of several shapes tell less of it. All peaks are those of a linear decay, and of an optimizer
without momentum, so that they compare.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from pacesetter_search.memory.kinds import SCALE
from pacesetter_search.memory.nearby import Nearby
from pacesetter_search.memory.records import FoundPeak, RunRecord
from pacesetter_search.transfer.places import Optimum
from pacesetter_search.transfer.sweeps import SMALL, Cost, Trial, best_peak, cost_of_an_octave

ALIKE = 0.02
"""Relative difference of sizes, budgets and batches up to which they count as one."""

AHEAD_SD = 0.35
"""Octaves by which the best peak of a run moves from one length to twice that, around its mean fall [15 small language
models]: a short run says less of a long one."""

MOST_RUNS = 50
"""Runs that a best peak is worked out from, the first of them: the newest where records come newest first."""

SAME_SHAPE = 0.03
"""Octaves between the best peaks of two shapes up to which runs of both compare by what they end with: a cosine to a
tenth and a hold with a tail over .8 are .05 apart, and end .9 % apart."""

PLATEAU = -1.3
"""Octaves of a shape's best peak over that of a linear decay below which a run never came down: a cooldown of a
twentieth has -1.25, a constant rate -1.54."""

SHAPES_SD = 0.005
"""Relative sd of what a language model ends with after one shape that comes down and another, each at its best peak:
.07 to .93 % are published between a cosine and holds with a tail. Judgement."""


Same = Callable[[RunRecord, RunRecord], bool]
"""Whether two runs compare, which are the same to the letter in what has to be."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A best peak, with the runs that tell it."""

    optimum: Optimum
    sources: tuple[str, ...]
    """Ids of their curves."""


@dataclass(frozen=True, slots=True)
class Lead:
    """Runs that may tell a best peak; where it lies takes a millisecond, so it is worked out for those that matter."""

    place: Optimum
    """With a rate of 1: it is not known yet."""
    runs: tuple[RunRecord, ...]
    found: FoundPeak | None = None
    """What the short runs of the only one tell; None: several that differ in their peak."""
    sd: float = 0.0
    """Relative sd of what they end with, of what they differ in beside their peak."""

    def best(self) -> Remembered | None:
        """Return the best peak; None where the runs do not bend around one."""
        if self.found is not None:
            log2_lr = self.found.log2_lr - math.log2(1.0 - self.runs[0].momentum)
            ahead = AHEAD_SD * math.sqrt(-math.log2(self.found.share))
            return self._told(log2_lr, math.hypot(self.found.sd, ahead))
        told = _peak_of(tuple(_trial(one, self.sd) for one in self.runs), _cost(self.runs[0]))
        return None if told is None else self._told(*told)

    def _told(self, log2_lr: float, sd: float) -> Remembered:
        optimum = replace(self.place, lr=math.exp2(log2_lr), sd=sd)
        return Remembered(optimum, tuple(one.id for one in self.runs))


def leads_of(records: Sequence[RunRecord]) -> tuple[Lead, ...]:
    """Return what of runs of one kind may tell best peaks. Where size, budget or batch is not known nothing does."""
    placed = [one for one in records if _place(one) is not None]
    found = (Lead(_at(one, each.share), (one,), each) for one in placed for each in one.found)
    ended = [one for one in placed if one.completed and (one.final_loss or 0.0) > 0.0]
    swept = (
        Lead(_at(group[0], 1.0, group[0].shape_octaves), tuple(group[:MOST_RUNS]))
        for group in _groups(ended, _same_but_for_the_peak)
        if len(group) > 1
    )
    return (*found, *swept, *_across_shapes(ended))


def _across_shapes(ended: Sequence[RunRecord]) -> list[Lead]:
    """Return what runs of several shapes tell that come down, at places where no shape by itself tells anything."""
    down = [one for one in ended if one.shape_octaves >= PLATEAU and _at_scale(one)]
    leads = []
    for group in _groups(down, _same_but_for_peak_and_shape):
        by_shape = _groups(group, _same_but_for_the_peak)
        if len(by_shape) > 1 and _peaks(group) > 1 and all(_peaks(one) == 1 for one in by_shape):
            runs = tuple(group[:MOST_RUNS])
            shape = sum(one.shape_octaves for one in runs) / len(runs)
            leads.append(Lead(_at(runs[0], 1.0, shape), runs, sd=SHAPES_SD))
    return leads


def first_of(leads: Iterable[Lead], most: int) -> list[Remembered]:
    """Return the best peaks that the first of ``leads`` tell, so many at most."""
    told = (best for lead in leads if (best := lead.best()) is not None)
    return list(islice(told, most))


def effective_log2_lr(lr: float, momentum: float, shape_octaves: float) -> float:
    """Return log2 of a peak as that of a linear decay without momentum."""
    return math.log2(lr / (1.0 - momentum)) - shape_octaves


def place_of(record: RunRecord) -> Optimum | None:
    """Return where a run stands and the peak that it ran at, of a linear decay without momentum; None if not known."""
    if _place(record) is None:
        return None
    log2_lr = effective_log2_lr(record.peak_lr, record.momentum, record.shape_octaves)
    return replace(_at(record, 1.0), lr=math.exp2(log2_lr))


def _place(record: RunRecord) -> tuple[float, float, float] | None:
    """Return parameters, tokens and batch, where all are known and possible."""
    parameters, batch = record.workload.parameters, record.workload.batch_tokens
    if parameters is None or batch is None or record.tokens is None or batch > record.tokens:
        return None
    return parameters, record.tokens, batch


def _at(record: RunRecord, share: float, shape: float = 0.0) -> Optimum:
    """Return where a run of that share of its budget and that shape has its best peak, which is not known."""
    place = _place(record)
    assert place is not None
    parameters, tokens, batch = place
    workload = record.workload
    return Optimum(
        parameters=parameters,
        tokens=max(share * tokens, batch),
        batch=batch,
        lr=1.0,
        width=workload.width_ratio,
        depth=workload.depth_ratio,
        family=workload.family,
        shape=shape,
    )


def _groups(records: Sequence[RunRecord], same: Same) -> list[list[RunRecord]]:
    """Return those runs together that are the same as the first of them but for what they are to differ in."""
    groups: list[list[RunRecord]] = []
    known: dict[Hashable, Nearby[list[RunRecord]]] = {}
    for one in records:
        place = _place(one)
        assert place is not None
        alike = known.setdefault(_exactly(one), Nearby(ALIKE))
        group = next((each for each in alike.near(*place[:2]) if same(each[0], one)), None)
        if group is not None:
            group.append(one)
            continue
        groups.append([one])
        alike.add(*place[:2], groups[-1])
    return groups


def _peaks(runs: Sequence[RunRecord]) -> int:
    """Return how many peaks runs are at, those within a tolerance being one."""
    ordered = sorted(one.peak_lr for one in runs)
    pairs = zip(ordered[1:], ordered, strict=False)
    return 1 + sum(not math.isclose(one, other, rel_tol=ALIKE) for one, other in pairs)


def _trial(record: RunRecord, sd: float) -> Trial:
    lr = math.exp2(effective_log2_lr(record.peak_lr, record.momentum, record.shape_octaves))
    noise = math.hypot(record.workload.objective.noise or 0.0, sd)
    return Trial(lr, record.final_loss or math.inf, noise)


@lru_cache(maxsize=8192)
def _peak_of(trials: tuple[Trial, ...], cost: Cost) -> tuple[float, float] | None:
    """Return log2 of the best peak of runs and its sd; None where they do not bend around one.

    Kept by what went in: one more run on record changes one group of runs and no other.
    """
    try:
        return best_peak(trials, cost)
    except ValueError:
        return None  # one peak only, or the others diverged: no bowl to look into


def _cost(record: RunRecord) -> Cost:
    place = _place(record)
    assert place is not None
    return Cost(cost_of_an_octave(place[1] / place[0])) if _at_scale(record) else SMALL


def _at_scale(record: RunRecord) -> bool:
    """Whether what is known of language models is about a run."""
    return record.regime == "pretrain" and (record.workload.parameters or 0.0) >= SCALE


def _exactly(record: RunRecord) -> Hashable:
    """Return what has to be the same to the letter of runs that compare."""
    workload = record.workload
    ratios = (workload.width_ratio, workload.depth_ratio)
    return workload.family, record.optimizer, record.validated, ratios


def _same_but_for_the_peak(one: RunRecord, other: RunRecord) -> bool:
    apart = abs(one.shape_octaves - other.shape_octaves)
    return apart <= SAME_SHAPE and _same_but_for_peak_and_shape(one, other)


def _same_but_for_peak_and_shape(one: RunRecord, other: RunRecord) -> bool:
    """Whether two runs that are the same to the letter differ in these alone, as far as their records tell."""
    mine, theirs = _place(one), _place(other)
    assert mine is not None
    assert theirs is not None
    return math.isclose(one.weight_decay, other.weight_decay, rel_tol=ALIKE) and all(
        math.isclose(a, b, rel_tol=ALIKE) for a, b in zip(mine, theirs, strict=True)
    )
