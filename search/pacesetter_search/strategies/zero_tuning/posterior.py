"""What is known of the best learning rate at the whole budget, given rungs at shorter horizons.

The best rate moves along a Markov chain over horizons, shortest first: from one to the next by ``-drift`` octaves a
doubling, plus noise. One exact forward pass on a grid multiplies in what each horizon's rungs say and ends with the
prior at the whole budget. Drift, curvature, asymmetry and noise are shared by all horizons and run over small grids.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pacesetter_search.landscape import FloatArray, divergence, rise
from pacesetter_search.strategies.zero_tuning.evidence import (
    Cells,
    RangeEvidence,
    Rung,
    log_likelihood,
    range_log_likelihood,
)
from pacesetter_search.strategies.zero_tuning.prior import Prior

STEP = 0.125
GRID: FloatArray = np.arange(-26.0, 6.0 + STEP / 2, STEP)
"""``log2`` of every learning rate that is considered."""

_DIFFERENCES: FloatArray = STEP * np.arange(1.0 - len(GRID), len(GRID))
"""Between any two points of ``GRID``, exactly."""

DRIFTS = 9
DEFAULT_CEILING = 1.0
LOWEST_CEILING, HIGHEST_CEILING = 0.3, 4.0
CHOICE_CEILING = 0.15
"""Most that a bad rate counts for in choosing one: a loss is lost at 15 % above the best as much as at 100 %, and far
out landscapes are flatter at the budget than the form says [24 drawn tasks: median regret .079 -> .067, same mean]."""

NEGLIGIBLE = 1e-6
"""Probability below which a grid point is left out of a sum."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """Distribution of the best rate, and of everything it hangs on."""

    prior: Prior
    horizons: tuple[float, ...]
    """Places of the chain, shortest first, the whole budget not among them."""
    rungs: tuple[Rung, ...]
    cells: Cells
    drifts: FloatArray
    filtered: tuple[FloatArray, ...]
    """For every horizon the belief after its rungs and those of shorter ones: [drift, optimum, cell], sum 1."""
    joint: FloatArray
    """Belief at the whole budget after everything: [drift, optimum, cell], sum 1."""
    ceiling: float
    log_evidence: float
    """Log of the probability of all measurements: the larger, the better the prior fits (for calibration)."""

    @classmethod
    def from_rungs(
        cls,
        rungs: Sequence[Rung],
        prior: Prior,
        *,
        range_test: RangeEvidence | None = None,
        horizons: Sequence[float] = (),
        start: float | None = None,
    ) -> "Posterior":
        """Return what rungs and a range test say together. Pure; no job is needed.

        Args:
            rungs: Any horizons in (0, 1), in any order.
            prior: What was believed before.
            range_test: Where the loss turned, if that was tested.
            horizons: More places for the chain, where probes are considered.
            start: Score of the untrained model: rungs that learn nothing end there. None: one above the best.
        """
        places = {rung.horizon for rung in rungs} | set(horizons)
        if range_test is not None:
            places.add(prior.range_horizon)
        ladder = tuple(sorted(places))
        cells, (drifts, weights) = Cells.of(prior), _drift_grid(prior)
        belief = (
            weights[:, None, None] * cells.weight[None, None, :] * np.full((1, len(GRID), 1), STEP)
        )
        filtered, total = [], 0.0
        for index, horizon in enumerate(ladder):
            if index:
                belief = _moved(belief, drifts, prior, math.log2(horizon / ladder[index - 1]))
            likelihood = _likelihood(horizon, rungs, range_test, cells, prior, start)
            belief, log_sum = _normalised(belief, likelihood)
            filtered.append(belief)
            total += log_sum
        if ladder:
            belief = _moved(belief, drifts, prior, -math.log2(ladder[-1]))
        joint, log_sum = _normalised(belief, np.log(_density(prior))[:, None])
        return cls(
            prior=prior,
            horizons=ladder,
            rungs=tuple(rungs),
            cells=cells,
            drifts=drifts,
            filtered=tuple(filtered),
            joint=joint,
            ceiling=ceiling_of([rung.score for rung in rungs], start),
            log_evidence=total + log_sum,
        )

    @property
    def density(self) -> FloatArray:
        """Probability of every rate of ``GRID`` to be the best at the whole budget; sum 1."""
        return np.asarray(self.joint.sum(axis=(0, 2)))

    @property
    def mean(self) -> float:
        """Posterior mean of ``log2`` of the best rate."""
        return float(self.density @ GRID)

    @property
    def sd(self) -> float:
        """Posterior standard deviation of ``log2`` of the best rate."""
        return math.sqrt(max(float(self.density @ (GRID - self.mean) ** 2), 0.0))

    def interval(self, share: float = 0.9) -> tuple[float, float]:
        """Return the central interval that holds ``share`` of the posterior."""
        tail = (1.0 - share) / 2.0
        below = np.cumsum(self.density)
        low, high = np.interp([tail, 1.0 - tail], below, GRID)
        return float(low), float(high)

    def regret(self, rates: FloatArray, ceiling: float | None = None) -> FloatArray:
        """Return the expected excess of the final score at each ``log2`` rate, the risk of divergence included.

        Args:
            rates: Of which to tell.
            ceiling: Most that any outcome counts for; None: what a run that learned nothing does.
        """
        likely = self.density > NEGLIGIBLE
        mass = self.joint.sum(axis=0)[likely]
        octaves = rates[:, None, None] - GRID[likely][None, :, None]
        most = self.ceiling if ceiling is None else min(ceiling, self.ceiling)
        return np.asarray((excess(octaves, self.cells, self.prior, most) * mass).sum(axis=(1, 2)))

    def best(self, lowest: float = -math.inf, highest: float = math.inf) -> tuple[float, float]:
        """Return the rate of least bounded regret within bounds, as ``log2``, and its whole expected regret.

        It lies below the mean: too high a rate costs more than too low a one.
        """
        spread = max(3.0 * self.sd, 1.0)
        near = GRID[np.abs(GRID - self.mean) < spread]
        rates = np.unique(np.clip(near, lowest, highest))
        index = int(np.argmin(self.regret(rates, CHOICE_CEILING)))
        return float(rates[index]), float(self.regret(rates[index : index + 1])[0])


def excess(octaves: FloatArray, cells: Cells, prior: Prior, ceiling: float) -> FloatArray:
    """Return the expected excess of a main run ``octaves`` from the optimum; a diverged run is at the ceiling."""
    raised = rise(octaves, cells.curvature * prior.steepness, cells.asymmetry, ceiling)
    chance = divergence(octaves, prior.thresholds)
    return raised + chance * (ceiling - raised)


def ceiling_of(scores: Sequence[float | None], start: float | None) -> float:
    """Return how far above the best score a run ends that learned nothing."""
    finite = [score for score in scores if score is not None]
    if start is None or not finite:
        return DEFAULT_CEILING
    return min(max(start - min(finite), LOWEST_CEILING), HIGHEST_CEILING)


def transition(drift: float, noise: float, doublings: float) -> FloatArray:
    """Return the density of moving over ``doublings`` between two points of ``GRID``, times its step: [to, from]."""
    sd = max(noise * math.sqrt(doublings), STEP)
    # It hangs on the difference of two points alone, of which there are few.
    z = (_DIFFERENCES + drift * doublings) / sd
    by_difference: FloatArray = np.exp(-0.5 * z**2) * (STEP / (sd * math.sqrt(2.0 * math.pi)))
    kernel: FloatArray = sliding_window_view(by_difference[::-1], len(GRID))[::-1].copy()
    return kernel


def at_horizon(cells: Cells, prior: Prior, horizon: float) -> Cells:
    """Return the cells with the curvature that they have at ``horizon``."""
    ratio = prior.curvature_ratio ** -math.log2(horizon)
    return replace(cells, curvature=cells.curvature * ratio)


def _likelihood(
    horizon: float,
    rungs: Sequence[Rung],
    range_test: RangeEvidence | None,
    cells: Cells,
    prior: Prior,
    start: float | None,
) -> FloatArray:
    here = [rung for rung in rungs if rung.horizon == horizon]
    ceiling = ceiling_of([rung.score for rung in here], start)
    found = log_likelihood(here, GRID, at_horizon(cells, prior, horizon), prior, ceiling)
    if range_test is not None and horizon == prior.range_horizon:
        found = found + range_log_likelihood(range_test, GRID, prior)[:, None]
    return found


def _moved(belief: FloatArray, drifts: FloatArray, prior: Prior, doublings: float) -> FloatArray:
    kernels = (transition(float(drift), prior.drift_noise, doublings) for drift in drifts)
    return np.stack([kernel @ part for kernel, part in zip(kernels, belief, strict=True)])


def _normalised(belief: FloatArray, log_likelihoods: FloatArray) -> tuple[FloatArray, float]:
    highest = float(log_likelihoods.max())
    weighted = belief * np.exp(log_likelihoods - highest)
    total = float(weighted.sum())
    return weighted / total, math.log(total) + highest


def _drift_grid(prior: Prior) -> tuple[FloatArray, FloatArray]:
    z = np.linspace(-2.0, 2.0, DRIFTS)
    weights = np.exp(-0.5 * z**2)
    return prior.drift_mean + prior.drift_sd * z, weights / weights.sum()


def _density(prior: Prior) -> FloatArray:
    density = np.full_like(GRID, 1e-12)  # nothing is impossible: evidence may point anywhere
    for part in prior.optimum:
        z = (GRID - part.mean) / part.sd
        density += part.weight / part.sd * np.exp(-0.5 * z**2)
    return np.asarray(density / (density.sum() * STEP))
