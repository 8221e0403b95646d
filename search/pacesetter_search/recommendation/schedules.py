"""Which schedule to run: by a law of the family's curves where there is one, else what was published."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pacesetter.protocol import Alternative, Source
from pacesetter.schedules import WSD, Schedule
from pacesetter.schedules.families import AnyFamily

from pacesetter_search.laws.choice import SHRINK, learning_rates, usual_schedules, zoo
from pacesetter_search.laws.choice.ranking import rises_again
from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.recommendation.bodies import HORIZON_BOUND, by_name, laid_over
from pacesetter_search.recommendation.known import KnownLaw
from pacesetter_search.recommendation.shapes import shape_octaves
from pacesetter_search.recommendation.target import ImpossibleTarget, Target
from pacesetter_search.transfer.peak import Z90

PUBLISHED_GAINS: Mapping[str, tuple[float, float]] = {
    "wsd linear 0.6": (0.0033, 0.0082),
    "wsd linear 0.4": (0.0027, 0.0093),
    "wsd linear 0.8": (0.0026, 0.0053),
    "wsd linear 0.9": (0.0016, 0.0033),
    "wsd sqrt 0.2": (0.0007, 0.0083),
    "linear": (0.0006, 0.0007),
    "cosine": (0.0, 0.0),
    "wsd linear 0.2": (-0.0014, 0.0075),
    "cosine to 0.1": (-0.0065, 0.0005),
    "wsd linear 0.1": (-0.0067, 0.0039),
}
"""Relative gains over a cosine to zero, best first: least and largest of four cells of a 124M model (peaks 5e-4 and
1e-3, 25,000 and 50,000 steps; linear: 50,000 alone) of one table of final losses [Schaipp2025, arXiv 2501.18965]. At
one peak for all, so with cooldowns at more than their best rate."""

CLEAR = 0.0012
"""Relative gain from which on a schedule is taken over a linear decay: two sds of a difference of seeds at 124M."""


GRID = 1001
"""Places at which the highest rate of a law in learning rates is sought."""

CELLS = 6000
"""Cells of a schedule that a law is asked about, each of as many steps, at most: finals of the zoo move by less than
1e-4 of themselves at any length (2000: by up to 5e-4), and all of them take 40 ms."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The schedule to run, and the others in their order.

    Attributes:
        schedule: In steps.
        name: Of it, among the alternatives.
        losses: Expected final losses by name with their sds, at the law's own peak; empty without a law.
        gains: Relative gains that are likely, by name; those of a law.
        over: What they are measured against.
        candidates: All schedules by name.
        at: Peak of all of them, where a law compares them; None: each has its own.
        won: Whether a law shows a clear win of the schedule over the usual one. It is then run at the law's own peak.
    """

    schedule: Schedule
    name: str
    losses: Mapping[str, tuple[float, float]]
    gains: Mapping[str, float]
    over: str
    candidates: Mapping[str, Schedule]
    at: float | None = None
    won: bool = False

    @property
    def order(self) -> list[str]:
        """All names, best first: by a law's losses, else as published, the unknown last."""
        return sorted(self.candidates, key=self._place)

    def _place(self, name: str) -> tuple[float, float]:
        if name in self.losses:
            return 0.0, self.losses[name][0]
        published = list(PUBLISHED_GAINS)
        return 1.0, float(published.index(name) if name in published else len(published))


def plan(target: Target, steps: int, warmup: int, batch: float, law: KnownLaw | None) -> Plan:
    """Return what to run over ``steps``.

    Raises:
        ImpossibleTarget: The schedule that is asked for cannot be laid over them.
    """
    found = candidates(target, steps, warmup, batch)
    if law is not None and target.schedule_family is None and target.floor == 0.0:
        found |= _whole_zoo(target, steps, warmup)
    preferred = _preferred(target, found)
    if law is None:
        return Plan(found[preferred], preferred, {}, {}, "cosine", found)
    losses = {name: final_loss(law, schedule) for name, schedule in found.items()}
    base = losses[preferred][0]
    gains = {name: SHRINK * (base - mean) / base for name, (mean, _) in losses.items()}
    # Laws were never checked where a rate rises again after a fall.
    checked = [name for name in gains if not rises_again(_over(found[name]))]
    best = max(checked, key=lambda name: gains[name])
    won = gains[best] >= CLEAR
    chosen = best if won else preferred
    return Plan(found[chosen], chosen, losses, gains, preferred, found, law.peak, won)


def candidates(target: Target, steps: int, warmup: int, batch: float) -> dict[str, Schedule]:
    """Return the schedules that keep to what is asked for, by name.

    Raises:
        ImpossibleTarget: None does.
    """
    shapes: dict[str, AnyFamily] = {
        name: schedule.body for name, schedule in usual_schedules(max(steps, 2)).items()
    }
    shapes["wsd linear 0.9"] = WSD(cooldown=0.9)
    family = target.schedule_family
    if isinstance(family, str):
        own = {name: body for name, body in shapes.items() if body.family == family}
        shapes = own or {family: by_name(family, batch)}
    elif family is not None:
        shapes = {family.family: family}
    if target.extendable:
        shapes = {n: body for n, body in shapes.items() if body.family not in HORIZON_BOUND}
    made: dict[str, Schedule] = {}
    problems = []
    for name, body in shapes.items():
        try:
            made[name] = laid_over(body, steps, warmup, target.floor)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if not made:
        raise ImpossibleTarget(f"no schedule can be laid over {steps} steps; {problems[0]}")
    return made


def final_loss(law: KnownLaw, schedule: Schedule) -> tuple[float, float]:
    """Return the loss that a law expects at the end of a schedule, at its own peak, and its sd."""
    stride = -(-schedule.length // CELLS)
    found = law.law.thinned(stride).predict(law.peak * _over(schedule))
    return float(found.mean[-1]), float(found.sd[-1])


def at_peak(schedule: Schedule, lr: float) -> Schedule:
    """Return a schedule whose highest rate is ``lr``: a law in learning rates scaled to it, another one as it is."""
    if schedule.unit == "relative":
        return schedule
    return schedule.model_copy(update={"peak": schedule.peak * lr / _highest(schedule)})


def _over(schedule: Schedule) -> FloatArray:
    """Return a schedule's value in the middle of every cell, scaled so that the highest one is 1."""
    stride = -(-schedule.length // CELLS)
    highest = 1.0 if schedule.unit == "relative" else _highest(schedule)
    return learning_rates(schedule, 1.0, stride) / highest


def _whole_zoo(target: Target, steps: int, warmup: int) -> dict[str, Schedule]:
    """Return every family that a law may rank."""
    found = zoo(steps, 1.0, warmup)
    if not target.extendable:
        return found
    return {name: one for name, one in found.items() if one.body.family not in HORIZON_BOUND}


def _highest(schedule: Schedule) -> float:
    places = schedule.zero + np.linspace(0.0, schedule.length, GRID)
    return float(schedule.over(places).max())


def alternatives(made: Plan, lr: float) -> tuple[Alternative, ...]:
    """Return every other schedule in its place.

    Args:
        made: The plan.
        lr: Recommended peak of a linear decay.
    """
    return tuple(
        _alternative(made, name, rank, lr)
        for rank, name in enumerate(made.order, 1)
        if name != made.name
    )


def sources(law: KnownLaw | None) -> tuple[Source, ...]:
    """Return the law and its curves, which share its weight."""
    if law is None:
        return ()
    share = 1.0 / max(1, len(law.curves))
    curves = [
        Source(kind="curve", name=one.name, id=one.id, about="loss", loss_weight=share)
        for one in law.curves
    ]
    name = f"{type(law.law).__name__} of {len(law.curves)} curves at a peak of {law.peak:.3g}"
    return (Source(kind="fitted_law", name=name, id=law.id, about="schedule"), *curves)


def _preferred(target: Target, found: Mapping[str, Schedule]) -> str:
    """Return what is run while no law shows a clear win over it."""
    named = target.schedule_family is not None
    if not named and "linear" in found:
        return "linear"
    if target.extendable and "wsd sqrt 0.2" in found:
        return "wsd sqrt 0.2"  # of a trunk that is used again only the last part is spent
    known = [name for name in PUBLISHED_GAINS if name in found]
    return known[0] if known else next(iter(found))


def _alternative(made: Plan, name: str, rank: int, lr: float) -> Alternative:
    schedule = made.candidates[name]
    own = lr * 2.0 ** shape_octaves(schedule) if made.at is None else made.at
    mean, sd = made.losses.get(name, (None, 0.0))
    published = None
    if not made.losses and schedule.floor == 0.0:
        published = PUBLISHED_GAINS.get(name)
    return Alternative(
        name=name,
        rank=rank,
        schedule=at_peak(schedule, own),
        lr=own,
        loss=mean,
        loss_90=None if mean is None else (mean - Z90 * sd, mean + Z90 * sd),
        gain=made.gains.get(name),
        gain_range=published,
        over=made.over,
        basis="curves" if mean is not None else ("none" if published is None else "published"),
    )
