"""Policies that run lower than the one they stand for: for a while, or from a position on."""

import numpy as np
from pacesetter.schedules import FloatArray, Schedule, Table

POINTS = 400
"""Points of a lowered policy; a cosine is then met to 2e-6 of its peak."""

Points = tuple[tuple[float, float], ...]
"""Positions in rising order, each with the factor there; between them the factor runs in a line, beyond them it
stays."""


def lowered(policy: Schedule, factor: float) -> Schedule:
    """Return ``policy`` times ``factor`` everywhere, exactly."""
    return policy if factor == 1.0 else policy.model_copy(update={"peak": policy.peak * factor})


def dipped(policy: Schedule, points: Points, start: int, end: int) -> Schedule:
    """Return ``policy`` times the factor that ``points`` describe, from ``start`` to ``end``.

    The result is a table of straight lines through a grid and through every bend and jump of both.
    """
    if end - start < 2 or policy.peak == 0.0:
        return policy
    positions = _grid(policy, points, start, end)
    places, factors = zip(*points, strict=True)
    values = policy.over(positions) * np.interp(positions, places, factors)
    peak = float(values.max())
    if peak <= 0.0:
        return policy
    progress = (positions - start) / (end - start)
    # A share above 1 would be cut off by rounding alone.
    shares = np.minimum(values / peak, 1.0)
    body = Table(positions=tuple(progress.tolist()), values=tuple(shares.tolist()))
    return Schedule(zero=start, length=end - start, peak=peak, unit=policy.unit, body=body)


def _grid(policy: Schedule, points: Points, start: int, end: int) -> FloatArray:
    """Return whole positions: an even grid, all bends, and the places beside each so that a jump stays one."""
    bends = np.array([*policy.breakpoints(), *(place for place, _ in points)])
    around = np.concatenate([np.floor(bends) - 1, np.floor(bends), np.floor(bends) + 1])
    even = np.round(np.linspace(start, end, min(POINTS, end - start + 1)))
    inside = around[(around > start) & (around < end)]
    grid: FloatArray = np.unique(np.concatenate([even, inside]))
    return grid
