"""Where a loss curve is going: a robust, bounded mixture that knows how little it knows.

The curve is ``c + a g(t)`` with ``g`` exponential (``exp(-t/tau)``), a power law (``(1 + t/tau)^-b``) or nothing (a
constant). Instead of one fit per family, every shape of a fixed grid is weighed by its evidence, with the amplitude
integrated over its bounded range and the limit ``c`` profiled. A curve that says little about its future (signal far
below the noise, or a time constant far beyond the window) leaves many shapes alive, and the spread of what they
predict is the variance. There is no optimiser that could fail: any input gets an answer.

Bounds: a falling curve ends at or above zero where every loss is at or above zero; a rising one rises at most twice
the range seen. Noise is estimated from first differences and from the best shape's residuals, whichever is larger, and
inflated where residuals are correlated. Outliers are down-weighted [Huber1964].
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from pacesetter_search.losses import LARGEST_LOSS

FloatArray = npt.NDArray[np.float64]
Status = Literal["fitted", "few_points", "no_data"]

FEWEST_POINTS = 5
"""Below this many points nothing is extrapolated: the mean is the last level, the variance says so."""

_HUBER = 1.345  # 95 % efficiency on Gaussian noise [Huber1964]
_QUADRATURE = 25  # nodes across the amplitude's posterior, which is a truncated Gaussian
_LARGEST = 1e300
_PARSIMONY = 3000.0
"""Prior odds by which the mean prefers a constant: without it flat noise is extrapolated tenfold.

The variance does not prefer anything, so a mean that stays flat for want of evidence says so.
"""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A predicted loss.

    Attributes:
        mean: Expected loss at the target (of the curve itself: without the noise of one batch).
        variance: Its variance, never negative; infinite without data.
        change: Expected loss at the target minus the curve's level at the last point.
        change_variance: Variance of ``change``.
        noise: Standard deviation of one measured point around the curve.
        status: ``fitted``, ``few_points`` (not extrapolated) or ``no_data`` (mean is NaN).
    """

    mean: float
    variance: float
    change: float
    change_variance: float
    noise: float
    status: Status


@dataclass(frozen=True, slots=True)
class _Weighed:
    """The grid's posterior: weights (shapes, nodes), amplitudes (shapes, nodes) and what they refer to."""

    weights: FloatArray
    amplitudes: FloatArray
    mean_loss: float
    mean_shape: FloatArray
    noise_of_mean: float

    def predict(self, shape: FloatArray) -> FloatArray:
        """Return the loss at one place, (shapes, nodes), given every shape's value there."""
        offset = shape - self.mean_shape
        result: FloatArray = self.mean_loss + self.amplitudes * offset[:, None]
        return result

    def moments(self, values: FloatArray) -> tuple[float, float]:
        """Return the parsimonious mean of ``values``, and the sceptical variance about it."""
        parsimonious = self.weights.copy()
        parsimonious[0] *= _PARSIMONY
        mean = float(np.sum(parsimonious * values) / np.sum(parsimonious))
        return mean, float(np.sum(self.weights * (values - mean) ** 2))


def forecast(
    positions: ArrayLike, losses: ArrayLike, target: float, counts: ArrayLike | None = None
) -> Forecast:
    """Predict the loss at ``target`` from a window of a loss curve. Never raises.

    Args:
        positions: (n,) places of the points, in any order and unit.
        losses: (n,) losses; points that are not finite are left out.
        target: Where to predict, in the unit of ``positions``; normally beyond the last of them.
        counts: (n,) how many measurements each point is the mean of; None: one.

    Returns:
        The prediction. See :class:`Forecast`.
    """
    x, y, n = _clean(positions, losses, counts)
    if x.size == 0:
        return Forecast(np.nan, np.inf, np.nan, np.inf, np.nan, "no_data")
    scale = float(np.max(np.abs(y))) or 1.0
    width = float(x[-1] - x[0])
    if x.size < FEWEST_POINTS or width <= 0.0 or not np.isfinite(target):
        return _rescaled(_unfitted(y / scale), scale)
    unit_x = (x - x[0]) / width
    ahead = float(np.clip((target - x[0]) / width, 0.0, 1e6))
    return _rescaled(_fitted(unit_x, y / scale, n, ahead), scale)


def _clean(
    positions: ArrayLike, losses: ArrayLike, counts: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the usable points in order of position. Sequences of different lengths are cut to the shortest."""
    x = np.atleast_1d(np.asarray(positions, dtype=np.float64)).ravel()
    y = np.atleast_1d(np.asarray(losses, dtype=np.float64)).ravel()
    n = np.ones_like(y) if counts is None else np.asarray(counts, dtype=np.float64).ravel()
    length = min(x.size, y.size, n.size)
    x, y, n = x[:length], y[:length], n[:length]
    # A position is squared as well, and counts are divided by.
    usable = (np.abs(x) < LARGEST_LOSS) & (np.abs(y) < LARGEST_LOSS)
    usable &= (n > 1.0 / LARGEST_LOSS) & np.isfinite(n)
    order = np.argsort(x[usable], kind="stable")
    return x[usable][order], y[usable][order], n[usable][order]


def _unfitted(y: FloatArray) -> Forecast:
    """The mean of the last points, with the variance of knowing nothing about what follows."""
    level = float(np.median(y[-3:]))
    spread = float(np.ptp(y))
    variance = spread**2 + (0.5 * abs(level)) ** 2
    return Forecast(level, variance, 0.0, variance, spread, "few_points")


def _rescaled(result: Forecast, scale: float) -> Forecast:
    """Undo the division of the losses by ``scale``, keeping everything finite."""
    square = min(scale * scale, _LARGEST)
    return Forecast(
        result.mean * scale,
        min(result.variance * square, _LARGEST),
        result.change * scale,
        min(result.change_variance * square, _LARGEST),
        result.noise * scale,
        result.status,
    )


def _fitted(x: FloatArray, y: FloatArray, counts: FloatArray, ahead: float) -> Forecast:
    """Weigh the grid twice: the second time with outliers down-weighted and the noise that the first pass left."""
    places = np.append(x, ahead)
    prior, shapes = _shapes_at(places)
    noise = _noise_from_differences(y, counts)
    weighed = _weigh(prior, shapes, y, counts, noise)
    for _ in range(2):
        residuals = y - _mean_curve(weighed, shapes[:, :-1])
        noise = max(noise, _noise_from_residuals(residuals, counts))
        standard = np.abs(residuals) * np.sqrt(counts) / noise
        robust = counts * np.minimum(1.0, _HUBER / np.maximum(standard, _HUBER))
        weighed = _weigh(prior, shapes, y, robust, noise * _correlation_inflation(residuals))
    at_target, at_end = weighed.predict(shapes[:, -1]), weighed.predict(shapes[:, -2])
    mean, variance = weighed.moments(at_target)
    change, change_variance = weighed.moments(at_target - at_end)
    return Forecast(
        mean, variance + weighed.noise_of_mean**2, change, change_variance, noise, "fitted"
    )


@lru_cache(maxsize=1)
def _grid() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return prior (shapes,), time constants (shapes,) and exponents (shapes,; 0 marks an exponential).

    Time constants are log-uniform in windows: faster than 1/30 is over before the window ends, slower than 30 is a
    line. The first shape is the constant (time constant infinite). Families have the same prior.
    """
    exponential = np.geomspace(1 / 30, 30, 96)
    onset, exponent = np.meshgrid(np.geomspace(0.01, 3.0, 16), [0.25, 0.5, 1.0, 2.0])
    constants = np.concatenate([[np.inf], exponential, onset.ravel()])
    exponents = np.concatenate([[0.0], np.zeros_like(exponential), exponent.ravel()])
    prior = np.concatenate(
        [
            [1.0],
            np.full(exponential.size, 1 / exponential.size),
            np.full(onset.size, 1 / onset.size),
        ]
    )
    return prior / 3.0, constants, exponents


def _shapes_at(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the prior (shapes,) and every shape at ``x``, (shapes, n); each is 1 at zero and falls."""
    prior, constants, exponents = _grid()
    ratio = x[None, :] / constants[:, None]
    power = (1.0 + ratio) ** -exponents[:, None]
    return prior, np.where(exponents[:, None] > 0, power, np.exp(-ratio))


def _weigh(
    prior: FloatArray, shapes: FloatArray, y: FloatArray, weights: FloatArray, noise: float
) -> _Weighed:
    """Return the posterior over shapes and amplitudes, given points of variance ``noise^2 / weights``."""
    inside, total = shapes[:, :-1], float(np.sum(weights))
    mean_loss = float(weights @ y) / total
    mean_shape = inside @ weights / total
    centred = inside - mean_shape[:, None]
    information = (centred**2) @ weights / noise**2
    covariance = centred @ (weights * (y - mean_loss)) / noise**2
    lowest, highest = _amplitude_bounds(y, mean_loss, mean_shape, shapes)
    best = np.divide(covariance, information, out=np.zeros_like(prior), where=information > 1e-12)
    width = np.minimum(1.0 / np.sqrt(np.maximum(information, 1e-12)), highest - lowest)
    low = np.clip(best - 4 * width, lowest, highest - width)
    high = np.clip(best + 4 * width, low + width, highest)
    nodes = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, _QUADRATURE)
    # log likelihood of an amplitude relative to the constant: a c - a^2 i / 2
    log_weight = nodes * covariance[:, None] - 0.5 * nodes**2 * information[:, None]
    share = np.divide(high - low, highest - lowest, out=np.ones_like(low), where=highest > lowest)
    log_weight += np.log(np.maximum(prior * share, 1e-300))[:, None]
    posterior = np.exp(log_weight - np.max(log_weight))
    posterior /= np.sum(posterior)
    return _Weighed(posterior, nodes, mean_loss, mean_shape, noise / float(np.sqrt(total)))


def _amplitude_bounds(
    y: FloatArray, mean_loss: float, mean_shape: FloatArray, shapes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and highest amplitude of each shape, (shapes,) each."""
    reach = np.maximum(1.0 - shapes[:, -1], 1e-9)
    spread = float(np.ptp(y)) + 1e-12
    falling = mean_loss / mean_shape if np.min(y) >= 0 else 10.0 * spread / reach
    highest = np.maximum(falling, spread * 1e-3)
    return -2.0 * spread / reach, highest


def _mean_curve(weighed: _Weighed, inside: FloatArray) -> FloatArray:
    """Return the posterior mean of the curve at the points, (n,)."""
    amplitude = np.sum(weighed.weights * weighed.amplitudes, axis=1)
    result: FloatArray = weighed.mean_loss + amplitude @ (inside - weighed.mean_shape[:, None])
    return result


def _noise_from_differences(y: FloatArray, counts: FloatArray) -> float:
    """Return the noise of one measurement from first differences, which a smooth curve hardly enters."""
    differences = np.diff(y) / np.sqrt(1.0 / counts[1:] + 1.0 / counts[:-1])
    middle = np.median(differences)
    deviation = 1.4826 * float(np.median(np.abs(differences - middle)))
    return max(deviation, 1e-4 * float(np.ptp(y)), 1e-9)


def _noise_from_residuals(residuals: FloatArray, counts: FloatArray) -> float:
    """Return the robust noise of one measurement around the fitted curve."""
    standard = np.abs(residuals) * np.sqrt(counts)
    return 1.4826 * float(np.median(standard))


def _correlation_inflation(residuals: FloatArray) -> float:
    """Return by how much correlated residuals inflate the noise: sqrt((1 + r) / (1 - r)), 1 to 4."""
    power = float(residuals @ residuals)
    if power <= 0.0:
        return 1.0
    lag_one = float(residuals[1:] @ residuals[:-1]) / power
    # Below two standard errors of white noise the estimate is noise itself.
    if lag_one < 2.0 / np.sqrt(residuals.size):
        return 1.0
    return float(np.clip(np.sqrt((1.0 + lag_one) / max(1.0 - lag_one, 1e-6)), 1.0, 4.0))
