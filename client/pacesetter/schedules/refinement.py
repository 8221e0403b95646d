"""Refinement: from the gradient norms of a run to the schedule of the next one.

Algorithm of [Defazio2023, arXiv 2310.07831]: with weights w = 1 / |g|_2^2 (SGD) or 1 / |g|_1 (Adam) from the smoothed
norms of a finished run, eta_t is proportional to w_t * sum of w_p over p > t. Constant norms give linear decay, falling
norms a warm-up, rising norms a faster decay. It is the minimiser, nearly, of the bound in ``convex_bound.py``.

Log the norms of the full gradient of each optimizer step: unscaled, before clipping, reduced over ranks, without weight
decay. A step that a GradScaler skipped has none.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pacesetter.schedules.base import FloatArray
from pacesetter.schedules.refined import MOST_POINTS, Refined

Optimizer: TypeAlias = Literal["sgd", "adam"]

POWERS: dict[Optimizer, int] = {"sgd": 2, "adam": 1}
"""Power of the norm in the weight."""

FEWEST = 10
"""Norms below which no shape is made of them: the median filter would be a single sample."""


def refine(
    norms: npt.ArrayLike,
    *,
    optimizer: Optimizer,
    tau: float = 0.1,
    weight_range: float = 100.0,
    guarded: int = 2,
    points: int = 1001,
) -> Refined:
    """Return the schedule that the gradient norms of a run ask for in the next one.

    The closed form ends in a rate of zero, which would waste the last step; it is laid over one step more than the run
    has, so that the zero falls on the position after the last step. Constant norms give ``linear`` exactly.

    Args:
        norms: (steps,) norm of each optimizer step: l2 for ``"sgd"``, **l1** for ``"adam"``.
        optimizer: The kind of optimizer, with or without momentum.
        tau: Width of the median filter as a share of the run; .1 as published.
        weight_range: Most that one weight may exceed another; caps the smallest norms. 4 keeps separable and other
            small convex tasks from losing to linear; 100 leaves most published shapes alone.
        guarded: First samples to be replaced by the median of the first window: the filter cannot reach the very first
            one, and a head that starts at zero makes it tiny.
        points: Most points of the result, evenly spaced; more than the run has steps are not made.

    Raises:
        ValueError: Too few norms, or one that is negative or not finite, or a setting out of range.
    """
    values = _checked(norms)
    _check_settings(tau, weight_range, guarded, points)
    values = _without_first(values, tau, guarded)
    smooth = median_filter(values, tau)
    power = POWERS[optimizer]
    floor = smooth.max() / weight_range ** (1.0 / power)
    capped = np.maximum(smooth, floor)
    shape = refined_shape(np.append(capped, capped[-1]), power)
    if len(shape) > points:
        shape = np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(shape)), shape)
        shape /= shape.max()
    norm: Literal["l2_squared", "l1"] = "l2_squared" if optimizer == "sgd" else "l1"
    return Refined(values=tuple(map(float, shape)), norm=norm, tau=tau)


def refined_shape(norms: npt.ArrayLike, power: int) -> FloatArray:
    """Return the closed form over (steps,) norms, its maximum 1, its last value 0; nothing is smoothed or capped."""
    weights = np.asarray(norms, dtype=np.float64) ** -power
    # Summed from the end: total minus the sum so far would cancel, and go below zero in long runs.
    after = np.append(np.cumsum(weights[::-1])[::-1][1:], 0.0)
    shape: FloatArray = weights * after / np.max(weights * after)
    return shape


def median_filter(values: npt.ArrayLike, tau: float) -> FloatArray:
    """Return the running median of (steps,) values over windows of ``tau`` of **their** number, made odd.

    At the left edge the first value is repeated, at the right one the series is mirrored about its end, as in the
    published code, which however takes the width from a resampled series of 10,000 whatever the run's length.
    """
    series = np.asarray(values, dtype=np.float64)
    half = filter_width(len(series), tau) // 2
    mirrored = np.pad(series, (0, half), mode="reflect") if half else series
    padded = np.pad(mirrored, (half, 0), mode="edge")
    return _running_median(padded.tolist(), 2 * half + 1)


def filter_width(steps: int, tau: float) -> int:
    """Return the odd number of samples that a median filter of share ``tau`` spans."""
    return 2 * (int(tau * steps) // 2) + 1


def _running_median(series: Sequence[float], width: int) -> FloatArray:
    """Return the median of every full window; a sorted window is kept, so that long runs take no time."""
    window = sorted(series[:width])
    medians = [window[width // 2]]
    for leaving, entering in zip(series, series[width:], strict=False):
        del window[bisect_left(window, leaving)]
        insort(window, entering)
        medians.append(window[width // 2])
    return np.array(medians)


def _checked(norms: npt.ArrayLike) -> FloatArray:
    values = np.asarray(norms, dtype=np.float64)
    if values.ndim != 1 or len(values) < FEWEST:
        raise ValueError(
            f"gradient norms of shape {values.shape}; give one a step, of at least {FEWEST} steps"
        )
    bad = ~(np.isfinite(values) & (values >= 0.0))
    if bad.any():
        where = int(np.argmax(bad))
        raise ValueError(
            f"gradient norm {values[where]} at index {where}; norms are finite and not negative, "
            "leave out steps that were skipped"
        )
    if not values.any():
        raise ValueError("every gradient norm is 0; measure them before zero_grad")
    return values


def _check_settings(tau: float, weight_range: float, guarded: int, points: int) -> None:
    if not 0.0 <= tau <= 1.0:
        raise ValueError(f"tau {tau} is no share of the run; give one in [0, 1], as published 0.1")
    if not weight_range >= 1.0:
        raise ValueError(f"weight_range {weight_range} is below 1, where all weights are equal")
    if guarded < 0:
        raise ValueError(f"guarded {guarded} is below 0; give the number of first samples")
    if not 2 <= points <= MOST_POINTS:
        raise ValueError(f"{points} points; give 2 to {MOST_POINTS:,}")


def _without_first(values: FloatArray, tau: float, guarded: int) -> FloatArray:
    first = max(filter_width(len(values), tau), 2 * guarded + 1)
    kept = values.copy()
    kept[:guarded] = np.median(values[:first])
    return kept
