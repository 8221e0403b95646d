"""What fits of loss curves have in common: a robust cost on log loss, and blocks of steps that count as one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pacesetter_search.laws.base import LawNotFitted
from pacesetter_search.laws.curves import Curve, FloatArray

HUBER = 1e-3
"""Where residuals of log loss stop counting squared, as in every published fit."""

REFERENCE_RATE = 3e-4
"""Peak that published parameters belong to. Their units hold powers of a rate, so rates are scaled to it."""

BLOCK = 64
"""Steps that count as one, in the fast sums: the error is below 3e-4 on smooth schedules."""

MOST_BLOCKS = 400
JUMP = 0.02
"""Change in one step, as a share of the peak, that is a knot of its own."""

CORRELATED = 10.0
"""Points that count as one, because their residuals move together."""


def check(curves: Sequence[Curve], *, parameters: int, fewest: int) -> float:
    """Return the largest rate of curves that a law of log loss can be fitted to.

    Raises:
        LawNotFitted: Fewer than ``fewest`` points, a loss that is not above zero, or only steps at rate zero.
    """
    points = sum(curve.positions.size for curve in curves)
    if points < fewest:
        raise LawNotFitted(f"{points} points for {parameters} parameters; give {fewest}")
    if min(float(np.min(curve.losses)) for curve in curves) <= 0.0:
        raise LawNotFitted("a loss is not above zero; the law describes the logarithm of losses")
    peak = max(float(np.max(curve.lrs)) for curve in curves)
    if peak <= 0.0:
        raise LawNotFitted("every learning rate is zero; give curves of runs that trained")
    return peak


class Rows(NamedTuple):
    """Measured losses of all curves in a row."""

    log_losses: FloatArray
    weights: FloatArray
    """A curve's add up to the mean number of points, however many it has."""

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> "Rows":
        """Return the rows of ``curves``."""
        share = sum(curve.positions.size for curve in curves) / len(curves)
        weights = [np.full(c.losses.size, np.sqrt(share / c.losses.size)) for c in curves]
        logs = np.concatenate([np.log(curve.losses) for curve in curves])
        return cls(logs, np.concatenate(weights))


def knots_of(rates: FloatArray, *, exact: bool) -> FloatArray:
    """Return the steps, from 0 to the last, between which drops count as one; no two where the rate stands still."""
    moves = np.diff(rates, prepend=0.0)
    steps = rates.size
    if exact:
        moving = np.flatnonzero(moves) + 1
        kept = np.union1d(moving, moving - 1)
    else:
        block = max(BLOCK, -(-steps // MOST_BLOCKS))
        jumps = np.flatnonzero(np.abs(moves) > JUMP * np.max(rates)) + 1
        kept = np.union1d(np.arange(0, steps + block, block), np.union1d(jumps, jumps - 1))
        kept = np.minimum(kept, steps)
        # Where nothing moves between two knots there is no drop, and nothing to evaluate.
        still = np.add.reduceat(np.abs(moves), np.minimum(kept[:-1], steps - 1)) == 0.0
        inner = np.append(False, still[1:] & still[:-1])
        kept = np.append(kept[:-1][~inner], kept[-1])
    return np.unique(np.append(np.append(0, kept), steps)).astype(np.float64)


def robust(residuals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what has Huber's cost as its square, (n,), and its derivative; prior rows stay squared."""
    size = np.abs(residuals)
    grown = np.sqrt(np.maximum(2.0 * HUBER * size - HUBER**2, HUBER**2))
    inside = size <= HUBER
    return (
        np.where(inside, residuals, np.sign(residuals) * grown),
        np.where(inside, 1.0, HUBER / grown),
    )
