"""The order of candidates under a law, inside of what it was fitted to, and how much of a promised gain to believe.

The order is that of final losses. Gains are shrunk: of the promised gain of WSD over a cosine .57, .51 and .30 were
real at 25M, 100M and 400M parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pacesetter_search.laws.base import FittedLaw, Law, Prediction
from pacesetter_search.laws.curves import Curve, FloatArray, thinned
from pacesetter_search.laws.ensemble import EnsembleLaw
from pacesetter_search.laws.identification import PEAKS_APART

SHRINK = 0.46
"""Share of a promised gain that is real: the mean of .57, .51 and .30."""

PEAK_SLACK = 1.02
"""How far above the largest fitted rate a candidate may reach. Every law promises a lower loss for a larger one."""

SHORTEST_TAIL = 0.05
"""Share of the steps over which the rate has to fall, where it falls to less than half: a law likes shorter tails, and
nobody measured them."""

MOST_TIMES = 2.05
"""How many times as long as the longest fitted curve a candidate may be: twice, as a last loss comes before the end."""

MOST_STEPS = 10_000
"""Steps of a candidate that are looked at; of a longer one one stands for several, which moves its loss by 1e-4."""


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
    """Return the candidates in the order of their final loss, by a law fitted for it.

    Args:
        curves: Runs of one peak learning rate; a constant one and one that decays are the least that tells them apart.
        candidates: (steps,) learning rates of each, in the unit of the curves.
        reference: The candidate that gains are measured against; None: the last in order.
        law: What to rank by; None: the ensemble.

    Raises:
        LawNotFitted: The curves carry no fit.
        ValueError: There is no candidate, or ``reference`` is none of them.
    """
    _check_reference(candidates, reference)
    return rank_under((law or EnsembleLaw()).fit(curves), candidates, reference=reference)


def rank_under(
    law: FittedLaw, candidates: Mapping[str, FloatArray], *, reference: str | None = None
) -> Ranking:
    """Return the candidates in the order of their final loss under a fitted law.

    Args:
        law: As fitted, or thinned: a step of the candidates is a step of it.
        candidates: (steps,) learning rates of each, in the unit of the fitted curves.
        reference: The candidate that gains are measured against; None: the last in order.

    Raises:
        ValueError: There is no candidate, ``reference`` is none of them, or a candidate never leaves zero.
    """
    _check_reference(candidates, reference)
    refused = {
        name: why for name, rates in candidates.items() if (why := outside(law, rates)) is not None
    }
    kept = {name: rates for name, rates in candidates.items() if name not in refused}
    finals = {name: final(law, rates) for name, rates in kept.items()}
    return Ranking(
        placed({name: (float(f.mean[0]), float(f.sd[0])) for name, f in finals.items()}, reference),
        refused,
        (*law.warnings, *doubts(law, kept)),
        law,
    )


def placed(finals: Mapping[str, tuple[float, float]], reference: str | None) -> tuple[Ranked, ...]:
    """Return candidates with their final losses and sds in order, with shrunken gains over the reference.

    Where the reference is none of them, as it was refused, gains are over the last in order.
    """
    ranked = sorted(finals, key=lambda name: finals[name][0])
    if not ranked:
        return ()
    base = finals.get(reference or "", finals[ranked[-1]])[0]
    return tuple(
        Ranked(name, rank, loss, sd, SHRINK * (base - loss) / abs(base))
        for rank, name in enumerate(ranked, 1)
        for loss, sd in (finals[name],)
    )


def final(law: FittedLaw, rates: FloatArray) -> Prediction:
    """Return the final loss of a run, of which as many steps are looked at as matter."""
    factor = -(-rates.size // MOST_STEPS)
    return law.thinned(factor).predict(thinned(rates, factor))


def outside(law: FittedLaw, rates: FloatArray, *, margin: float = 0.0) -> str | None:
    """Return why a candidate lies outside of what the law was fitted to, or None.

    Args:
        law: Whose hull counts.
        rates: (steps,) learning rates.
        margin: What the tail has to be longer than the least by, as a share of the steps.
    """
    peak = float(np.max(rates))
    if law.hull is not None and peak > PEAK_SLACK * law.hull.highest:
        return f"its peak of {peak:.3g} is above the largest fitted rate of {law.hull.highest:.3g}"
    last_high = int(np.flatnonzero(rates >= 0.95 * peak)[-1])
    tail = 1.0 - (last_high + 1) / rates.size
    if rates[-1] < 0.5 * peak and tail < SHORTEST_TAIL + margin:
        return (
            f"its tail is {100.0 * tail:.2g} % of the steps, "
            f"and {100.0 * SHORTEST_TAIL:g} % is the least"
        )
    return None


def doubts(law: FittedLaw, candidates: Mapping[str, FloatArray]) -> list[str]:
    """Return what is in doubt about candidates that are not refused, one sentence each kind."""
    hull = law.hull
    if hull is None:
        return ["the law was given and not fitted; nothing is known of the runs behind it"]
    longest = hull.longest / law.stride
    return [
        *_doubt(
            candidates,
            lambda rates: rates.size > MOST_TIMES * longest,
            f"more than twice as long as the longest fitted curve ({longest:,.0f} steps): extrapolated",
        ),
        *_doubt(
            candidates,
            lambda rates: hull.octaves(float(np.max(rates))) > np.log2(PEAKS_APART),
            "far from the fitted peaks, across which these laws are off by 1 to 3 %",
        ),
        *_doubt(
            candidates,
            rises_again,
            "rising again after a fall, on which these laws were never checked",
        ),
    ]


def rises_again(rates: FloatArray) -> bool:
    """Return whether the rate rises by more than a hundredth of its peak after it has fallen."""
    fallen = np.maximum.accumulate(rates) - rates
    lowest_since = np.minimum.accumulate(np.where(fallen > 0.0, rates, np.inf))
    return bool(np.any(rates - lowest_since > 0.01 * np.max(rates)))


def _doubt(
    candidates: Mapping[str, FloatArray], doubted: Callable[[FloatArray], bool], words: str
) -> list[str]:
    names = [name for name, rates in candidates.items() if doubted(rates)]
    return [f"{', '.join(names)}: {words}"] if names else []


def _check_reference(candidates: Mapping[str, FloatArray], reference: str | None) -> None:
    if not candidates or (reference is not None and reference not in candidates):
        raise ValueError(f"give candidates, and a reference among {sorted(candidates)}")
