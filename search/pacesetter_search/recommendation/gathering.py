"""Everything that may speak of a target's best peak, sorted from what may not."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from pacesetter.protocol import Evidence, Measured, Regime, Source, Sweep

from pacesetter_search.memory import Recorded, RunRecord
from pacesetter_search.memory.kinds import Kind
from pacesetter_search.memory.optima import first_of
from pacesetter_search.memory.prior import MOST as MOST_REMEMBERED
from pacesetter_search.memory.prior import nearest
from pacesetter_search.recommendation.kinds import is_loss, lenders
from pacesetter_search.recommendation.shapes import shape_octaves
from pacesetter_search.recommendation.stability import Stability, stability_of
from pacesetter_search.recommendation.sweeps import curvature_of, peak_of
from pacesetter_search.recommendation.target import Target
from pacesetter_search.transfer import Optimum
from pacesetter_search.transfer.published import best_batch

MOST = 200
"""Optima that one answer rests on: the nearest; of those on record not so many."""

SHOWN = 3
"""Families that a warning names."""


@dataclass(frozen=True, slots=True)
class Told:
    """A best peak, with those that tell it.

    Attributes:
        optimum: As that of a linear decay without momentum.
        sources: Who tells it; their weights are shares of its own.
    """

    optimum: Optimum
    sources: tuple[Source, ...]


@dataclass(slots=True)
class Gathered:
    """What is known of a target before any model.

    Attributes:
        told: Best peaks, own ones or borrowed ones.
        borrowed: The regime that they were borrowed from; None: they are the target's own.
        runs: Runs on record that are of the target's kind.
        finals: The best of them of each size and budget of the target's family.
        stability: At which peaks runs of the family held, and at which they were lost.
        curvature: Relative cost of an octave as sweeps tell it; None: none does.
        warnings: What was left out, and why.
    """

    told: list[Told] = field(default_factory=list)
    borrowed: Regime | None = None
    runs: Sequence[RunRecord] = ()
    finals: Sequence[RunRecord] = ()
    stability: Stability = field(default_factory=Stability)
    curvature: float | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def optima(self) -> list[Optimum]:
        """The best peaks alone."""
        return [each.optimum for each in self.told]


def gather(target: Target, recorded: Recorded, heard: Collection[str] = ()) -> Gathered:
    """Return what runs on record and the target's own evidence say; nothing of another regime, unless it may borrow.

    Args:
        target: With its own evidence.
        recorded: Runs on record.
        heard: Ids of those whose best peaks are told by the evidence: they tell what they ended with, and what they
            held, but no peak.
    """
    found, telling = Gathered(), recorded.without(heard)
    sweeps = _own_sweeps(target, found)
    kind = Kind.of_target(target)
    found.runs, found.finals = recorded.of(kind), recorded.finals(kind, target.family)
    found.told = _told(target, target.regime, sweeps, telling)
    _say_what_was_left_out(target, recorded, found)
    _say_which_families_speak(target, found)
    if not found.told and target.borrow:
        _borrow(target, telling, found)
    found.told = _nearest(target, found.told)
    own = [one for one in sweeps if _regime(one, target) == target.regime]
    bends = [bend for one in own if (bend := curvature_of(one, target.objective)) is not None]
    found.curvature = median(bends) if bends else None
    found.stability = stability_of(target, found.runs, own)
    return found


def _own_sweeps(target: Target, found: Gathered) -> list[Sweep]:
    """Return the sweeps that say something of the objective."""
    if target.sweeps and target.regime == "rl" and is_loss(target.objective):
        found.warnings.append(
            f"{len(target.sweeps)} sweeps of losses were left out: in RL the loss is not the objective; name the one "
            "that is (objective), and sweep in it"
        )
        return []
    return list(target.sweeps)


def _told(
    target: Target,
    regime: Regime,
    sweeps: Sequence[Sweep],
    recorded: Recorded,
) -> list[Told]:
    """Return the best peaks that one regime tells: of those on record the nearest."""
    leads = nearest(recorded.leads(Kind.of_target(target, regime)), _place(target))
    remembered = [
        Told(each.optimum, tuple(_run_source(id_, recorded) for id_ in each.sources))
        for each in first_of(leads, MOST_REMEMBERED)
    ]
    measured = [_measured(one, place, target) for place, one in enumerate(target.evidence, 1)]
    swept = [_swept(one, place, target) for place, one in enumerate(sweeps, 1)]
    pairs: list[tuple[Measured, Told]] = [
        *zip(target.evidence, measured, strict=True),
        *zip(sweeps, swept, strict=True),
    ]
    own = [told for one, told in pairs if _regime(one, target) == regime]
    return [*own, *remembered]


def _place(target: Target) -> Optimum:
    asked = target.asked()
    batch = min(asked.batch or best_batch(asked.tokens), asked.tokens)
    return Optimum(asked.parameters, asked.tokens, batch, 1.0, family=target.family)


def _regime(one: Measured, target: Target) -> Regime:
    return one.regime or target.regime


def _measured(one: Evidence, place: int, target: Target) -> Told:
    return _own(one, f"optimum {place}", math.log2(one.lr), one.sd_octaves, target)


def _swept(one: Sweep, place: int, target: Target) -> Told:
    mean, sd = peak_of(one, target.objective)
    return _own(one, f"sweep {place}", mean, sd, target)


def _own(one: Measured, name: str, log2_lr: float, sd: float, target: Target) -> Told:
    """Return a peak as that of a linear decay without momentum."""
    shape = 0.0 if one.schedule is None else shape_octaves(one.schedule)
    effective = log2_lr - shape - math.log2(1.0 - target.momentum)
    optimum = Optimum(
        one.parameters,
        one.tokens,
        one.batch_tokens,
        math.exp2(effective),
        sd,
        one.width_ratio,
        one.depth_ratio,
        target.family,
        shape,
    )
    source = Source(kind="optimum", name=one.name or name, lr=math.exp2(log2_lr))
    return Told(optimum, (source,))


def _run_source(id_: str, recorded: Recorded) -> Source:
    return Source(kind="run", name=recorded.names[id_], id=id_)


def _say_which_families_speak(target: Target, found: Gathered) -> None:
    """Name the families that stand in for the target's own: they count for less, and their losses do not compare."""
    families = {one.workload.family for one in found.runs}
    others = sorted(families - {target.family})
    if not others or (target.family and target.family in families):
        return
    named = [repr(one) for one in others if one]
    which = ", ".join(named[:SHOWN]) + (f" and {len(named) - SHOWN} more" if named[SHOWN:] else "")
    runs = f"runs of {which}" if named else "runs that name no family"
    own = f"family={target.family!r}" if target.family else "none"
    found.warnings.append(
        f"{runs} count as another family's, as the target names {own}: their best peaks for less, their final losses "
        "not at all; name the family that they are of if it is the same"
    )


def _say_what_was_left_out(target: Target, recorded: Recorded, found: Gathered) -> None:
    """Name the kinds that stand apart: evidence does not cross them silently."""
    measured: Iterable[Measured] = (*target.evidence, *target.sweeps)
    others = {_regime(one, target) for one in measured} - {target.regime}
    mine = Kind.of_target(target)
    others |= {kind.regime for kind in recorded.kinds} - {target.regime}
    if others:
        lend = " (borrow=true lets it speak)" if others & lenders(target.regime).keys() else ""
        found.warnings.append(
            f"what was measured in {', '.join(sorted(others))} says nothing of {target.regime}{lend}"
        )
    apart = sum(
        len(runs)
        for kind, runs in recorded.kinds.items()
        if kind.regime == target.regime and kind != mine
    )
    if apart:
        found.warnings.append(
            f"{apart} runs of {target.regime} with another optimizer, parametrisation or objective were left out"
        )


def _borrow(target: Target, recorded: Recorded, found: Gathered) -> None:
    """Take the best peaks of a neighbouring regime, moved by what is reported between the two."""
    for lender, octaves in lenders(target.regime).items():
        told = _told(target, lender, target.sweeps, recorded)
        if not told:
            continue
        found.borrowed = lender
        found.told = [_moved(each, octaves) for each in told]
        found.warnings.append(
            f"borrowed from {lender}: its best peaks times {2.0**octaves:.2g}, which may be off by a factor of 2 "
            f"either way; measure one in {target.regime}"
        )


def _moved(each: Told, octaves: float) -> Told:
    one = each.optimum
    return replace(each, optimum=replace(one, lr=one.lr * 2.0**octaves))


def _nearest(target: Target, told: Sequence[Told]) -> list[Told]:
    """Return the optima that are nearest to the target, in the order in which they came."""
    if len(told) <= MOST:
        return list(told)
    asked = target.asked()

    def apart(place: int) -> float:
        one = told[place].optimum
        return math.hypot(
            math.log2(one.parameters / asked.parameters), math.log2(one.tokens / asked.tokens)
        )

    kept = sorted(sorted(range(len(told)), key=apart)[:MOST])
    return [told[place] for place in kept]
