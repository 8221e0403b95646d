"""Equally likely draws from a posterior: the common cells on which probes are valued."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pacesetter_search.landscape import FloatArray
from pacesetter_search.strategies.zero_tuning.posterior import (
    GRID,
    Posterior,
    transition,
)


@dataclass(frozen=True, slots=True)
class Draws:
    """Draws of everything unknown; arrays of one length."""

    optimum: FloatArray
    """Best rate at the whole budget."""
    at: dict[float, FloatArray]
    """Best rate at each horizon of the posterior's chain."""
    cell: npt.NDArray[np.intp]
    """Index into the posterior's cells."""


def draw(posterior: Posterior, count: int, generator: np.random.Generator) -> Draws:
    """Return ``count`` draws from the posterior: filtered forward on the grid, sampled backward along the chain."""
    shape = posterior.joint.shape
    flat = np.cumsum(posterior.joint.ravel())
    drift, place, cell = np.unravel_index(_pick(flat, count, generator), shape)
    optimum, at = GRID[place], {}
    later, to = 1.0, place
    for horizon, belief in zip(
        reversed(posterior.horizons), reversed(posterior.filtered), strict=True
    ):
        doublings = float(np.log2(later / horizon))
        kernels = np.stack(
            [transition(float(d), posterior.prior.drift_noise, doublings) for d in posterior.drifts]
        )
        weights = belief[drift, :, cell] * kernels[drift, to, :]
        below = np.cumsum(weights, axis=1)
        wanted = generator.random(count)[:, None] * below[:, -1:]
        to = np.minimum((below < wanted).sum(axis=1), len(GRID) - 1)
        at[horizon], later = GRID[to], horizon
    return Draws(optimum, at, cell)


def _pick(
    cumulative: FloatArray, count: int, generator: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return indices by systematic resampling: one uniform offset, then equal strides [Kitagawa1996]."""
    wanted = (np.arange(count) + generator.random()) / count * cumulative[-1]
    return np.asarray(np.minimum(np.searchsorted(cumulative, wanted), len(cumulative) - 1))
