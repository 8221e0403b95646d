"""How the best peak of one shape of schedule carries over to another, by the convex bound."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from pacesetter.schedules import Linear, Schedule
from pacesetter.schedules.convex_bound import convex_bound

FloatArray = npt.NDArray[np.float64]

POINTS = 4000
"""Steps of the grid on which the bound is evaluated; the ratio of two shapes hardly depends on it."""

NOTHING = 1e-12
"""Share of the peak that stands for a rate of zero: such steps add nothing to the bound's sums."""

ENDED = 1e-3
"""Share of the peak below which a tail has ended the run: the bound divides by what is left of the rates."""


def relative_peak(weights: FloatArray) -> float:
    """Return the best peak of a shape by the convex bound, in units of D / (G sqrt(T)) [Schaipp2025, 2501.18965].

    Only ratios of it are used. With T steps of weights ``w`` (peak 1), ``gamma* = sqrt(T1 / T2)``, where ``T1 = 1 / (2
    sum w)`` and ``T2 = sum w^2 / (2 sum w) + 1/2 sum_k w_k / S_(k+1) Q_k / S_k`` with the tail sums ``S`` of ``w`` and
    ``Q`` of ``w^2``. At 10,000 steps: linear .9995, cosine .9706, WSD with half .6556, WSD with a fifth .5140.

    Args:
        weights: (T,) rates at evenly spaced steps, in any unit.
    """
    peak = max(float(weights.max()), 1e-300)
    bound = convex_bound(np.maximum(weights / peak, NOTHING))
    return bound.best_base_lr * math.sqrt(weights.size)


def octaves_over_linear(steps: FloatArray, lrs: FloatArray, first: float) -> float:
    """Return how many octaves the best peak of realised rates lies above that of a linear decay to zero.

    Args:
        steps: (n,) steps done, rising.
        lrs: (n,) rates of those steps, not all zero; between two rows they lie on a line.
        first: Steps of the warm-up, which the bound knows no use of: it is left out.
    """
    places = first + 1.0 + np.arange(POINTS) / POINTS * (steps[-1] - first)
    rates = np.interp(places, steps, lrs)
    running = np.flatnonzero(rates >= ENDED * rates.max())
    if rates.max() <= 0.0 or running.size < 2:
        return 0.0
    # A rate that falls to nothing at once has a point of the grid on its way down, which no step ran at.
    last = int(running[-1])
    peak = max(relative_peak(rates[: last + 1]), relative_peak(rates[:last]))
    return math.log2(peak / _linear())


@cache
def _linear() -> float:
    rates = Schedule(length=POINTS, body=Linear()).over(np.arange(float(POINTS)))
    return relative_peak(rates[rates >= ENDED])
