"""What probes would be worth: how far they are expected to lower the regret of the rate that is chosen after them.

One set of draws from the posterior serves all. A plan of rungs is imagined with the outcomes that a few of the draws
would give it; every draw is weighted by how likely it makes that outcome; and the regret of the best rate under those
weights is averaged over the outcomes. Rungs after the first ones are placed by what the outcomes before them say, so a
cheap rung is valued for the better place of the dear one that follows it.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pacesetter_search.landscape import FloatArray, divergence
from pacesetter_search.strategies.zero_tuning.evidence import SMALLEST_PROBABILITY, Cells, scores_of
from pacesetter_search.strategies.zero_tuning.posterior import (
    Posterior,
    at_horizon,
    ceiling_of,
    excess,
)
from pacesetter_search.strategies.zero_tuning.prior import Prior
from pacesetter_search.strategies.zero_tuning.sampling import Draws, draw

DRAWS = 2000
OUTCOMES = 80
"""With these the gain of a plan is known to about a tenth of itself."""

RATES = 33
"""Rates among which the choice after a plan is imagined."""

NEAREST, FARTHEST = 0.5, 1.5
"""Octaves from the expected optimum at which a later pair is placed: one posterior standard deviation, within these."""

Indices: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Step:
    """Rungs of one horizon, bought as one item."""

    horizon: float
    rates: tuple[float, ...] = ()
    """``log2`` of their learning rates; empty: a rung or a pair, placed once the steps before it have ended."""
    pair: bool = False
    """Without rates: two rungs instead of one."""

    @property
    def count(self) -> int:
        """How many rungs it is."""
        return len(self.rates) if self.rates else 1 + self.pair

    @property
    def share(self) -> float:
        """Its length as a share of the budget."""
        return self.horizon * self.count


class Valuation:
    """Values plans on one set of draws.

    Args:
        posterior: What is known; plans are of its horizons.
        start: Score of the untrained model, as it was given to the posterior.
        generator: Makes the draws.
    """

    def __init__(
        self, posterior: Posterior, start: float | None, generator: np.random.Generator
    ) -> None:
        self.posterior = posterior
        self.start = start
        self.draws: Draws = draw(posterior, DRAWS, generator)
        # Draws come ordered by drift and place: outcomes are spread evenly over all of them.
        self.imagined: Indices = np.linspace(0, DRAWS - 1, OUTCOMES).round().astype(np.intp)
        self.seed = int(generator.integers(2**31))
        self._regrets = self._regret_of_draws()

    def plan(self, *steps: Step) -> "Plan":
        """Return a plan of these steps."""
        plan = Plan(self, (), {}, np.zeros((OUTCOMES, DRAWS)))
        for step in steps:
            plan = plan.then(step)
        return plan

    def perfect(self) -> float:
        """Return what knowing the best rate would be worth: no plan is worth more."""
        return float(self._regrets.mean(axis=0).min() - self._regrets.min(axis=1).mean())

    def range_test(self) -> float:
        """Return the expected fall of the regret by a range test alone."""
        prior = self.posterior.prior
        optimum = self.draws.at[prior.range_horizon]
        noise = np.random.default_rng(self.seed).standard_normal(OUTCOMES)
        seen = optimum[self.imagined] + prior.range_sd * noise
        logs = -0.5 * ((seen[:, None] - optimum[None, :]) / prior.range_sd) ** 2
        return self.saved(self.normalised(logs))

    def normalised(self, log_weights: FloatArray) -> FloatArray:
        """Return weights [outcome, draw] whose rows sum to 1.

        The draw that an outcome was imagined with is left out of it: it fits too well by construction.
        """
        logs = log_weights.copy()
        logs[np.arange(OUTCOMES), self.imagined] = -np.inf
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def saved(self, weights: FloatArray) -> float:
        """Return how far weights [outcome, draw] lower the regret of the best rate, on average over outcomes."""
        after = weights @ self._regrets
        return max(float(after.mean(axis=0).min() - after.min(axis=1).mean()), 0.0)

    def _regret_of_draws(self) -> FloatArray:
        """Return the excess of each rate under each draw: [draw, rate]."""
        posterior, draws = self.posterior, self.draws
        spread = max(3.0 * posterior.sd, 1.0)
        rates = np.linspace(posterior.mean - spread, posterior.mean + spread, RATES)
        octaves = rates[:, None] - draws.optimum[None, :]
        cells = posterior.cells.take(draws.cell)
        return excess(octaves, cells, posterior.prior, posterior.ceiling).T


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps played through: an outcome for each imagined draw, step after step."""

    valuation: Valuation
    steps: tuple[Step, ...]
    _outlooks: dict[float, "Outlook"]
    _log_weights: FloatArray

    @property
    def share(self) -> float:
        """Its length as a share of the budget."""
        return sum(step.share for step in self.steps)

    @property
    def gain(self) -> float:
        """The expected fall of the regret once it is measured, in units of the score; 0 or more."""
        return self.valuation.saved(self._weights())

    def then(self, step: Step) -> "Plan":
        """Return this plan with one more step, placed by its outcomes where the step has no rates."""
        outlook = self._outlooks.get(step.horizon)
        if outlook is None:
            outlook = Outlook.at(self.valuation, step.horizon)
        # The same noise for every plan, so that the differences between plans are the plans' own.
        noise = np.random.default_rng([self.valuation.seed, len(self.steps)])
        log_weights = self._log_weights
        for rates in self._rates(step):
            likely, outlook = outlook.imagine(rates, self.valuation.imagined, noise)
            log_weights = log_weights + likely
        outlooks = {**self._outlooks, step.horizon: outlook}
        return Plan(self.valuation, (*self.steps, step), outlooks, log_weights)

    def _rates(self, step: Step) -> tuple[FloatArray, ...]:
        """Return the rates of every rung of a step, one for each outcome."""
        if step.rates:
            return tuple(np.full((OUTCOMES, 1), rate) for rate in step.rates)
        weights, optimum = self._weights(), self.valuation.draws.at[step.horizon]
        mean = weights @ optimum
        if not step.pair:
            return (mean[:, None],)
        sd = np.sqrt(np.maximum(weights @ optimum**2 - mean**2, 0.0))
        apart = np.clip(sd, NEAREST, FARTHEST)
        return (mean - apart)[:, None], (mean + apart)[:, None]

    def _weights(self) -> FloatArray:
        """Return how much each draw counts after each outcome: [outcome, draw]."""
        return self.valuation.normalised(self._log_weights)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What each draw expects of the next rung at a horizon, given the rungs before it."""

    prior: Prior
    optimum: FloatArray
    cells: Cells
    ceiling: float
    level: FloatArray
    """Of the loss at the optimum, by outcome and draw."""
    precision: FloatArray
    """Of the level; 0 until the first rung has ended."""

    @classmethod
    def at(cls, valuation: Valuation, horizon: float) -> "Outlook":
        """Return what the rungs that were measured at ``horizon`` let each draw expect."""
        posterior, draws = valuation.posterior, valuation.draws
        ended = [
            rung for rung in posterior.rungs if rung.horizon == horizon and rung.score is not None
        ]
        ceiling = ceiling_of([rung.score for rung in ended], valuation.start)
        outlook = cls(
            prior=posterior.prior,
            optimum=draws.at[horizon],
            cells=at_horizon(posterior.cells, posterior.prior, horizon).take(draws.cell),
            ceiling=ceiling,
            level=np.zeros((1, DRAWS)),
            precision=np.zeros((1, DRAWS)),
        )
        for rung, score in zip(ended, scores_of(ended, ceiling), strict=True):
            expected, variance, _ = outlook._expected(np.full((1, 1), rung.log2_lr))
            outlook = outlook._with_score(score - expected, 1.0 / variance)
        return outlook

    def imagine(
        self, rates: FloatArray, imagined: Indices, noise: np.random.Generator
    ) -> tuple[FloatArray, "Outlook"]:
        """Return the log-likelihood of an outcome per imagined draw under every draw, and the outlook after it.

        Args:
            rates: ``log2`` of the rate, for every outcome: [outcome, 1].
            imagined: Index of the draw that makes each outcome.
            noise: Draws the outcomes.
        """
        expected, variance, chance = self._expected(rates)
        own = np.arange(len(imagined)), imagined
        diverged = (noise.random(len(imagined)) < chance[own])[:, None]
        known = self.precision > 0.0
        of_level = np.divide(1.0, self.precision, out=np.zeros_like(self.precision), where=known)
        spread = np.sqrt(variance + of_level)
        mean = self.level + expected
        score = (mean[own] + spread[own] * noise.standard_normal(len(imagined)))[:, None]
        # The first rung of a horizon only sets its level.
        density = np.where(known, -0.5 * ((score - mean) / spread) ** 2 - np.log(spread), 0.0)
        ended = density + np.log(np.maximum(1.0 - chance, SMALLEST_PROBABILITY))
        lost = np.log(np.maximum(chance, SMALLEST_PROBABILITY))
        return np.where(diverged, lost, ended), self._with_score(
            score - expected, ~diverged / variance
        )

    def _expected(self, rates: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return rise, variance and chance of divergence at the rates [outcome, 1], for every draw."""
        octaves = rates - self.optimum[None, :]
        cells, prior = self.cells, self.prior
        raised = cells.raised(octaves, self.ceiling)
        variance = cells.noise**2 + (prior.misfit * raised) ** 2
        chance = divergence(octaves, prior.thresholds)
        return raised, variance, chance

    def _with_score(self, level: FloatArray, precision: FloatArray) -> "Outlook":
        """Return the outlook after a score that puts the level at ``level``; no precision: nothing was measured."""
        total = self.precision + precision
        summed = self.precision * self.level + precision * level
        mean = np.divide(summed, total, out=np.zeros_like(total), where=total > 0.0)
        return replace(self, level=mean, precision=total)
