"""Where the best learning rate of each cell of a study lies, by the landscape that all of them share.

A cell's runs rise from its best rate as :func:`pacesetter_search.landscape.rise` has it. Where that lies and how good
it is there are each cell's own; how steeply the loss rises, how much steeper above, how noisy runs are and where they
level out is shared, and so a cell of two runs says something as well. All of it is on a grid, without sampling.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pacesetter.protocol import Regime

from pacesetter_search.landscape import FloatArray
from pacesetter_search.strategies.zero_tuning.evidence import Cells, Rung, log_likelihood
from pacesetter_search.strategies.zero_tuning.posterior import DEFAULT_CEILING
from pacesetter_search.strategies.zero_tuning.prior import Prior, unbiased

STEP = 1 / 16
"""Octaves of the grid of best rates."""

REACH = 3.0
"""Octaves outside of the rates that were tried in which the best one is sought."""

NOISES = ((0.003, 0.25), (0.01, 0.45), (0.03, 0.2), (0.1, 0.1))
"""Standard deviation of a complete proxy run's log loss between seeds, values with weights: at the best rate of a byte
LM of width 32 to 64 it is .01 [mup-and-ray 4]."""

LEAST_PRECISION = 0.05
"""Per octave squared: below, runs of a cell say nothing of its best rate."""

SPREAD = 0.1
"""Above the best run in log loss the median one is taken to lie where a loss is not above 0 and has no logarithm."""


@dataclass(frozen=True, slots=True)
class Run:
    """A complete run of a cell.

    Attributes:
        log2_lr: Of its peak.
        loss: What it ended with; None: it diverged.
    """

    log2_lr: float
    loss: float | None


@dataclass(frozen=True, slots=True)
class Shape:
    """What cells share, by the posterior.

    Attributes:
        curvature: Second derivative of the log loss at the best rate, over octaves.
        curvature_log_sd: Of its natural logarithm.
        asymmetry: How much steeper the loss rises above the best rate.
        asymmetry_sd: Of that.
        noise: Standard deviation of a run's log loss.
        misfit: Share of a run's rise that the landscape may get wrong.
    """

    curvature: float
    curvature_log_sd: float
    asymmetry: float
    asymmetry_sd: float
    noise: float
    misfit: float

    @classmethod
    def usual(cls, regime: Regime) -> "Shape":
        """Return what is believed of a regime's runs of which none has ended."""
        prior = _prior(regime)
        shared = Cells.of(prior)
        return _shape(shared, shared.weight, prior)


@dataclass(frozen=True, slots=True, eq=False)
class Density:
    """What a cell's runs say of its best rate.

    Attributes:
        grid: log2 of rates.
        likelihood: Of each to be the best one, in any unit; same shape.
    """

    grid: FloatArray
    likelihood: FloatArray

    def given(self, mean: float, sd: float) -> tuple[float, float] | None:
        """Return what its runs say beside a normal belief, as mean and sd of the normal that would say the same.

        That is one step of expectation propagation [Minka2001]: moments of the product with the belief, divided by it.

        Returns:
            None where they say nothing, or contradict the belief so that the product is wider.
        """
        log_belief = -0.5 * np.square((self.grid - mean) / sd)
        product = self.likelihood * np.exp(log_belief - log_belief.max())
        total = float(product.sum())
        if not total > 0.0:
            return None
        product = product / total
        middle = float(product @ self.grid)
        variance = float(product @ np.square(self.grid - middle)) + STEP**2 / 12.0
        precision = 1.0 / variance - sd**-2
        if precision <= LEAST_PRECISION:
            return None
        return (middle / variance - mean / sd**2) / precision, 1.0 / math.sqrt(precision)


@dataclass(frozen=True, slots=True)
class Found:
    """The best rate of a cell.

    Attributes:
        mean: log2 of it.
        sd: Octaves.
        edge: The side at which no worse run bounds the best one; None: it is bounded.
    """

    mean: float
    sd: float
    edge: str | None


def find(
    cells: Sequence[Sequence[Run]], regime: Regime
) -> tuple[list[tuple[Found, Density]], Shape]:
    """Return the best rate of each cell by itself, in their order, with all of what it says; and the shape they share.

    Args:
        cells: Each with a run or more.
        regime: Of all of them, for the curvature that is known beforehand.
    """
    prior = _prior(regime)
    shared = Cells.of(prior)
    grids = [_grid(runs) for runs in cells]
    told = [
        log_likelihood(_rungs(_telling(runs)), grid, shared, prior, DEFAULT_CEILING)
        for runs, grid in zip(cells, grids, strict=True)
    ]
    evidence = sum((_summed(each) for each in told), np.log(shared.weight))
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    densities = [
        Density(grid, _density(each, weights)) for grid, each in zip(grids, told, strict=True)
    ]
    found = [(_found(runs, one), one) for runs, one in zip(cells, densities, strict=True)]
    return found, _shape(shared, weights, prior)


def _telling(runs: Sequence[Run]) -> list[Run]:
    """Return runs without those that diverged at a lower rate than the best one: their rate was not why."""
    ended = [run for run in runs if run.loss is not None]
    best = min(ended, key=lambda run: (run.loss, run.log2_lr), default=None)
    if best is None:
        return list(runs)
    return [run for run in runs if run.loss is not None or run.log2_lr > best.log2_lr]


def _grid(runs: Sequence[Run]) -> FloatArray:
    tried = [run.log2_lr for run in runs]
    return np.arange(min(tried) - REACH, max(tried) + REACH + STEP / 2, STEP)


def _rungs(runs: Sequence[Run]) -> list[Rung]:
    losses = [run.loss for run in runs if run.loss is not None]
    scale = None
    if losses and min(losses) <= 0.0:
        scale = max(float(np.median(losses)) - min(losses), 1e-12) / SPREAD
    rungs = []
    for run in runs:
        score = run.loss
        if score is not None:
            score = math.log(score) if scale is None else score / scale
        rungs.append(Rung(1.0, run.log2_lr, score))
    return rungs


def _summed(log_density: FloatArray) -> FloatArray:
    """Return the log of the sum over the grid of best rates: [shared]."""
    highest = log_density.max(axis=0)
    summed: FloatArray = highest + np.log(np.exp(log_density - highest).mean(axis=0))
    return summed


def _density(log_density: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the posterior of a best rate: what the other cells and this one say of the shape is in the weights."""
    given = np.exp(log_density - log_density.max(axis=0))
    density: FloatArray = (given / given.sum(axis=0)) @ weights
    return density


def _found(runs: Sequence[Run], told: Density) -> Found:
    grid, density = told.grid, told.likelihood
    mean = float(density @ grid)
    sd = math.sqrt(float(density @ np.square(grid - mean)) + STEP**2 / 12.0)
    return Found(mean, sd, edge_of(runs))


def edge_of(runs: Sequence[Run]) -> str | None:
    """Return ``low`` or ``high`` where the best run has no other one on that side, ``none_ended`` if all diverged."""
    ended = [run for run in runs if run.loss is not None]
    if not ended:
        return "none_ended"
    best = min(ended, key=lambda run: (run.loss, run.log2_lr))
    tried = [run.log2_lr for run in runs]
    if best.log2_lr <= min(tried):
        return "low"
    return "high" if best.log2_lr >= max(tried) else None


def _prior(regime: Regime) -> Prior:
    return replace(unbiased(regime), noises=NOISES)


def _shape(shared: Cells, weights: FloatArray, prior: Prior) -> Shape:
    logs, noise = np.log(shared.curvature), math.exp(float(weights @ np.log(shared.noise)))
    curvature, asymmetry = float(weights @ logs), float(weights @ shared.asymmetry)
    return Shape(
        curvature=math.exp(curvature),
        curvature_log_sd=math.sqrt(float(weights @ np.square(logs - curvature))),
        asymmetry=asymmetry,
        asymmetry_sd=math.sqrt(float(weights @ np.square(shared.asymmetry - asymmetry))),
        noise=noise,
        misfit=prior.misfit,
    )
