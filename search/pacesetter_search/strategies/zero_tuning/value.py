"""What a probe would be worth: how far it is expected to lower the regret of the rate that is chosen after it.

One set of draws from the posterior serves all: each candidate is imagined with the outcomes that a few of the draws
would give it, every draw is weighted by how likely it makes that outcome, and the regret of the best rate under those
weights is averaged over the outcomes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pacesetter_search.strategies.zero_tuning.evidence import SMALLEST_PROBABILITY
from pacesetter_search.strategies.zero_tuning.landscape import FloatArray, divergence, rise
from pacesetter_search.strategies.zero_tuning.posterior import Posterior, ceiling_of, excess
from pacesetter_search.strategies.zero_tuning.prior import Prior
from pacesetter_search.strategies.zero_tuning.sampling import Draws, cells_at, draw

DRAWS = 2000
OUTCOMES = 48
MOST_RATES = 2
"""Rungs in one candidate."""

RATES = 33
"""Rates among which the choice after a probe is imagined."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One or more rungs of one horizon, bought as one item."""

    horizon: float
    rates: tuple[float, ...]

    @property
    def share(self) -> float:
        """Its length as a share of the budget."""
        return self.horizon * len(self.rates)


class Valuation:
    """Values candidates on one set of draws.

    Args:
        posterior: What is known; candidates are of its horizons.
        start: Score of the untrained model, as it was given to the posterior.
        generator: Makes the draws.
    """

    def __init__(
        self, posterior: Posterior, start: float | None, generator: np.random.Generator
    ) -> None:
        self.posterior = posterior
        self._start = start
        self.draws: Draws = draw(posterior, DRAWS, generator)
        rows = MOST_RATES * max(len(posterior.horizons), 1)
        self._uniform = generator.random((rows, OUTCOMES))
        self._normal = generator.standard_normal((rows, OUTCOMES))
        self._known: dict[Candidate, FloatArray] = {}
        # Draws come ordered by drift and place: outcomes are spread evenly over all of them.
        self._imagined = np.linspace(0, DRAWS - 1, OUTCOMES).round().astype(np.intp)
        self._regrets = self._regret_of_draws()

    def _regret_of_draws(self) -> FloatArray:
        """Return the excess of each rate under each draw: [draw, rate]."""
        posterior, draws = self.posterior, self.draws
        spread = max(3.0 * posterior.sd, 1.0)
        rates = np.linspace(posterior.mean - spread, posterior.mean + spread, RATES)
        cells = posterior.cells
        own = type(cells)(
            cells.curvature[draws.cell][:, None],
            cells.asymmetry[draws.cell][:, None],
            cells.noise[draws.cell][:, None],
            cells.weight[draws.cell][:, None],
        )
        octaves = rates[None, :] - draws.optimum[:, None]
        return excess(octaves, own, posterior.prior, posterior.ceiling)

    def gain(self, *candidates: Candidate) -> float:
        """Return the expected fall of the regret once all candidates are measured, in units of the score; 0 or more."""
        log_weights = sum((self._log_weights(each) for each in candidates), np.zeros((1, DRAWS)))
        weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        after = weights @ self._regrets
        return float(after.mean(axis=0).min() - after.min(axis=1).mean())

    def perfect(self) -> float:
        """Return what knowing the best rate would be worth: no probe is worth more."""
        return float(self._regrets.mean(axis=0).min() - self._regrets.min(axis=1).mean())

    def _log_weights(self, candidate: Candidate) -> FloatArray:
        """Return the log-likelihood of each imagined outcome under each draw: [outcome, draw].

        Given a draw, rungs of different horizons are independent, so candidates of different horizons add up.
        """
        if candidate not in self._known:
            outlook = _Outlook(self.posterior, candidate.horizon, self.draws, self._start)
            row = MOST_RATES * self.posterior.horizons.index(candidate.horizon)
            total: FloatArray = np.zeros((OUTCOMES, DRAWS))
            for index, rate in enumerate(candidate.rates, start=row):
                noise = self._uniform[index], self._normal[index]
                total = total + outlook.imagine(rate, self._imagined, *noise)
            self._known[candidate] = total
        return self._known[candidate]


class _Outlook:
    """What each draw expects of the next rung at a horizon, given the rungs that are there."""

    def __init__(
        self, posterior: Posterior, horizon: float, draws: Draws, start: float | None
    ) -> None:
        self._prior: Prior = posterior.prior
        self._optimum = draws.at[horizon]
        self._curvature, self._asymmetry, self._noise = cells_at(posterior, horizon, draws)
        here = [rung for rung in posterior.rungs if rung.horizon == horizon]
        self._ceiling = ceiling_of([rung.score for rung in here], start)
        # The level of the loss, per outcome and draw: its precision is 0 until the first rung has ended.
        self._precision: FloatArray = np.zeros((1, len(self._optimum)))
        self._level: FloatArray = np.zeros((1, len(self._optimum)))
        for rung in here:
            if rung.score is not None:
                expected, variance, _ = self._expected(rung.log2_lr)
                self._learn(np.full((1, 1), rung.score) - expected, variance, np.ones((1, 1)))

    def imagine(
        self, rate: float, imagined: npt.NDArray[np.intp], uniform: FloatArray, normal: FloatArray
    ) -> FloatArray:
        """Return the log-likelihood of one outcome per imagined draw under every draw, and learn from it."""
        expected, variance, chance = self._expected(rate)
        diverged = (uniform < chance[imagined])[:, None]
        level, spread = self._predicted(variance, len(imagined))
        rows = np.arange(len(imagined))
        own = (level + expected)[rows, imagined] + spread[rows, imagined] * normal
        residual = own[:, None] - (level + expected)
        known = self._precision > 0.0
        fits = np.where(known, -0.5 * (residual / spread) ** 2 - np.log(spread), 0.0)
        self._learn(own[:, None] - expected, variance, (~diverged).astype(np.float64))
        ended = fits + np.log(np.maximum(1.0 - chance, SMALLEST_PROBABILITY))
        return np.where(diverged, np.log(np.maximum(chance, SMALLEST_PROBABILITY)), ended)

    def _expected(self, rate: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return rise, variance and chance of divergence at a rate, for every draw."""
        octaves = rate - self._optimum
        raised = rise(octaves, self._curvature, self._asymmetry, self._ceiling)
        prior = self._prior
        variance = self._noise**2 + (prior.misfit * raised) ** 2
        chance = divergence(octaves, prior.divergence_offset, prior.divergence_width)
        return raised, variance, chance

    def _predicted(self, variance: FloatArray, outcomes: int) -> tuple[FloatArray, FloatArray]:
        """Return level and standard deviation of the next score: [outcome, draw]."""
        known = self._precision > 0.0
        of_level = np.where(known, 1.0 / np.maximum(self._precision, 1e-300), 0.0)
        shape = (outcomes, len(self._optimum))
        spread = np.broadcast_to(np.sqrt(variance + of_level), shape)
        return np.broadcast_to(self._level, shape), spread

    def _learn(self, level: FloatArray, variance: FloatArray, ended: FloatArray) -> None:
        """Take a score into the level of the loss, where the rung ended."""
        precision = ended / variance
        total = self._precision + precision
        summed = self._precision * self._level + precision * level
        self._level = np.where(total > 0.0, summed / np.maximum(total, 1e-300), 0.0)
        self._precision = total
