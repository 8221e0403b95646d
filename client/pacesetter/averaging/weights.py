"""Merging checkpoints of a constant learning rate does what decaying it would have done to the same gradients.

With updates ``u_i`` at a constant rate the merge ``sum_j c_j theta(t_j)``, ``sum_j c_j = 1``, is the start minus the
sum of ``w_i u_i`` with ``w_i = sum over t_j >= i of c_j``: every update scaled as a decay would have scaled it. Uniform
weights are a linear decay [WSM, arXiv 2507.17634]. It is an identity on fixed gradients; those of a run that really
decays are taken at other weights.
"""

from collections.abc import Sequence

import numpy as np

from pacesetter.schedules import FloatArray, Schedule

NODES = 64
"""Points at which a decay is averaged between two checkpoints."""


def decay_equivalent_weights(decay: Schedule, positions: Sequence[float]) -> FloatArray:
    """Return the weights with which checkpoints of a constant rate stand for a decay.

    Args:
        decay: What the rate would have done: its multiplier, relative to that at the first checkpoint, never rises
            between the first and the last one.
        positions: Of the checkpoints, rising, in the decay's clock; the first one is where the decay begins.

    Returns:
        One weight a checkpoint, float64, not negative, of sum 1.

    Raises:
        ValueError: There is no checkpoint, they do not rise, or the decay rises or begins at zero.
    """
    places = np.asarray(positions, dtype=np.float64)
    if places.size == 0 or not np.all(np.diff(places) > 0.0):
        raise ValueError(
            f"positions {list(positions)[:5]} do not rise; give those of one or more checkpoints, oldest first"
        )
    first = decay.at(float(places[0]))
    if not first > 0.0:
        raise ValueError(
            f"the decay is {first:g} at {places[0]:g}, where it should begin; give one that is above zero there"
        )
    shares = (np.arange(NODES) + 0.5) / NODES
    inner = places[:-1, None] + np.diff(places)[:, None] * shares
    multipliers = np.concatenate([[1.0], decay.over(inner).mean(axis=1) / first])
    if np.any(np.diff(multipliers) > 1e-9):
        raise ValueError(
            "the decay rises between two checkpoints; a merge can only scale later updates down"
        )
    weights: FloatArray = np.maximum(multipliers - np.append(multipliers[1:], 0.0), 0.0)
    weights /= weights.sum()
    return weights


def implied_multipliers(weights: Sequence[float]) -> FloatArray:
    """Return what a merge scales the updates by that led to each checkpoint: 1 for the first, then ever less.

    Args:
        weights: One a checkpoint, oldest first, of sum 1.
    """
    multipliers: FloatArray = np.cumsum(np.asarray(weights, dtype=np.float64)[::-1])[::-1]
    return multipliers
