r"""The Multi-Power Law [Luo2025, arXiv 2503.12811].

.. math::
    L(t) = L_0 + A S_1(t)^{-\alpha} - B \sum_{k \le t} (\eta_{k-1} - \eta_k)
    \left(1 - \left(1 + C \eta_k^{-\gamma} S_k(t)\right)^{-\beta}\right), \quad S_k(t) = \sum_{i=k}^{t} \eta_i

A drop of the rate lowers the loss by an amount that is realised as training goes on, half of it within tens of steps,
the rest with a heavy tail. The rise of the warm-up from :math:`\eta_0 = 0` is an increment like any other, as in the
authors' code, so ``L0`` is the loss at a rate of zero. Seven parameters are not identified by a constant and a cosine
run: a log-normal prior on the shape (C, beta, gamma) at the published values keeps the fit off degenerate corners.
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

PRIOR_MEAN = (2.07, 0.59, 0.645)
"""C, beta and gamma as published for 25M, 100M and 400M parameters: 2.03 to 2.13, .58 to .60, .635 to .655."""

PRIOR_SD = (0.7, 0.35, 0.35)
"""Of their logarithms: wide, as those three are from one lab and one data set."""

FEWEST_POINTS = 12
PARAMETERS = 7

_STARTS = ((0.9, 0.5, 1.0), (0.6, 0.25, 0.3), (0.95, 0.9, 3.0))
"""L0 as a share of the lowest loss, alpha, and C over its prior mean."""

_LOWEST = (-10.0, -15.0, -4.0, -10.0, -7.0, -3.0, -3.0)
_HIGHEST = (12.0, 15.0, 1.5, 15.0, 7.0, 1.6, 0.3)


class _Terms(NamedTuple):
    """What one schedule gives a law, at n points."""

    signal: FloatArray
    """(n,) S1."""
    drops: FloatArray
    """(n, knots) how much the rate fell in each block up to the point."""
    rates: FloatArray
    """(n, knots) the rate after it."""
    distances: FloatArray
    """(n, knots) S_k(t)."""


class MultiPowerLaw(Law):
    """Fits the law. See the module's docstring for what it is.

    Args:
        prior: Whether the shape is held near the published one. False: seven free parameters, as published.
        exact: Sum over every step instead of blocks; thousands of times slower on long runs.
    """

    def __init__(self, *, prior: bool = True, exact: bool = False) -> None:
        self.prior = prior
        self.exact = exact

    def fit(self, curves: Sequence[Curve]) -> "FittedMultiPower":
        """Return the law fitted to ``curves``: Huber on log loss, several starts, the best of them.

        Raises:
            LawNotFitted: Fewer than 12 points, a loss that is not above zero, or only steps at rate zero.
        """
        peak = check(curves, parameters=PARAMETERS, fewest=FEWEST_POINTS)
        unit = REFERENCE_RATE / peak
        data = _Data.of(curves, unit, exact=self.exact)
        fits = [_fit_from(start, data, prior=self.prior) for start in _STARTS]
        best = min(fits, key=lambda fit: float(fit.cost))
        covariance, residual = _covariance(best, data)
        return FittedMultiPower(
            unit=unit,
            parameters=tuple(float(value) for value in best.x),
            covariance=tuple(tuple(float(value) for value in row) for row in covariance),
            residual_sd=residual,
            exact=self.exact,
            warnings=tuple(_warnings(curves)),
        )


class FittedMultiPower(FittedLaw):
    """The law with its parameters, as logarithms of L0, A, alpha, B, C, beta and gamma for rates times ``unit``."""

    unit: float = Field(gt=0.0)
    parameters: tuple[float, float, float, float, float, float, float]
    covariance: tuple[tuple[float, ...], ...] = ()
    """Empty for parameters that were given."""
    residual_sd: float = 0.0
    """Of log loss, robust."""
    exact: bool = False

    names: ClassVar[tuple[str, ...]] = ("L0", "A", "alpha", "B", "C", "beta", "gamma")

    @classmethod
    def of(cls, *values: float, exact: bool = True) -> "FittedMultiPower":
        """Return the law with published parameters L0, A, alpha, B, C, beta, gamma, in the unit of its rates."""
        return cls(
            unit=1.0, parameters=tuple(float(np.log(value)) for value in values), exact=exact
        )

    def losses(self, lrs: FloatArray) -> FloatArray:
        """Return the loss after every step of ``lrs``, (steps,)."""
        return self._mean(lrs, np.arange(1, lrs.size + 1))

    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return mean and sd of the loss after ``positions`` steps at rates ``lrs``."""
        rates = np.asarray(lrs, dtype=np.float64)
        places = np.atleast_1d(rates.size if positions is None else positions).astype(np.float64)
        terms = _terms(rates * self.unit, places, exact=self.exact)
        theta = np.array(self.parameters)
        mean, gradient = _loss(theta, terms)
        spread = np.zeros_like(mean)
        if self.covariance:
            log_gradient = gradient / mean[:, None]
            spread = np.einsum("ni,ij,nj->n", log_gradient, np.array(self.covariance), log_gradient)
        return Prediction(mean, mean * np.sqrt(np.maximum(spread, 0.0) + self.residual_sd**2))

    def _mean(self, lrs: FloatArray, positions: ArrayLike) -> FloatArray:
        """Return the loss at positions, a few at a time: the terms of all at once would not fit into memory."""
        places = np.asarray(positions, dtype=np.float64)
        parts = np.array_split(places, max(1, places.size // 256))
        theta, rates = np.array(self.parameters), lrs * self.unit
        means = [_loss(theta, _terms(rates, part, exact=self.exact))[0] for part in parts]
        return np.concatenate(means)


class _Data(NamedTuple):
    terms: tuple[_Terms, ...]
    log_losses: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, curves: Sequence[Curve], unit: float, *, exact: bool) -> "_Data":
        """Return the terms and rows of all curves."""
        terms = tuple(_terms(curve.lrs * unit, curve.positions, exact=exact) for curve in curves)
        return cls(terms, *Rows.of(curves))

    def predicted(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses (n,) and their derivatives by the logarithms of the parameters (n, 7)."""
        parts = [_loss(theta, terms) for terms in self.terms]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _terms(rates: FloatArray, positions: ArrayLike, *, exact: bool) -> _Terms:
    """Return the terms after ``positions`` steps of ``rates``.

    Between two knots the rate's drop counts as one, in the middle of them; the drop since the last knot before a point
    counts up to the point.
    """
    places = np.asarray(positions, dtype=np.float64)
    knots = knots_of(rates, exact=exact)
    total = np.cumsum(rates)
    now, summed = after(rates, places), after(total, places)
    ends = np.minimum(knots[None, 1:], places[:, None])
    starts = np.minimum(knots[None, :-1], places[:, None])
    # Rates and sums after 0, 1, 2, ... steps.
    padded, sums = np.append(0.0, rates), np.append(0.0, total)
    at = np.arange(padded.size)
    before = np.interp(starts, at, padded)
    later = np.where(ends < places[:, None], np.interp(ends, at, padded), now[:, None])
    if exact:
        distances, level = summed[:, None] - np.interp(starts, at, sums), later
    else:
        middle = 0.5 * (
            np.interp(starts, at, sums) + np.interp(np.maximum(ends - 1.0, starts), at, sums)
        )
        distances, level = summed[:, None] - middle, 0.5 * (before + later)
        # A step down in one step counts with the rate after it, as in the sum; so does the warm-up's first rise.
        level = np.where((before == 0.0) | (ends - starts <= 1.0), later, level)
    return _Terms(summed, before - later, level, np.maximum(distances, 0.0))


def _loss(theta: FloatArray, terms: _Terms) -> tuple[FloatArray, FloatArray]:
    """Return losses (n,), kept above a thousandth of L0, and their derivatives by the logarithms (n, 7)."""
    floor, amplitude, alpha, response, speed, beta, gamma = np.exp(theta)
    safe = np.maximum(terms.signal, 1e-12)
    power = amplitude * safe**-alpha
    levels = np.log(np.maximum(terms.rates, 1e-12 * REFERENCE_RATE))
    reach = speed * np.exp(-gamma * levels) * terms.distances
    logs = np.log1p(reach)
    left = np.exp(-beta * logs)
    realised = np.sum(terms.drops * (1.0 - left), axis=1)
    slope = terms.drops * left * beta * reach / (1.0 + reach)
    raw = floor + power - response * realised
    gradient = np.column_stack(
        [
            np.full_like(raw, floor),
            power,
            -alpha * np.log(safe) * power,
            -response * realised,
            -response * np.sum(slope, axis=1),
            -response * np.sum(terms.drops * left * beta * logs, axis=1),
            response * gamma * np.sum(slope * levels, axis=1),
        ]
    )
    return np.maximum(raw, 1e-3 * floor), gradient


def _fit_from(start: tuple[float, float, float], data: _Data, *, prior: bool) -> Any:
    """Return SciPy's result from one start."""
    from scipy.optimize import least_squares

    share, alpha, speed = start
    lowest, highest = np.exp(np.min(data.log_losses)), np.exp(np.max(data.log_losses))
    signal = min(float(np.min(terms.signal)) for terms in data.terms)
    floor = share * lowest
    amplitude = max(highest - floor, 1e-3 * lowest) * max(signal, 1e-9) ** alpha
    response = 0.1 / REFERENCE_RATE
    shape = (PRIOR_MEAN[0] * speed, *PRIOR_MEAN[1:])
    guess = np.log([floor, amplitude, alpha, response, *shape])
    mean, sd = np.log(PRIOR_MEAN), np.array(PRIOR_SD)
    unit = np.sqrt(CORRELATED) * HUBER

    def residuals(theta: FloatArray) -> FloatArray:
        losses, _ = data.predicted(theta)
        rows = robust(data.weights * (np.log(losses) - data.log_losses))[0]
        return np.append(rows, unit * (theta[4:] - mean) / sd) if prior else rows

    def jacobian(theta: FloatArray) -> FloatArray:
        losses, gradient = data.predicted(theta)
        _, slope = robust(data.weights * (np.log(losses) - data.log_losses))
        rows: FloatArray = (slope * data.weights / losses)[:, None] * gradient
        if not prior:
            return rows
        held = np.zeros((3, PARAMETERS))
        held[:, 4:] = np.diag(unit / sd)
        return np.vstack([rows, held])

    low, high = np.array(_LOWEST), np.array(_HIGHEST)
    inside = np.clip(guess, low + 1e-6, high - 1e-6)
    return least_squares(
        residuals, inside, jac=jacobian, bounds=(low, high), x_scale="jac", max_nfev=120
    )


def _covariance(fit: Any, data: _Data) -> tuple[FloatArray, float]:
    """Return the parameters' covariance (7, 7) and the robust sd of one residual of log loss."""
    losses, _ = data.predicted(fit.x)
    plain = np.log(losses) - data.log_losses
    sd = max(1.4826 * float(np.median(np.abs(plain))), 1e-6)
    rows = fit.jac[: plain.size]
    held = fit.jac[plain.size :] / (np.sqrt(CORRELATED) * HUBER)
    information = rows.T @ rows / (CORRELATED * sd**2) + held.T @ held + 1e-2 * np.eye(PARAMETERS)
    return np.asarray(np.linalg.inv(information), dtype=np.float64), sd


def _warnings(curves: Sequence[Curve]) -> list[str]:
    peaks = [float(np.max(curve.lrs)) for curve in curves]
    if max(peaks) <= 1.5 * min(peaks):
        return []
    return [
        "the curves have different peak learning rates, across which this law does not hold; fit each peak by itself"
    ]
