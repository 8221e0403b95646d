"""What fits of loss curves have in common: a robust cost on log loss, several starts, and blocks of steps."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pacesetter_search.laws.base import LawNotFitted
from pacesetter_search.laws.bootstrap import block_bootstrap
from pacesetter_search.laws.curves import MOST_POINTS, Curve, FloatArray

HUBER = 1e-3
"""Where residuals of log loss stop counting squared, as in every published fit."""

REFERENCE_RATE = 3e-4
"""Peak that published parameters belong to. Their units hold powers of a rate, so rates are scaled to it."""

BLOCK = 64
"""Steps that count as one, in the fast sums: the error is below 3e-4 on smooth schedules."""

MOST_BLOCKS = 400
JUMP = 0.02
"""Change in one step, as a share of the peak, that is a knot of its own."""

PRIOR_UNIT = np.sqrt(10.0) * HUBER
"""One sd of a prior costs as much as one point with residuals of a thousandth that move together by tens."""

LOOSE = 10.0
"""Sd of a parameter's logarithm where there is no prior: what the curves leave open stays finite."""

UNITS_APART = 300.0
"""Ratio of peak rates that no sweep spans: some are multipliers, and others learning rates."""

CONSTANT = 1e-4
"""Range of log losses over all curves below which there is nothing to fit; validation noise is four times that."""

Predicted = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""From parameters (p,) to losses (n,) and their derivatives (n, p)."""


def prepared(curves: Sequence[Curve], *, parameters: int, fewest: int) -> list[Curve]:
    """Return curves that a law of log loss can be fitted to: without steps at zero, and of a size that can be handled.

    Raises:
        LawNotFitted: Fewer than ``fewest`` points, a loss that is not above zero, losses that are all the same, only
            steps at rate zero, or rates in different units.
    """
    points = sum(curve.positions.size for curve in curves)
    if points < fewest:
        raise LawNotFitted(f"{points} points for {parameters} parameters; give {fewest}")
    check(curves)
    active = [curve.active().at_most(MOST_POINTS) for curve in curves]
    moved = [curve for curve in active if curve.losses.size]
    left = sum(curve.positions.size for curve in moved)
    if left < min(fewest, points):
        raise LawNotFitted(
            f"{left} points after a step at a rate above zero, for {parameters} parameters; give {fewest}"
        )
    return moved


def check(curves: Sequence[Curve]) -> None:
    """Check that the curves are of runs that trained, in one unit.

    Raises:
        LawNotFitted: They are not; the message says why.
    """
    if min(float(np.min(curve.losses)) for curve in curves) <= 0.0:
        raise LawNotFitted("a loss is not above zero; the law describes the logarithm of losses")
    peaks = [curve.peak for curve in curves if curve.peak > 0.0]
    if not peaks:
        raise LawNotFitted("every learning rate is zero; give curves of runs that trained")
    if max(peaks) > UNITS_APART * min(peaks):
        raise LawNotFitted(
            f"peak rates go from {min(peaks):.3g} to {max(peaks):.3g}, as if some were multipliers and others learning "
            "rates; give all curves in one unit"
        )
    logs = np.concatenate([np.log(curve.losses) for curve in curves])
    if np.ptp(logs) < CONSTANT:
        raise LawNotFitted(
            f"every loss is {np.exp(logs[0]):.6g}; nothing tells what a schedule does, give runs whose loss falls"
        )


class Rows(NamedTuple):
    """Measured losses of all curves in a row."""

    log_losses: FloatArray
    weights: FloatArray
    """A curve's add up to the mean number of points, however many it has."""
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> "Rows":
        """Return the rows of ``curves``."""
        sizes = tuple(curve.positions.size for curve in curves)
        share = sum(sizes) / len(curves)
        weights = [np.full(size, np.sqrt(share / size)) for size in sizes]
        logs = np.concatenate([np.log(curve.losses) for curve in curves])
        return cls(logs, np.concatenate(weights), sizes)


class Prior(NamedTuple):
    """Normal beliefs about parameters, (p,); an infinite sd is none."""

    mean: FloatArray
    sd: FloatArray

    @classmethod
    def none(cls, parameters: int) -> "Prior":
        """Return no belief about any of them."""
        return cls(np.zeros(parameters), np.full(parameters, np.inf))


class Fit(NamedTuple):
    """The best of several fits."""

    parameters: FloatArray
    covariance: FloatArray
    residual_sd: float
    """Of log loss, robust."""
    cost: float
    """Huber's, without the prior's part."""


def fitted(
    predicted: Predicted,
    rows: Rows,
    starts: Sequence[FloatArray],
    bounds: tuple[FloatArray, FloatArray],
    prior: Prior,
) -> Fit:
    """Return the least robust cost of log loss over several starts, and how sure its parameters are."""
    from scipy.optimize import least_squares

    scale = PRIOR_UNIT / prior.sd

    def residuals(theta: FloatArray) -> FloatArray:
        losses, _ = predicted(theta)
        found = robust(rows.weights * (np.log(losses) - rows.log_losses))[0]
        return np.append(found, scale * (theta - prior.mean))

    def jacobian(theta: FloatArray) -> FloatArray:
        losses, gradient = predicted(theta)
        _, slope = robust(rows.weights * (np.log(losses) - rows.log_losses))
        return np.vstack([(slope * rows.weights / losses)[:, None] * gradient, np.diag(scale)])

    low, high = bounds
    found = [
        least_squares(
            residuals,
            np.clip(start, low + 1e-6, high - 1e-6),
            jac=jacobian,
            bounds=bounds,
            x_scale="jac",
            max_nfev=200,
        )
        for start in starts
    ]
    best = min(found, key=lambda each: float(each.cost))
    return _with_covariance(best.x, predicted, rows, prior)


def _with_covariance(theta: FloatArray, predicted: Predicted, rows: Rows, prior: Prior) -> Fit:
    losses, gradient = predicted(theta)
    residuals = np.log(losses) - rows.log_losses
    weighted = rows.weights * residuals
    scores = np.clip(weighted, -HUBER, HUBER)
    inside = max(float(np.mean(np.abs(weighted) <= HUBER)), 1.0 / weighted.size)
    jacobian = (rows.weights / losses)[:, None] * gradient
    precision = np.diag(PRIOR_UNIT**2 * (prior.sd**-2.0 + LOOSE**-2.0))
    covariance = block_bootstrap(
        jacobian,
        scores,
        rows.sizes,
        curvature=inside * (jacobian.T @ jacobian) + precision,
        prior=PRIOR_UNIT**2 * precision,
    )
    sd = max(1.4826 * float(np.median(np.abs(residuals))), 1e-6)
    return Fit(theta, covariance, sd, 0.5 * float(np.sum(robust(weighted)[0] ** 2)))


def knots_of(rates: FloatArray, *, block: int | None) -> FloatArray:
    """Return the steps, from 0 to the last, between which drops count as one; no two where the rate stands still.

    Args:
        rates: (steps,) learning rates.
        block: Steps that count as one at least; None: every step that moves is a knot.
    """
    moves = np.diff(rates, prepend=0.0)
    steps = rates.size
    if block is None:
        moving = np.flatnonzero(moves) + 1
        kept = np.union1d(moving, moving - 1)
    else:
        stride = max(block, -(-steps // MOST_BLOCKS))
        jumps = _jumps(moves, float(np.max(rates)))
        kept = np.union1d(np.arange(0, steps + stride, stride), np.union1d(jumps, jumps - 1))
        kept = np.minimum(kept, steps)
        # Where nothing moves between two knots there is no drop, and nothing to evaluate.
        still = np.add.reduceat(np.abs(moves), np.minimum(kept[:-1], steps - 1)) == 0.0
        inner = np.append(False, still[1:] & still[:-1])
        kept = np.append(kept[:-1][~inner], kept[-1])
    return np.unique(np.append(np.append(0, kept), steps)).astype(np.float64)


def _jumps(moves: FloatArray, peak: float) -> FloatArray:
    """Return the steps after which the rate has jumped; of more than can be handled, the largest jumps."""
    sizes = np.abs(moves)
    jumps = np.flatnonzero(sizes > JUMP * peak)
    if jumps.size > MOST_BLOCKS:
        jumps = jumps[np.argsort(sizes[jumps], kind="stable")[-MOST_BLOCKS:]]
    return np.asarray(jumps + 1)


def robust(residuals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what has Huber's cost as its square, (n,), and its derivative; prior rows stay squared."""
    size = np.abs(residuals)
    grown = np.sqrt(np.maximum(2.0 * HUBER * size - HUBER**2, HUBER**2))
    inside = size <= HUBER
    return (
        np.where(inside, residuals, np.sign(residuals) * grown),
        np.where(inside, 1.0, HUBER / grown),
    )
