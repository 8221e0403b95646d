"""The best parameters of a family under a law, within bounds that somebody has run."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from pacesetter.schedules import (
    REX,
    UBA,
    WSD,
    CooldownShape,
    Cosine,
    Exponential,
    Infinite,
    Linear,
    Polynomial,
    Schedule,
    Warmup,
)
from pacesetter.schedules.families import AnyFamily

from pacesetter_search.laws.base import FittedLaw
from pacesetter_search.laws.choice.ranking import SHORTEST_TAIL, SHRINK, outside
from pacesetter_search.laws.choice.zoo import held_then, learning_rates, power_law
from pacesetter_search.laws.curves import FloatArray

MOST_STEPS = 4000
"""Steps of a candidate that are looked at while it is tuned: hundreds of them are."""

GRID = 9
"""Points of each parameter that are tried before the best is refined."""

AT_BOUND = 0.01
"""Share of its range from a bound at which a parameter counts as on it."""


@dataclass(frozen=True, slots=True)
class Range:
    """The bounds of one parameter."""

    name: str
    low: float
    high: float
    log: bool = False
    """Whether ratios count rather than differences."""

    def at(self, share: float) -> float:
        """Return the value at a share of the way from low to high."""
        share = min(max(share, 0.0), 1.0)
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True, slots=True)
class Frame:
    """What a schedule is laid over."""

    steps: int
    base_lr: float
    warmup: int

    @property
    def longest_tail(self) -> float:
        """The share of the steps that follows the warm-up."""
        return (self.steps - self.warmup) / self.steps

    def schedule(self, body: AnyFamily, floor: float = 0.0) -> Schedule:
        """Return a body with the warm-up in front of it."""
        rise = Warmup(length=self.warmup) if self.warmup else None
        return Schedule(length=self.steps, warmup=rise, body=body, floor=floor)


@dataclass(frozen=True, slots=True)
class Tunable:
    """How to make a schedule from the values of its parameters."""

    ranges: tuple[Range, ...]
    build: Callable[[Frame, Sequence[float]], Schedule]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A schedule made for a law.

    Attributes:
        schedule: Ready to run; its peak is 1, or the learning rate for laws in learning rates.
        parameters: Of the family, by name; empty for a free shape.
        gain: Shrunken relative gain over ``reference``. What the law promises is more, and does not come.
        gain_sd: Of it, from the law's own sds; the two runs' errors count as independent.
        reference: What the gain is over, in words.
        warnings: Which parameters are at their bounds, and what else is in doubt.
    """

    schedule: Schedule
    parameters: Mapping[str, float]
    gain: float
    gain_sd: float
    reference: str
    warnings: tuple[str, ...]


def _wsd(shape: CooldownShape) -> Tunable:
    return Tunable(
        (Range("cooldown", SHORTEST_TAIL, 0.9),),
        lambda frame, values: frame.schedule(
            WSD(cooldown=min(values[0], frame.longest_tail), shape=shape)
        ),
    )


def _infinite(frame: Frame, constant: float, anneal: float) -> Infinite:
    tail = min(anneal, frame.longest_tail)
    cooldown = max(0.0, min(0.6, frame.longest_tail - tail))
    return Infinite(constant=constant, anneal=tail, end=1e-3, cooldown=cooldown)


TUNABLE: Mapping[str, Tunable] = {
    "cosine": Tunable(
        (Range("floor", 0.0, 0.3),), lambda frame, values: frame.schedule(Cosine(), values[0])
    ),
    "exponential": Tunable(
        (Range("end", 1e-3, 0.5, log=True),),
        lambda frame, values: frame.schedule(Exponential(end=values[0])),
    ),
    "infinite": Tunable(
        (Range("constant", 0.2, 1.0), Range("anneal", SHORTEST_TAIL, 0.35)),
        lambda frame, values: frame.schedule(_infinite(frame, *values)),
    ),
    "linear": Tunable(
        (Range("floor", 0.0, 0.3),), lambda frame, values: frame.schedule(Linear(), values[0])
    ),
    "polynomial": Tunable(
        (Range("power", 0.3, 4.0, log=True),),
        lambda frame, values: frame.schedule(Polynomial(power=values[0])),
    ),
    "power": Tunable(
        (Range("decay", SHORTEST_TAIL, 0.8),),
        lambda frame, values: power_law(
            frame.steps, frame.base_lr, frame.warmup, min(values[0], frame.longest_tail)
        ),
    ),
    "rex": Tunable(
        (Range("d", 0.0, 0.98),), lambda frame, values: frame.schedule(REX(d=values[0]))
    ),
    "uba": Tunable(
        (Range("phi", 0.1, 10.0, log=True),),
        lambda frame, values: frame.schedule(UBA(phi=values[0])),
    ),
    "wsd linear": _wsd("linear"),
    "wsd mirror cosine": _wsd("mirror_cosine"),
    "wsd power": Tunable(
        (Range("cooldown", SHORTEST_TAIL, 0.9), Range("power", 0.5, 3.0, log=True)),
        lambda frame, values: held_then(
            Polynomial(power=values[1]), values[0], frame.steps, frame.warmup
        ),
    ),
    "wsd sqrt": _wsd("sqrt"),
}
"""Families with parameters to tune. UBA's phi is in use from .25 to 10; the rest are shares of a run."""


def optimise_family(
    law: FittedLaw, family: str, steps: int, base_lr: float, warmup: int = 0
) -> Tuned:
    """Return a family at the parameters that end lowest under a law.

    Only what lies inside of what was fitted is tried: the peak is given, and tails are at least 5 % of the steps.

    Args:
        law: In steps of the job.
        family: A name of :data:`TUNABLE`.
        steps: Length of the run.
        base_lr: Peak, in the unit of the fitted curves.
        warmup: Steps of the rise.

    Raises:
        ValueError: The family has nothing to tune, the warm-up leaves nothing of the length, or the peak lies above
            what was fitted.
    """
    if family not in TUNABLE:
        raise ValueError(
            f"{family!r} has nothing to tune; give one of {', '.join(sorted(TUNABLE))}"
        )
    frame, tunable = Frame(steps, base_lr, warmup), TUNABLE[family]
    judge = Judge(law, frame)
    shares = _best_shares(
        lambda shares: judge.loss(_built(tunable, frame, shares)), len(tunable.ranges)
    )
    best = _built(tunable, frame, shares)
    if (why := outside(law, learning_rates(best, base_lr))) is not None:
        raise ValueError(f"no {family} schedule lies inside of what was fitted: {why}")
    values = {one.name: one.at(share) for one, share in zip(tunable.ranges, shares, strict=True)}
    bounds = [
        f"{one.name} is at the end of its range, {values[one.name]:.3g}: the law may ask for what nobody ran"
        for one, share in zip(tunable.ranges, shares, strict=True)
        if not AT_BOUND < share < 1.0 - AT_BOUND
    ]
    return judge.tuned(best, values, bounds)


class Judge:
    """The final loss of schedules over one frame, under a law that looks at few of their steps.

    Args:
        law: In steps of the job.
        frame: What the schedules are laid over.
        most: Steps that are looked at.
    """

    def __init__(self, law: FittedLaw, frame: Frame, most: int = MOST_STEPS) -> None:
        self.frame = frame
        self.law = law
        self.factor = -(-frame.steps // most)
        self.coarse = law.thinned(self.factor)

    def rates(self, schedule: Schedule) -> FloatArray:
        """Return the rates that are looked at."""
        return learning_rates(schedule, self.frame.base_lr, self.factor)

    def loss(self, schedule: Schedule) -> float:
        """Return the final loss; infinite outside of what was fitted."""
        rates = self.rates(schedule)
        # Two steps more than the least, so that a schedule at the edge is inside at every resolution.
        if outside(self.law, rates, margin=2.0 / rates.size) is not None:
            return math.inf
        return float(self.coarse.predict(rates).mean[0])

    def tuned(
        self, schedule: Schedule, parameters: Mapping[str, float], warnings: Sequence[str]
    ) -> Tuned:
        """Return a schedule with its shrunken gain over the linear decay of the same frame."""
        found, base = (
            self.coarse.predict(self.rates(each))
            for each in (schedule, self.frame.schedule(Linear()))
        )
        promised = (base.mean[0] - found.mean[0]) / base.mean[0]
        spread = np.hypot(base.sd[0], found.sd[0]) / base.mean[0]
        return Tuned(
            schedule,
            dict(parameters),
            float(SHRINK * promised),
            float(SHRINK * spread),
            "a linear decay to zero at the same peak",
            (*self.law.warnings, *warnings),
        )


def _built(tunable: Tunable, frame: Frame, shares: Sequence[float]) -> Schedule:
    values = [one.at(share) for one, share in zip(tunable.ranges, shares, strict=True)]
    return tunable.build(frame, values)


def _best_shares(loss: Callable[[Sequence[float]], float], count: int) -> tuple[float, ...]:
    """Return the point of the unit cube with the least loss: the best of a grid, then refined around it."""
    from scipy.optimize import minimize

    axis = np.linspace(0.0, 1.0, GRID)
    points = list(product(axis, repeat=count))
    losses = [loss(point) for point in points]
    start = points[int(np.argmin(losses))]
    if not math.isfinite(min(losses)):
        return tuple(float(value) for value in start)
    width = 1.0 / (GRID - 1)
    corners = [np.array(start)]
    for place in range(count):
        corner = np.array(start)
        corner[place] += width if corner[place] + width <= 1.0 else -width
        corners.append(corner)
    # Outside of what was fitted the loss is infinite, which a simplex simply does not step into.
    found = minimize(
        lambda point: loss(np.clip(point, 0.0, 1.0)),
        start,
        method="Nelder-Mead",
        bounds=[(0.0, 1.0)] * count,
        options={"initial_simplex": corners, "xatol": 2e-3, "fatol": 1e-7, "maxfev": 60 * count},
    )
    best = found.x if found.fun < min(losses) else start
    return tuple(float(np.clip(value, 0.0, 1.0)) for value in best)
