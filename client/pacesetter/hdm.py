"""Hypergradient descent with a null step, for functions that are evaluated in full [Chu2025, arXiv 2502.11229].

It learns a diagonal preconditioner and a heavy-ball momentum from the gradient after a trial step, with AdaGrad's step
sizes, and accepts the trial only where the function falls. The null step costs one evaluation more a step and needs the
same function twice, which a minibatch is not: in a training job the feedback rule ``hypergradient`` has a form without.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

TINY = 1e-12
LARGEST_MOMENTUM = 0.9995
FIRST_MOMENTUM = 0.95
LARGEST_SCALE = 1e10
"""Of the preconditioner, over the inverse of the smoothness."""


@dataclass(frozen=True, slots=True)
class Descent:
    """What a descent came to.

    Attributes:
        point: (n,) where it ended.
        values: Function at the start and after every step; it never rises.
        null_steps: Steps whose trial was not accepted.
    """

    point: FloatArray
    values: tuple[float, ...]
    null_steps: int


def descend(
    value: Callable[[FloatArray], float],
    gradient: Callable[[FloatArray], FloatArray],
    start: npt.ArrayLike,
    *,
    steps: int,
    smoothness: float,
    rate: float | None = None,
    momentum_rate: float = 1.0,
) -> Descent:
    """Minimise a smooth function by HDM with a diagonal preconditioner.

    Args:
        value: The function, the same on every call.
        gradient: Its gradient, (n,) to (n,).
        start: (n,) first point.
        steps: Steps to make.
        smoothness: Largest curvature, above 0; it bounds the preconditioner.
        rate: Step size of the preconditioner; None: ``10 / smoothness``, for convex functions.
        momentum_rate: Step size of the momentum.

    Raises:
        ValueError: A step size or the smoothness is not above 0, or ``steps`` is below 0.
    """
    rate = 10.0 / smoothness if rate is None and smoothness > 0.0 else rate
    if not (smoothness > 0.0 and rate is not None and rate > 0.0 and momentum_rate > 0.0):
        raise ValueError(
            f"smoothness {smoothness}, rate {rate} and momentum_rate {momentum_rate} have to be above 0"
        )
    if steps < 0:
        raise ValueError(f"{steps} steps are impossible; give 0 or more")
    point = np.asarray(start, dtype=np.float64)
    before, values, null_steps = point, [float(value(point))], 0
    scale, scale_squares = np.zeros_like(point), np.zeros_like(point)
    momentum, momentum_squares = FIRST_MOMENTUM, 0.0
    for _ in range(steps):
        slope, moved = gradient(point), point - before
        trial = point - scale * slope + momentum * moved
        after = gradient(trial)
        size = float(slope @ slope) + TINY
        by_scale, by_momentum = -after * slope / size, float(after @ moved) / size
        scale_squares = scale_squares + by_scale**2
        scale = scale - rate * by_scale / (np.sqrt(scale_squares) + TINY)
        scale = np.clip(scale, 0.0, LARGEST_SCALE / smoothness)
        momentum_squares += by_momentum**2
        momentum -= momentum_rate * by_momentum / (momentum_squares**0.5 + TINY)
        momentum = min(max(momentum, 0.0), LARGEST_MOMENTUM)
        reached = float(value(trial))
        if reached < values[-1]:
            before, point = point, trial
        else:
            null_steps += 1
        values.append(min(reached, values[-1]) if reached == reached else values[-1])
    return Descent(point, tuple(values), null_steps)
