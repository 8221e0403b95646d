r"""The convex bound as a law: a loss curve regressed on the bound of its own schedule [Schaipp2025, arXiv 2501.18965].

.. math::
    L(t) = L_0 + a \left(\frac{1}{2 S}\right)^p + b \left(\frac{\sum \eta^2}{2 S}
    + \frac{1}{2} \sum_{k < t} \frac{\eta_k}{\sum_{i > k} \eta_i} \frac{\sum_{i \ge k} \eta_i^2}{\sum_{i \ge k} \eta_i}
    \right), \quad S = \sum_{i \le t} \eta_i

All sums end at t: the last-iterate bound of [Defazio2023, arXiv 2310.07831 v1, Theorem 10] with constant gradient norms
(:func:`pacesetter.schedules.convex_bound`). The bound itself fits badly; with p below 1 it is a regression, linear for
each p, and p is taken from a grid.

Limits: the bound spikes where the rate has just dropped in one step, which real losses do not, so it is for smooth
schedules; and its order is wrong for fewer than about twenty steps. Steps at a rate of zero are no part of it: a zero
at the end would be divided by.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pacesetter_search.laws.base import Hull, Law, after
from pacesetter_search.laws.bootstrap import block_bootstrap
from pacesetter_search.laws.curves import Curve, FloatArray, thinned
from pacesetter_search.laws.fitting import HUBER, LOOSE, PRIOR_UNIT, Rows, prepared, robust
from pacesetter_search.laws.identification import one_peak_warnings
from pacesetter_search.laws.parametric import FittedParametric

FEWEST_POINTS = 8
PARAMETERS = 4
POWERS = np.arange(2, 21) / 20.0
"""Candidates for p: .1 to 1; .4 is what the notes found on 124M runs."""

REWEIGHTED = 12
"""Rounds of reweighting for Huber's cost; it moves by less than a millionth after ten."""

MOST_STEPS = 4000
"""Steps of a curve in the fit, as the sums are formed anew at every point; of a longer one one stands for several."""

MOST_PREDICTED = 20_000
"""The same for predictions."""

AT_MOST = 400
"""Positions at which a whole run is evaluated."""

NEGLIGIBLE = 1e-6
"""Share of the peak below which the last rates of a run count as zero: they come from rounding."""


class ConvexBoundLaw(Law):
    """Fits the law by non-negative least squares, reweighted for Huber's cost. See the module's docstring."""

    def fit(self, curves: Sequence[Curve]) -> "FittedConvexBound":
        """Return the law fitted to ``curves``.

        Raises:
            LawNotFitted: Fewer than 8 points, losses that are not above zero or all the same, or rates that are all
                zero or in different units.
        """
        moved = prepared(curves, parameters=PARAMETERS, fewest=FEWEST_POINTS)
        unit = 1.0 / max(curve.peak for curve in moved)
        terms = [_curve_terms(curve, unit) for curve in moved]
        scale = max(float(np.max(each.total)) for each in terms)
        total = np.concatenate([each.total for each in terms]) / scale
        noise = np.concatenate([each.noise for each in terms])
        rows = Rows.of(moved)
        fits = [_regression(float(p), total, noise, rows) for p in POWERS]
        found = min(fits, key=lambda each: each.cost)
        return FittedConvexBound(
            unit=unit,
            scale=scale,
            **_described(found, total, noise, rows),
            hull=Hull.of(moved),
            warnings=tuple(one_peak_warnings(moved, "fit each peak by itself, or AcrossPeaksLaw")),
        )


class FittedConvexBound(FittedParametric):
    """The law with its parameters L0, a, b and p themselves, for rates times ``unit`` and S over ``scale``."""

    names: ClassVar[tuple[str, ...]] = ("L0", "a", "b", "p")

    kind: Literal["convex_bound"] = "convex_bound"
    unit: float = Field(gt=0.0)
    scale: float = Field(gt=0.0)
    parameters: tuple[float, float, float, float]

    @classmethod
    def of(cls, floor: float, signal: float, noise: float, power: float) -> "FittedConvexBound":
        """Return the law with L0, a, b and p given in the unit of its rates; 0, 1, 1 and 1 are the bound itself."""
        return cls(unit=1.0, scale=0.5, parameters=(floor, signal, noise, power))

    def evaluate(self, lrs: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses and their derivatives by the four parameters."""
        factor = -(-lrs.size // MOST_PREDICTED)
        places = np.maximum(positions / factor, 1.0)
        found = _terms(thinned(lrs, factor) * self.unit, places, self.stride * factor)
        return _loss(np.array(self.parameters), found.total / self.scale, found.noise)

    def losses(self, lrs: ArrayLike) -> FloatArray:
        """Return the loss after every step of ``lrs``, (steps,); on lines between the 400 that are evaluated."""
        rates = np.asarray(lrs, dtype=np.float64)
        every = np.arange(1.0, rates.size + 1.0)
        places = np.unique(np.rint(np.linspace(1.0, rates.size, AT_MOST)))
        result: FloatArray = np.interp(every, places, self.predict(rates, places).mean)
        return result


class _Terms(NamedTuple):
    total: FloatArray
    """(n,) S."""
    noise: FloatArray
    """(n,) what the bound has beside the distance, at norms of 1."""


class _Regression(NamedTuple):
    parameters: FloatArray
    cost: float


def _loss(theta: FloatArray, total: FloatArray, noise: FloatArray) -> tuple[FloatArray, FloatArray]:
    floor, amplitude, response, power = theta
    signal = np.maximum(total, 1e-12) ** -power
    losses = floor + amplitude * signal + response * noise
    slope = -amplitude * np.log(np.maximum(total, 1e-12)) * signal
    return losses, np.column_stack([np.ones_like(signal), signal, noise, slope])


def _curve_terms(curve: Curve, unit: float) -> _Terms:
    factor = -(-curve.steps // MOST_STEPS)
    places = np.maximum(curve.positions / factor, 1.0)
    return _terms(thinned(curve.lrs, factor) * unit, places, float(factor))


def _terms(lrs: FloatArray, positions: FloatArray, stride: float) -> _Terms:
    """Return the terms after ``positions`` steps, each of which stands for ``stride``."""
    total = after(np.cumsum(lrs), positions) * stride
    counts = np.clip(np.rint(positions).astype(np.int64), 1, lrs.size)
    return _Terms(total, np.array([_noise(lrs[:count], stride) for count in counts]))


def _noise(lrs: FloatArray, stride: float) -> float:
    """Return the noise part of the bound of a run of these rates.

    Sums run backwards from the end, as a total minus the sum so far would cancel. Within a step that stands for several
    the rate is constant, and the sum of 1 / (rest / rate + j) over them is a difference of digammas.
    """
    from scipy.special import digamma

    kept = np.flatnonzero(lrs > NEGLIGIBLE * np.max(lrs))
    eta = lrs[: kept[-1] + 1]
    rest, squares = np.cumsum(eta[::-1])[::-1], np.cumsum((eta**2)[::-1])[::-1]
    average = 0.5 * squares[0] / rest[0]
    if stride == 1.0:
        return float(average + 0.5 * np.sum(eta[:-1] / rest[1:] * squares[:-1] / rest[:-1]))
    left = np.append(rest[1:], 0.0)
    ahead = stride * left / eta
    shares = digamma(ahead + stride) - digamma(np.maximum(ahead, 1e-12))
    shares[-1] = digamma(stride) - digamma(1.0)
    levels = (squares + np.append(squares[1:], 0.0)) / (rest + left)
    return float(average + 0.5 * np.sum(shares * levels))


def _regression(power: float, total: FloatArray, noise: FloatArray, rows: Rows) -> _Regression:
    """Return the best non-negative L0, a and b at one p, and Huber's cost of log loss."""
    from scipy.optimize import nnls

    losses = np.exp(rows.log_losses)
    design = np.column_stack([np.ones_like(total), np.maximum(total, 1e-12) ** -power, noise])
    sizes = np.maximum(np.max(np.abs(design), axis=0), 1e-300)
    weights = rows.weights.copy()
    for _ in range(REWEIGHTED):
        relative = (weights / losses)[:, None]
        solution, _ = nnls(relative * design / sizes, weights, maxiter=100)
        predicted = np.maximum(design @ (solution / sizes), 1e-3 * np.min(losses))
        residuals = rows.weights * (np.log(predicted) - rows.log_losses)
        weights = rows.weights * np.sqrt(HUBER / np.maximum(np.abs(residuals), HUBER))
    cost = 0.5 * float(np.sum(robust(residuals)[0] ** 2))
    return _Regression(np.append(solution / sizes, power), cost)


def _described(
    found: _Regression, total: FloatArray, noise: FloatArray, rows: Rows
) -> dict[str, Any]:
    """Return parameters, covariance and residual sd as fields; a coefficient at zero stays there."""
    theta = found.parameters
    losses, gradient = _loss(theta, total, noise)
    residuals = np.log(losses) - rows.log_losses
    weighted = rows.weights * residuals
    inside = max(float(np.mean(np.abs(weighted) <= HUBER)), 1.0 / weighted.size)
    # Beliefs a few times wider than the values themselves, so that what the curves leave open stays finite.
    sizes = np.where(theta > 0.0, LOOSE * theta, 1e-9)
    jacobian = (rows.weights / losses)[:, None] * gradient * sizes
    precision = PRIOR_UNIT**2 * np.eye(PARAMETERS)
    covariance = (
        sizes[:, None]
        * sizes
        * block_bootstrap(
            jacobian,
            np.clip(weighted, -HUBER, HUBER),
            rows.sizes,
            curvature=inside * (jacobian.T @ jacobian) + precision,
            prior=PRIOR_UNIT**2 * precision,
        )
    )
    return {
        "parameters": tuple(float(value) for value in theta),
        "covariance": tuple(tuple(float(value) for value in row) for row in covariance),
        "residual_sd": max(1.4826 * float(np.median(np.abs(residuals))), 1e-6),
    }
