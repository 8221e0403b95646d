"""Which rung to buy next, if any: the first of the plan with the most expected gain over its cost."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from pydantic import JsonValue

from pacesetter_search.strategies.zero_tuning.knowledge import Bounds, Knowledge
from pacesetter_search.strategies.zero_tuning.value import Candidate, Valuation

APART = 0.25
"""Octaves between two rungs of one horizon: on the same batches a nearer one only repeats."""

ROUNDED = 8
"""Rates are multiples of an eighth of an octave, as the posterior's grid."""

KEPT = 2
"""Candidates of each horizon that are combined with those of the others."""

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan of one or two candidates, each of another horizon, and what it is worth."""

    items: tuple[Candidate, ...]
    gain: float
    cost: float

    @property
    def first(self) -> Candidate:
        """The candidate to begin with: the shorter one, so that the other can be placed better."""
        return min(self.items, key=lambda item: item.horizon)

    def numbers(self) -> dict[str, JsonValue]:
        """Return the offer for the audit trail."""
        plan = [f"{len(item.rates)} x {item.horizon:.4g}" for item in self.items]
        return {"plan": ", ".join(plan), "expected_gain": self.gain, "cost": self.cost}


def best_offer(
    knowledge: Knowledge, valuation: Valuation, allowed: float, bounds: Bounds, margin: float
) -> Offer | None:
    """Return the plan with the most gain over its cost among those that ``allowed`` pays for; None if there is none.

    Plans are valued as if both candidates were placed now. The second one will be placed better, so this errs on the
    side of not buying.

    Args:
        knowledge: Says what was measured and what steps are worth.
        valuation: Of the same posterior.
        allowed: Share of the budget that is left for probes.
        bounds: Of the rates of probes.
        margin: Times its cost that a plan has to gain.
    """

    def net(offer: Offer) -> float:
        return offer.gain - margin * offer.cost

    offers: list[Offer] = []
    for horizon in knowledge.ladder:
        found = [
            _offer(knowledge, valuation, (each,))
            for each in candidates(valuation, horizon, bounds)
            if each.share <= allowed
        ]
        offers += sorted(found, key=net, reverse=True)[:KEPT]
    single = [offer.items[0] for offer in offers]
    offers += [
        _offer(knowledge, valuation, (one, other))
        for one, other in combinations(single, 2)
        if one.horizon != other.horizon and one.share + other.share <= allowed
    ]
    return max(offers, key=net, default=None)


def candidates(valuation: Valuation, horizon: float, bounds: Bounds) -> Iterator[Candidate]:
    """Yield single rungs where the horizon has one already, and pairs: the first one alone says nothing."""
    here = [rung for rung in valuation.posterior.rungs if rung.horizon == horizon]
    measured = [rung.log2_lr for rung in here]
    optimum = valuation.draws.at[horizon]
    low, lower, middle, upper, high = (float(q) for q in np.quantile(optimum, QUANTILES))
    if any(rung.score is not None for rung in here):
        for rate in _distinct(
            (low, middle - 1.0, lower, middle, upper, middle + 1.0, high), bounds
        ):
            if _free(rate, measured):
                yield Candidate(horizon, (rate,))
    pairs = ((low, high), (lower, upper), (middle - 1.0, middle + 1.0), (middle - 2.0, middle))
    for pair in pairs:
        rates = tuple(_distinct(pair, bounds))
        if len(rates) == 2 and all(_free(rate, measured) for rate in rates):
            yield Candidate(horizon, rates)


def first_rate(candidate: Candidate, valuation: Valuation) -> float:
    """Return the rate of a candidate to begin with: the one nearer to the middle of what is believed."""
    middle = float(np.median(valuation.draws.at[candidate.horizon]))
    return min(candidate.rates, key=lambda rate: abs(rate - middle))


def _offer(knowledge: Knowledge, valuation: Valuation, items: tuple[Candidate, ...]) -> Offer:
    return Offer(items, valuation.gain(*items), knowledge.cost(sum(item.share for item in items)))


def _distinct(rates: Iterable[float], bounds: Bounds) -> Iterator[float]:
    """Yield rates rounded and within bounds, none nearer than ``APART`` to one before it."""
    before: list[float] = []
    for rate in rates:
        rounded = bounds.clip(round(rate * ROUNDED) / ROUNDED)
        if _free(rounded, before):
            before.append(rounded)
            yield rounded


def _free(rate: float, others: Iterable[float]) -> bool:
    return all(abs(rate - other) >= APART for other in others)
