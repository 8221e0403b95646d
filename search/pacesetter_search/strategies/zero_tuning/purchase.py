"""Which rung to buy next, if any: the first one of the plan with the most expected gain over its cost."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from pacesetter_search.strategies.zero_tuning.knowledge import Bounds, Knowledge
from pacesetter_search.strategies.zero_tuning.value import Plan, Step, Valuation

APART = 0.25
"""Octaves between two rungs of one horizon: on the same batches a nearer one only repeats."""

ROUNDED = 8
"""Rates are multiples of an eighth of an octave, as the posterior's grid."""

LONGEST_PLAN = 4
KEPT = 2
"""Steps that a plan looks ahead, and plans of each length that are extended, for every horizon to begin with: a dear
first step looks best alone, and a cheap one for what can follow it."""

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan, shortest rungs first, and what it is worth."""

    plan: Plan
    gain: float
    cost: float

    @property
    def first(self) -> Step:
        """The step to begin with."""
        return self.plan.steps[0]

    def numbers(self) -> dict[str, JsonValue]:
        """Return the offer for the audit trail."""
        words = [f"{step.count} x {step.horizon:.4g} T" for step in self.plan.steps]
        return {"plan": ", ".join(words), "expected_gain": self.gain, "cost": self.cost}


def best_offer(
    knowledge: Knowledge, valuation: Valuation, allowed: float, bounds: Bounds, margin: float
) -> Offer | None:
    """Return the plan with the most gain over its cost among those that ``allowed`` pays for; None if there is none.

    A beam search: the best plans of each length and first horizon are extended by one step.

    Args:
        knowledge: Says what was measured and what steps are worth.
        valuation: Of the same posterior.
        allowed: Share of the budget that is left for probes.
        bounds: Of the rates of probes.
        margin: Times its cost that a plan has to gain.
    """

    def net(offer: Offer) -> float:
        return offer.gain - margin * offer.cost

    def offers(plans: Iterable[tuple[Plan, Step]]) -> list[Offer]:
        found = [
            _offer(knowledge, plan.then(step))
            for plan, step in plans
            if plan.share + step.share <= allowed
        ]
        return sorted(found, key=net, reverse=True)

    nothing = valuation.plan()
    newest = offers(
        (nothing, step)
        for horizon in knowledge.ladder
        for step in first_steps(valuation, horizon, bounds)
    )
    best = newest[:1]
    for _ in range(LONGEST_PLAN - 1):
        extended = _kept(newest)
        newest = offers(
            (offer.plan, step)
            for offer in extended
            for step in later_steps(offer.plan, knowledge.ladder)
        )
        best = sorted(best + newest[:1], key=net, reverse=True)[:1]
    return best[0] if best else None


def first_steps(valuation: Valuation, horizon: float, bounds: Bounds) -> Iterator[Step]:
    """Yield single rungs where the horizon has one already, and pairs: the first one alone says nothing."""
    here = [rung for rung in valuation.posterior.rungs if rung.horizon == horizon]
    measured = [rung.log2_lr for rung in here]
    optimum = valuation.draws.at[horizon]
    low, lower, middle, upper, high = (float(q) for q in np.quantile(optimum, QUANTILES))
    if any(rung.score is not None for rung in here):
        for rate in _distinct((low, middle - 1, lower, middle, upper, middle + 1, high), bounds):
            if _free(rate, measured):
                yield Step(horizon, (rate,))
    for pair in ((low, high), (lower, upper), (middle - 1, middle + 1), (middle - 2, middle)):
        rates = tuple(_distinct(pair, bounds))
        if len(rates) == 2 and all(_free(rate, measured) for rate in rates):
            yield Step(horizon, rates)


def later_steps(plan: Plan, ladder: tuple[float, ...]) -> Iterator[Step]:
    """Yield what may follow a plan: a rung of the same length, or a rung or pair of a longer one."""
    rungs = plan.valuation.posterior.rungs
    known = {rung.horizon for rung in rungs if rung.score is not None}
    known |= {step.horizon for step in plan.steps}
    for horizon in ladder:
        if horizon >= plan.steps[-1].horizon:
            yield Step(horizon, pair=horizon not in known)


def _offer(knowledge: Knowledge, plan: Plan) -> Offer:
    return Offer(plan, plan.gain, knowledge.cost(plan.share))


def _kept(offers: Iterable[Offer]) -> list[Offer]:
    """Return the first offers of every first horizon, from offers in order."""
    kept: dict[float, list[Offer]] = {}
    for offer in offers:
        of_horizon = kept.setdefault(offer.first.horizon, [])
        if len(of_horizon) < KEPT:
            of_horizon.append(offer)
    return [offer for of_horizon in kept.values() for offer in of_horizon]


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
