"""The Gaussian process of the surrogate in textbook NumPy: slow, obvious, and right [Rasmussen2006, Algorithm 2.1]."""

import math

import numpy as np
import numpy.typing as npt
from pacesetter_search.surrogates.kernel import OFFSET_VARIANCE

FloatArray = npt.NDArray[np.float64]


def covariance(
    left: FloatArray, right: FloatArray, x_scale: float, stage_scale: float, variance: float
) -> FloatArray:
    """Return the kernel matrix, one pair at a time."""
    result = np.zeros((len(left), len(right)))
    for i, (x1, s1) in enumerate(left):
        for j, (x2, s2) in enumerate(right):
            r = math.sqrt(5) * abs(x1 - x2) / x_scale
            matern = (1 + r + r * r / 3) * math.exp(-r)
            decay = math.exp(-abs(s1 - s2) / stage_scale)
            result[i, j] = variance * matern * decay + (OFFSET_VARIANCE if s1 == s2 else 0.0)
    return result


def posterior(
    points: FloatArray,
    losses: FloatArray,
    noise: FloatArray,
    grid: FloatArray,
    hyperparameters: dict[str, float],
) -> tuple[FloatArray, FloatArray]:
    """Return the posterior mean and variance of a process with mean zero."""
    k = covariance(points, points, **hyperparameters) + np.diag(noise)
    across = covariance(grid, points, **hyperparameters)
    prior = np.diag(covariance(grid, grid, **hyperparameters))
    mean = across @ np.linalg.solve(k, losses)
    return mean, prior - np.einsum("ij,ji->i", across, np.linalg.solve(k, across.T))
