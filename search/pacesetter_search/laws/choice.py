"""Which schedule to run, by a law: the order of candidates, and how much of a promised gain to believe.

The order is that of the ensemble's final losses. Gains are shrunk: of the promised gain of WSD over a cosine .57, .51
and .30 were real at 25M, 100M and 400M parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pacesetter.schedules import REX, UBA, WSD, Cosine, Linear, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily

from pacesetter_search.laws.base import FittedLaw, Law
from pacesetter_search.laws.curves import Curve, FloatArray
from pacesetter_search.laws.ensemble import EnsembleLaw

SHRINK = 0.46
"""Share of a promised gain that is real: the mean of .57, .51 and .30."""

PEAK_SLACK = 1.02
"""How far above the largest fitted rate a candidate may reach. Every law promises a lower loss for a larger one."""

SHORTEST_TAIL = 0.05
"""Share of the steps over which the rate has to fall, where it falls to less than half: a law likes shorter tails, and
nobody measured them."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate in its place.

    Attributes:
        name: As given.
        rank: 1 is best.
        loss: Expected final loss, by the mean of laws.
        loss_sd: Its standard deviation.
        gain: Shrunken relative gain over the reference; below zero it is a loss.
    """

    name: str
    rank: int
    loss: float
    loss_sd: float
    gain: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """All candidates, best first, and what was left out or is in doubt."""

    candidates: tuple[Ranked, ...]
    refused: Mapping[str, str]
    """Why a candidate is outside of what was fitted, by its name."""
    warnings: tuple[str, ...]
    law: FittedLaw
    """What they were ranked by."""


def rank_schedules(
    curves: Sequence[Curve],
    candidates: Mapping[str, FloatArray],
    *,
    reference: str | None = None,
    law: Law | None = None,
) -> Ranking:
    """Return the candidates in the order of their final loss.

    Args:
        curves: Runs of one peak learning rate; a constant one and one that decays are the least that tells them apart.
        candidates: (steps,) learning rates of each, in the unit of the curves.
        reference: The candidate that gains are measured against; None: the last in order.
        law: What to rank by; None: the ensemble.

    Raises:
        LawNotFitted: The curves carry no fit.
        ValueError: There is no candidate, or ``reference`` is none of them.
    """
    if not candidates or (reference is not None and reference not in candidates):
        raise ValueError(f"give candidates, and a reference among {sorted(candidates)}")
    refused = {
        name: why
        for name, rates in candidates.items()
        if (why := _outside(rates, curves)) is not None
    }
    kept = {name: rates for name, rates in candidates.items() if name not in refused}
    fitted = (law or EnsembleLaw()).fit(curves)
    finals = {name: fitted.predict(rates) for name, rates in kept.items()}
    order = {name: float(found.mean[0]) for name, found in finals.items()}
    ranked = sorted(kept, key=lambda name: order[name])
    compared = reference if reference in kept else (ranked[-1] if ranked else None)
    found = []
    for rank, name in enumerate(ranked, 1):
        base = order[compared] if compared is not None else order[name]
        gain = SHRINK * (base - order[name]) / abs(base)
        found.append(Ranked(name, rank, order[name], float(finals[name].sd[0]), gain))
    return Ranking(tuple(found), refused, fitted.warnings, fitted)


def usual_schedules(steps: int, warmup: int = 0) -> dict[str, Schedule]:
    """Return what is worth comparing at a length: decays that need no more than that, at a relative peak of 1.

    Raises:
        ValueError: The warm-up leaves nothing of the length.
    """
    shapes: dict[str, AnyFamily] = {
        "linear": Linear(),
        "cosine": Cosine(),
        "rex": REX(),
        "uba 0.5": UBA(phi=0.5),
        "uba 1": UBA(phi=1.0),
        "wsd sqrt 0.2": WSD(cooldown=0.2, shape="sqrt"),
        **{f"wsd linear {share:g}": WSD(cooldown=share) for share in (0.1, 0.2, 0.4, 0.6, 0.8)},
    }
    rise = Warmup(length=warmup) if warmup else None
    return {name: Schedule(length=steps, warmup=rise, body=body) for name, body in shapes.items()}


def learning_rates(schedule: Schedule, base_lr: float) -> FloatArray:
    """Return the (steps,) learning rates of a schedule that counts in steps."""
    divisor = 1.0 if schedule.unit == "absolute" else 1.0 / base_lr
    values: FloatArray = (
        schedule.over(schedule.zero + np.arange(schedule.length, dtype=np.float64)) / divisor
    )
    return values


def _outside(rates: FloatArray, curves: Sequence[Curve]) -> str | None:
    """Return why a candidate lies outside of what was fitted, or None."""
    peak, highest = float(np.max(rates)), max(float(np.max(curve.lrs)) for curve in curves)
    if peak > PEAK_SLACK * highest:
        return f"its peak of {peak:.3g} is above the largest fitted rate of {highest:.3g}"
    last_high = int(np.flatnonzero(rates >= 0.95 * peak)[-1])
    tail = 1.0 - (last_high + 1) / rates.size
    if rates[-1] < 0.5 * peak and tail < SHORTEST_TAIL:
        return f"its tail is {100.0 * tail:.2g} % of the steps, and {100.0 * SHORTEST_TAIL:g} % is the least"
    return None
