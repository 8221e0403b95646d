"""How the best peak of one shape carries over to another, by the convex bound [Schaipp2025, arXiv 2501.18965]."""

import math
from functools import lru_cache

import numpy as np
from pacesetter.schedules import Linear, Schedule
from pacesetter.schedules.convex_bound import convex_bound

POINTS = 1000
"""Of the grid on which the bound is evaluated; the ratio of two shapes hardly depends on it."""


@lru_cache(maxsize=1024)
def shape_octaves(schedule: Schedule) -> float:
    """Return how many octaves the best peak of a schedule lies above that of a linear decay; the warm-up is left out.

    Linear 0, cosine -.04, WSD with half -.61, with a fifth -.96.

    Raises:
        ValueError: Its rate is zero throughout.
    """
    extent = schedule.extent
    inside = (np.arange(POINTS) + 0.5) / POINTS
    values = schedule.over(schedule.zero + extent.warmup + inside * extent.body)
    highest = float(values.max())
    if not highest > 0.0:
        raise ValueError(f"the schedule {schedule.describe()!r} has a rate of zero throughout")
    # A tail at zero adds nothing, and the bound divides by what is left of it.
    best = convex_bound(np.maximum(values / highest, 1e-12)).best_base_lr
    return math.log2(best / _linear())


@lru_cache(maxsize=1)
def _linear() -> float:
    inside = (np.arange(POINTS) + 0.5) / POINTS
    return convex_bound(Schedule(length=POINTS, body=Linear()).over(inside * POINTS)).best_base_lr
