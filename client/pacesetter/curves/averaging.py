"""Long curves as short ones: losses averaged in blocks, learning rates kept where a line would miss them.

What laws take from the rates are sums of them and of their drops, so rates are never averaged where a few knots tell
them: each kept row has the rate of its very step, and jumps keep both their sides. Only rates that move all the time
(under a feedback rule) are averaged with the losses, which keeps their sums.
"""

import heapq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pacesetter.curves.points import Points
from pacesetter.schedules.base import FloatArray

MOST_POINTS = 2000
KNOTS = 500
"""Rows that may go to learning rates alone."""

TOLERANCE = 1e-4
"""Largest error of a rate between rows, as a share of the peak."""

_Stretch = tuple[float, int, int, int]
"""Minus the largest error of a line, from where, the worst place, and to where."""

CHUNKS = 50_000
"""Longer columns are first thinned to the ends and extremes of so many stretches, where knots are looked for."""


class _Blocks(NamedTuple):
    """Averaged losses: one of each block that has any, and the last loss of all."""

    steps: FloatArray
    losses: FloatArray
    edges: FloatArray
    """(blocks + 1,) steps between which a block lies."""


def averaged(points: Points, most: int = MOST_POINTS) -> Points:
    """Return the curve with at most ``most`` rows or so; one that is short enough comes back as it is.

    The last loss is kept by itself, and a block whose last measured loss is no number is none: a run that diverged
    still has.
    """
    if points.steps.size <= most:
        return points
    for_rates = min(KNOTS, most // 4)
    blocks = _blocks(points, most - for_rates - 1)
    knots = rate_knots(points.steps, points.lrs, for_rates)
    ends = points.steps[[0, -1] if knots is None else knots]
    steps = np.union1d(ends, blocks.steps)
    lrs = np.interp(steps, points.steps, points.lrs)
    if knots is None:
        lrs = _mean_rates(points, blocks.edges)[_block_of(steps, blocks.edges)]
    losses = np.full(steps.size, np.nan)
    losses[np.searchsorted(steps, blocks.steps)] = blocks.losses
    return Points(steps, lrs, losses, points.warmup)


def rate_knots(steps: FloatArray, lrs: FloatArray, most: int) -> npt.NDArray[np.intp] | None:
    """Return (k,) sorted rows between which rates lie on lines, within ``TOLERANCE``; None if ``most`` do not do.

    The worst place of the worst stretch becomes the next knot [Douglas & Peucker 1973, by vertical distance].
    """
    rows = _candidates(steps, lrs)
    places, rates = steps[rows], lrs[rows]
    allowed = TOLERANCE * float(rates.max())
    kept = [0, rows.size - 1]
    stretches = [_worst(places, rates, 0, rows.size - 1)]
    while stretches and -stretches[0][0] > allowed:
        if len(kept) >= most:
            return None
        _, start, middle, end = heapq.heappop(stretches)
        kept.append(middle)
        heapq.heappush(stretches, _worst(places, rates, start, middle))
        heapq.heappush(stretches, _worst(places, rates, middle, end))
    return np.sort(rows[kept])


def _candidates(steps: FloatArray, lrs: FloatArray) -> npt.NDArray[np.intp]:
    """Return the rows that can be knots: all, or the ends and extremes of each of many stretches."""
    count = steps.size
    if count <= 4 * CHUNKS:
        return np.arange(count)
    length = -(-count // CHUNKS)
    starts = np.arange(0, count, length)
    ends = np.minimum(starts + length, count) - 1
    # How far each rate lies from the line between the ends of its stretch.
    which = np.arange(count) // length
    run = np.maximum(steps[ends] - steps[starts], 1.0)
    slope = (lrs[ends] - lrs[starts]) / run
    off = lrs - (lrs[starts][which] + slope[which] * (steps - steps[starts][which]))
    padded = np.pad(off, (0, starts.size * length - count), constant_values=0.0)
    table = padded.reshape(starts.size, length)
    extremes = [starts + table.argmin(axis=1), starts + table.argmax(axis=1)]
    return np.unique(np.minimum(np.concatenate([starts, ends, *extremes]), count - 1))


def _worst(places: FloatArray, rates: FloatArray, start: int, end: int) -> _Stretch:
    """Return how well a line from ``start`` to ``end`` tells the rates between them."""
    inner = slice(start + 1, end)
    if end - start < 2:
        return 0.0, start, start, end
    share = (places[inner] - places[start]) / (places[end] - places[start])
    errors = np.abs(rates[start] + share * (rates[end] - rates[start]) - rates[inner])
    worst = int(np.argmax(errors))
    return -float(errors[worst]), start, start + 1 + worst, end


def _blocks(points: Points, count: int) -> _Blocks:
    """Return the losses in ``count`` blocks of as many steps, the last loss by itself."""
    rows = np.flatnonzero(~np.isnan(points.losses))
    body, last = rows[:-1], rows[-1]
    steps, losses = points.steps[body], points.losses[body]
    edges = np.linspace(points.steps[0], points.steps[-1], count + 1)
    label = _block_of(steps, edges)
    finite = np.isfinite(losses)
    used, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    broken = ~finite[np.append(first[1:], label.size) - 1]
    # Where a block ends in no number its place is that of all its rows.
    weight = np.where(finite | broken[inverse], 1.0, 0.0)
    places = np.bincount(inverse, weight * steps) / np.bincount(inverse, weight)
    sums = np.bincount(inverse, np.where(finite, losses, 0.0))
    means = np.full(used.size, np.inf)
    np.divide(sums, np.bincount(inverse, finite.astype(np.float64)), out=means, where=~broken)
    return _Blocks(
        np.append(places, points.steps[last]), np.append(means, points.losses[last]), edges
    )


def _block_of(steps: FloatArray, edges: FloatArray) -> npt.NDArray[np.intp]:
    return np.clip(np.searchsorted(edges, steps, side="left") - 1, 0, edges.size - 2)


def _mean_rates(points: Points, edges: FloatArray) -> FloatArray:
    """Return the mean rate of each block, (blocks,): by the area under the line through the rates."""
    areas = 0.5 * np.diff(points.steps) * (points.lrs[1:] + points.lrs[:-1])
    at_edges = np.interp(edges, points.steps, np.append(0.0, np.cumsum(areas)))
    means: FloatArray = np.diff(at_edges) / np.diff(edges)
    return means
