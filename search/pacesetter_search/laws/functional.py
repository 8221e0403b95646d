r"""The functional scaling law, in the form for language models [Li2025, arXiv 2509.19189].

.. math::
    L = L_\infty + A t^{-s} + B \int_0^t K(t - z)\, \eta(z)\, dz, \quad K(\tau) = (1 + C \tau)^{-\gamma}

in intrinsic time, the sum of the learning rates: :math:`\sum_j \eta_j^2 K(t - t_j)` is that integral. Steps at a rate
of zero change nothing, and rates that are too high cost something: the invariances that the annealing law lacks. Six
parameters are not identified by a constant and a cosine, where its predictions are poor (a PredE of .0027 on 100M,
without a prior .0053), so it is no member of the ensemble; with a step or a cooldown among the curves it is as good.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pacesetter_search.laws.base import FittedLaw, Law, Prediction, after
from pacesetter_search.laws.curves import Curve, FloatArray
from pacesetter_search.laws.fitting import (
    CORRELATED,
    HUBER,
    REFERENCE_RATE,
    Rows,
    check,
    knots_of,
    robust,
)

PRIOR_MEAN, PRIOR_SD = (110.0, 1.7), (1.2, 0.3)
"""C and gamma, and the sd of their logarithms: what three curves each of 25M and 100M parameters give (354 and 1.3, 35
and 2.2)."""

FEWEST_POINTS = 12
PARAMETERS = 6
_STARTS = ((0.9, 0.5, 1.0), (0.7, 0.3, 0.2), (0.95, 0.8, 3.0))
"""L_inf as a share of the lowest loss, s, and C over its prior mean."""

_LOWEST = (-10.0, -15.0, -4.0, -20.0, -3.0, -3.0)
_HIGHEST = (12.0, 15.0, 1.5, 25.0, 14.0, 1.5)


class _Terms(NamedTuple):
    """What one schedule gives the law, at n points."""

    time: FloatArray
    """(n,) intrinsic time."""
    rates: FloatArray
    """(n, blocks) mean rate of each block up to the point."""
    since_start: FloatArray
    since_end: FloatArray
    """(n, blocks) intrinsic time from a block's start, and from its end, to the point."""


class FunctionalScalingLaw(Law):
    """Fits the law. See the module's docstring for what it is.

    Args:
        prior: Whether the kernel's shape is held near what is known.
    """

    def __init__(self, *, prior: bool = True) -> None:
        self.prior = prior

    def fit(self, curves: Sequence[Curve]) -> "FittedFunctional":
        """Return the law fitted to ``curves``: Huber on log loss, several starts, the best of them.

        Raises:
            LawNotFitted: Fewer than 12 points, a loss that is not above zero, or only steps at rate zero.
        """
        peak = check(curves, parameters=PARAMETERS, fewest=FEWEST_POINTS)
        unit = REFERENCE_RATE / peak
        terms = [_terms(curve.lrs * unit, curve.positions) for curve in curves]
        rows = Rows.of(curves)
        fits = [_fit_from(start, terms, rows, prior=self.prior) for start in _STARTS]
        best = min(fits, key=lambda fit: float(fit.cost))
        residual = np.log(_losses(best.x, terms)) - rows.log_losses
        return FittedFunctional(
            unit=unit,
            parameters=tuple(float(value) for value in best.x),
            residual_sd=max(1.4826 * float(np.median(np.abs(residual))), 1e-6),
        )


class FittedFunctional(FittedLaw):
    """The law with its parameters, as logarithms of L_inf, A, s, B, C and gamma for rates times ``unit``."""

    names: ClassVar[tuple[str, ...]] = ("L_inf", "A", "s", "B", "C", "gamma")

    unit: float = Field(gt=0.0)
    parameters: tuple[float, float, float, float, float, float]
    residual_sd: float = 0.0
    """Of log loss, robust: all that :meth:`predict` knows of its error."""

    @classmethod
    def of(cls, *values: float) -> "FittedFunctional":
        """Return the law with given parameters, in the unit of its rates."""
        return cls(unit=1.0, parameters=tuple(float(np.log(value)) for value in values))

    def losses(self, lrs: FloatArray) -> FloatArray:
        """Return the loss after every step of ``lrs``, (steps,)."""
        places = np.arange(1.0, lrs.size + 1.0)
        parts = np.array_split(places, max(1, places.size // 256))
        return np.concatenate([self.predict(lrs, part).mean for part in parts])

    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return mean and sd of the loss after ``positions`` steps at rates ``lrs``."""
        rates = np.asarray(lrs, dtype=np.float64)
        places = np.atleast_1d(rates.size if positions is None else positions).astype(np.float64)
        mean = _loss(np.array(self.parameters), _terms(rates * self.unit, places))
        return Prediction(mean, mean * self.residual_sd)


def _terms(rates: FloatArray, positions: ArrayLike) -> _Terms:
    """Return the terms after ``positions`` steps; within a block the rate counts as its mean."""
    places = np.asarray(positions, dtype=np.float64)[:, None]
    knots = knots_of(rates, exact=False)[None, :]
    sums = np.append(0.0, np.cumsum(rates))
    at = np.arange(sums.size)
    starts, ends = np.minimum(knots[:, :-1], places), np.minimum(knots[:, 1:], places)
    begun, ended = np.interp(starts, at, sums), np.interp(ends, at, sums)
    time = after(sums[1:], places[:, 0])
    mean = (ended - begun) / np.maximum(ends - starts, 1e-9)
    return _Terms(time, mean, time[:, None] - begun, time[:, None] - ended)


def _loss(theta: FloatArray, terms: _Terms) -> FloatArray:
    floor, amplitude, power, response, speed, decay = np.exp(theta)
    signal = amplitude * np.maximum(terms.time, 1e-12) ** -power
    noise = _integral(terms.since_start, speed, decay) - _integral(terms.since_end, speed, decay)
    result: FloatArray = np.maximum(
        floor + signal + response * np.sum(terms.rates * noise, axis=1), 1e-3 * floor
    )
    return result


def _integral(since: FloatArray, speed: float, decay: float) -> FloatArray:
    """Return the integral of the kernel from 0 to ``since``."""
    power = 1.0 - decay
    if abs(power) < 1e-6:
        return np.asarray(np.log1p(speed * since) / speed, dtype=np.float64)
    return np.asarray(np.expm1(power * np.log1p(speed * since)) / (speed * power), dtype=np.float64)


def _losses(theta: FloatArray, terms: Sequence[_Terms]) -> FloatArray:
    return np.concatenate([_loss(theta, each) for each in terms])


def _fit_from(
    start: tuple[float, float, float], terms: Sequence[_Terms], rows: Rows, *, prior: bool
) -> Any:
    """Return SciPy's result from one start."""
    from scipy.optimize import least_squares

    share, power, speed = start
    lowest = float(np.exp(np.min(rows.log_losses)))
    highest = float(np.exp(np.max(rows.log_losses)))
    earliest = max(min(float(np.min(each.time)) for each in terms), 1e-9)
    floor = share * lowest
    shape = (PRIOR_MEAN[0] * speed, PRIOR_MEAN[1])
    kernel = float(_integral(np.array([1.0]), *shape)[0])
    guess = np.log(
        [
            floor,
            max(highest - floor, 1e-3 * lowest) * earliest**power,
            power,
            0.03 * lowest / (REFERENCE_RATE * kernel),
            *shape,
        ]
    )
    mean, sd = np.log(PRIOR_MEAN), np.array(PRIOR_SD)

    def residuals(theta: FloatArray) -> FloatArray:
        found = robust(rows.weights * (np.log(_losses(theta, terms)) - rows.log_losses))[0]
        if not prior:
            return found
        return np.append(found, np.sqrt(CORRELATED) * HUBER * (theta[4:] - mean) / sd)

    low, high = np.array(_LOWEST), np.array(_HIGHEST)
    inside = np.clip(guess, low + 1e-6, high - 1e-6)
    return least_squares(residuals, inside, bounds=(low, high), x_scale="jac", max_nfev=100)
