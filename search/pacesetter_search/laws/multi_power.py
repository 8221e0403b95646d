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
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pacesetter_search.laws.base import Hull, Law, after
from pacesetter_search.laws.curves import Curve, FloatArray
from pacesetter_search.laws.fitting import (
    BLOCK,
    REFERENCE_RATE,
    Prior,
    Rows,
    fitted,
    knots_of,
    prepared,
)
from pacesetter_search.laws.identification import falls_sharply, one_peak_warnings
from pacesetter_search.laws.parametric import FittedParametric, from_fit

PRIOR_MEAN = (2.07, 0.59, 0.645)
"""C, beta and gamma as published for 25M, 100M and 400M parameters: 2.03 to 2.13, .58 to .60, .635 to .655."""

PRIOR_SD = (0.7, 0.35, 0.35)
"""Of their logarithms: wide, as those three are from one lab and one data set."""

SHARP_PRIOR_SD = (0.7 / 3.0, 0.35 / 3.0, 0.35 / 3.0)
"""The same where a curve has a step or a short cooldown: the shape then follows the misfit of that one tail, C
down to a seventh on 124M runs, and final losses of other lengths are .03 off. Set on fits to a constant, a cosine and a
WSD run of 124M, which no bar is about."""

FEWEST_POINTS = 12
PARAMETERS = 7

_STARTS = ((0.9, 0.5, 1.0), (0.6, 0.25, 0.3), (0.95, 0.9, 3.0))
"""L0 as a share of the lowest loss, alpha, and C over its prior mean."""

_LOWEST = np.array([-10.0, -15.0, -4.0, -10.0, -7.0, -3.0, -3.0])
_HIGHEST = np.array([12.0, 15.0, 1.5, 15.0, 7.0, 1.6, 0.3])


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
            LawNotFitted: Fewer than 12 points, losses that are not above zero or all the same, or rates that are all
                zero or in different units.
        """
        moved = prepared(curves, parameters=PARAMETERS, fewest=FEWEST_POINTS)
        unit = REFERENCE_RATE / max(curve.peak for curve in moved)
        block = None if self.exact else BLOCK
        terms = [_terms(curve.lrs * unit, curve.positions, block=block) for curve in moved]
        rows = Rows.of(moved)

        def predicted(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
            parts = [_loss(theta, each) for each in terms]
            return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

        least = min(float(np.min(each.signal)) for each in terms)
        starts = [_start(each, rows, least) for each in _STARTS]
        found = fitted(predicted, rows, starts, (_LOWEST, _HIGHEST), self._prior(moved))
        return FittedMultiPower(
            unit=unit,
            exact=self.exact,
            **from_fit(found),
            hull=Hull.of(moved),
            warnings=tuple(one_peak_warnings(moved, "fit each peak by itself")),
        )

    def _prior(self, curves: Sequence[Curve]) -> Prior:
        free = Prior.none(PARAMETERS)
        if not self.prior:
            return free
        free.mean[4:] = np.log(PRIOR_MEAN)
        free.sd[4:] = SHARP_PRIOR_SD if falls_sharply(curves) else PRIOR_SD
        return free


class FittedMultiPower(FittedParametric):
    """The law with its parameters, as logarithms of L0, A, alpha, B, C, beta and gamma for rates times ``unit``."""

    names: ClassVar[tuple[str, ...]] = ("L0", "A", "alpha", "B", "C", "beta", "gamma")

    at_once: ClassVar[int] = 256

    kind: Literal["multi_power"] = "multi_power"
    unit: float = Field(gt=0.0)
    parameters: tuple[float, float, float, float, float, float, float]
    exact: bool = False

    @classmethod
    def of(cls, *values: float, exact: bool = True) -> "FittedMultiPower":
        """Return the law with published parameters L0, A, alpha, B, C, beta, gamma, in the unit of its rates."""
        return cls(
            unit=1.0, parameters=tuple(float(np.log(value)) for value in values), exact=exact
        )

    def evaluate(self, lrs: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses, kept above a thousandth of L0, and their derivatives by the seven logarithms."""
        block = None if self.exact else max(1, round(BLOCK / self.stride))
        terms = _terms(lrs * self.unit, positions, block=block)
        if self.stride != 1.0:
            terms = terms._replace(
                signal=terms.signal * self.stride, distances=terms.distances * self.stride
            )
        return _loss(np.array(self.parameters), terms)


def _terms(rates: FloatArray, positions: ArrayLike, *, block: int | None) -> _Terms:
    """Return the terms after ``positions`` steps of ``rates``.

    Between two knots the rate's drop counts as one, in the middle of them; the drop since the last knot before a point
    counts up to the point.
    """
    places = np.asarray(positions, dtype=np.float64)
    knots = knots_of(rates, block=block)
    total = np.cumsum(rates)
    now, summed = after(rates, places), after(total, places)
    ends = np.minimum(knots[None, 1:], places[:, None])
    starts = np.minimum(knots[None, :-1], places[:, None])
    # Rates and sums after 0, 1, 2, ... steps.
    padded, sums = np.append(0.0, rates), np.append(0.0, total)
    at = np.arange(padded.size)
    before = np.interp(starts, at, padded)
    later = np.where(ends < places[:, None], np.interp(ends, at, padded), now[:, None])
    if block is None:
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


def _start(start: tuple[float, float, float], rows: Rows, least_signal: float) -> FloatArray:
    share, alpha, speed = start
    lowest = float(np.exp(np.min(rows.log_losses)))
    highest = float(np.exp(np.max(rows.log_losses)))
    floor = share * lowest
    amplitude = max(highest - floor, 1e-3 * lowest) * max(least_signal, 1e-9) ** alpha
    shape = (PRIOR_MEAN[0] * speed, *PRIOR_MEAN[1:])
    guess: FloatArray = np.log([floor, amplitude, alpha, 0.1 / REFERENCE_RATE, *shape])
    return guess
