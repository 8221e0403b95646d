"""What was measured, and how likely each landscape makes it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pacesetter_search.landscape import FloatArray, divergence, rise
from pacesetter_search.strategies.zero_tuning.prior import Prior

SMALLEST_PROBABILITY = 1e-6
"""Floor of what is said about a divergence: an odd crash must not rule out every landscape."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A complete short run."""

    horizon: float
    """Its length as a share of the budget."""
    log2_lr: float
    score: float | None
    """Log of the loss that it ended with (lower is better, on any scale with that spread); None: it diverged."""


@dataclass(frozen=True, slots=True)
class RangeEvidence:
    """Where the loss turned while the rate rose through all octaves."""

    log2_lr: float
    sd: float
    turned: bool = True
    """False: it had not turned at ``log2_lr``, the highest rate tried, so the turn lies above."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Combinations of what is unknown besides the optimum and its drift; arrays of one length."""

    curvature: FloatArray
    asymmetry: FloatArray
    noise: FloatArray
    plateau: FloatArray
    """How far above the best a short run ends whose rate is too high."""
    weight: FloatArray

    @classmethod
    def of(cls, prior: Prior, curvatures: int = 7) -> "Cells":
        """Return the product of the prior's grids; the log-normal curvature is cut at two standard deviations."""
        z = np.linspace(-2.0, 2.0, curvatures)
        density = np.exp(-0.5 * z**2)
        b = prior.curvature_median * np.exp(prior.curvature_log_sd * z)
        k, k_weight = np.array(prior.asymmetries, dtype=np.float64).T
        s, s_weight = np.array(prior.noises, dtype=np.float64).T
        p, p_weight = np.array(prior.plateaus, dtype=np.float64).T
        grids = [each.ravel() for each in np.meshgrid(b, k, s, p, indexing="ij")]
        weights = np.meshgrid(density, k_weight, s_weight, p_weight, indexing="ij")
        product = np.prod(weights, axis=0).ravel()
        curvature, asymmetry, noise, plateau = grids
        return cls(curvature, asymmetry, noise, plateau, product / product.sum())

    def take(self, indices: npt.NDArray[np.intp]) -> "Cells":
        """Return the combinations at ``indices``, in that order."""
        return Cells(
            self.curvature[indices],
            self.asymmetry[indices],
            self.noise[indices],
            self.plateau[indices],
            self.weight[indices],
        )

    def raised(self, octaves: FloatArray, ceiling: float) -> FloatArray:
        """Return the rise of a short run ``octaves`` away from the optimum; the last axis is that of the cells.

        Above the optimum it ends at the plateau: the model learns what can be learned at any rate, as a language model
        does the frequency of its tokens.
        """
        highest = np.where(octaves > 0.0, np.minimum(self.plateau, ceiling), ceiling)
        return rise(octaves, self.curvature, self.asymmetry, highest)

    def __len__(self) -> int:
        """Return the number of combinations."""
        return len(self.weight)


def log_likelihood(
    rungs: Sequence[Rung], optimum: FloatArray, cells: Cells, prior: Prior, ceiling: float
) -> FloatArray:
    """Return the log-likelihood of the rungs of one horizon; shape [len(optimum), len(cells)].

    The loss at the optimum is unknown and has a flat prior; it is integrated out in closed form. A rung that ended is
    also evidence that its rate does not diverge.

    Args:
        rungs: All of one horizon; may be empty.
        optimum: ``log2`` of the best rate at that horizon, a grid.
        cells: The other unknowns, curvature as of that horizon.
        prior: Misfit and divergence.
        ceiling: Rise of a run that learned nothing.
    """
    ended = [rung for rung in rungs if rung.score is not None]
    threshold = _of_threshold(rungs, optimum, prior)[:, None]
    return threshold + _gaussian(ended, optimum, cells, prior, ceiling)


def _of_threshold(rungs: Sequence[Rung], optimum: FloatArray, prior: Prior) -> FloatArray:
    """Return the log-likelihood of which rungs diverged; same shape as ``optimum``.

    A job has one threshold, so the highest rate that ended and the lowest that diverged say it all: ten runs that ended
    are no ten witnesses.
    """
    ended = [rung.log2_lr for rung in rungs if rung.score is not None]
    lost = [rung.log2_lr for rung in rungs if rung.score is None]
    none, every = np.zeros_like(optimum), np.ones_like(optimum)
    above = divergence(max(ended) - optimum, prior.thresholds) if ended else none
    below = divergence(min(lost) - optimum, prior.thresholds) if lost else every
    crossed = bool(ended and lost) and max(ended) >= min(lost)
    chance = (1.0 - above) * below if crossed else below - above
    logs: FloatArray = np.log(np.maximum(chance, SMALLEST_PROBABILITY))
    return logs


def _gaussian(
    ended: Sequence[Rung], optimum: FloatArray, cells: Cells, prior: Prior, ceiling: float
) -> FloatArray:
    """Return the log density of scores around the landscape, the level integrated out; one score alone says nothing."""
    if len(ended) < 2:
        return np.zeros((len(optimum), len(cells)))
    octaves = np.array([rung.log2_lr for rung in ended])[:, None, None] - optimum[None, :, None]
    expected = cells.raised(octaves, ceiling)
    precision = 1.0 / (cells.noise**2 + (prior.misfit * expected) ** 2)
    above = scores_of(ended, ceiling)[:, None, None] - expected
    sum_of_precision = precision.sum(axis=0)
    level = (precision * above).sum(axis=0) / sum_of_precision
    misfit = (precision * (above - level) ** 2).sum(axis=0)
    density: FloatArray = 0.5 * (np.log(precision).sum(axis=0) - np.log(sum_of_precision) - misfit)
    return density - 0.5 * (len(ended) - 1) * math.log(2.0 * math.pi)


def scores_of(rungs: Sequence[Rung], ceiling: float) -> FloatArray:
    """Return the scores of rungs that ended, none more than ``ceiling`` above the best.

    A run that unlearned says no more than one that learned nothing: how far above it ends is chance.
    """
    scores = np.array([rung.score for rung in rungs if rung.score is not None], dtype=np.float64)
    return scores if not len(scores) else np.minimum(scores, scores.min() + ceiling)


def range_log_likelihood(test: RangeEvidence, optimum: FloatArray, prior: Prior) -> FloatArray:
    """Return the log-likelihood of a range test; same shape as ``optimum``, the best rate at its horizon."""
    z = (test.log2_lr - prior.range_offset - optimum) / test.sd
    if test.turned:
        return -0.5 * z**2 - math.log(test.sd * math.sqrt(2.0 * math.pi))
    # The turn lies above what was tried; a logistic stands in for the normal's tail, and no rate is ruled out.
    return np.log(np.maximum(0.5 * (1.0 - np.tanh(0.85 * z)), SMALLEST_PROBABILITY))
