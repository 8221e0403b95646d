r"""The functional scaling law, in the form for language models [Li2025, arXiv 2509.19189].

.. math::
    L = L_\infty + A t^{-s} + B \int_0^t K(t - z)\, \eta(z)\, dz, \quad K(\tau) = (1 + C \tau)^{-\gamma}

in intrinsic time, the sum of the learning rates: :math:`\sum_j \eta_j^2 K(t - t_j)` is that integral. Steps at a rate
of zero change nothing, and rates that are too high cost something: the invariances that the annealing law lacks. Six
parameters are not identified by a constant and a cosine, where its predictions are poor (a PredE of .0027 on 100M,
without a prior .0053), so it is no member of the ensemble; with a step or a cooldown among the curves it is as good.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
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
from pacesetter_search.laws.identification import one_peak_warnings
from pacesetter_search.laws.parametric import FittedParametric, from_fit

PRIOR_MEAN, PRIOR_SD = (110.0, 1.7), (1.2, 0.3)
"""C and gamma, and the sd of their logarithms: what three curves each of 25M and 100M parameters give (354 and 1.3, 35
and 2.2)."""

FEWEST_POINTS = 12
PARAMETERS = 6
_STARTS = ((0.9, 0.5, 1.0), (0.7, 0.3, 0.2), (0.95, 0.8, 3.0))
"""L_inf as a share of the lowest loss, s, and C over its prior mean."""

_LOWEST = np.array([-10.0, -15.0, -4.0, -20.0, -3.0, -3.0])
_HIGHEST = np.array([12.0, 15.0, 1.5, 25.0, 14.0, 1.5])


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
            LawNotFitted: Fewer than 12 points, losses that are not above zero or all the same, or rates that are all
                zero or in different units.
        """
        moved = prepared(curves, parameters=PARAMETERS, fewest=FEWEST_POINTS)
        unit = REFERENCE_RATE / max(curve.peak for curve in moved)
        terms = [_terms(curve.lrs * unit, curve.positions, block=BLOCK) for curve in moved]
        rows = Rows.of(moved)

        def predicted(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
            parts = [_loss(theta, each) for each in terms]
            return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

        prior = Prior.none(PARAMETERS)
        if self.prior:
            prior.mean[4:], prior.sd[4:] = np.log(PRIOR_MEAN), PRIOR_SD
        earliest = max(min(float(np.min(each.time)) for each in terms), 1e-9)
        starts = [_start(each, rows, earliest) for each in _STARTS]
        return FittedFunctional(
            unit=unit,
            **from_fit(fitted(predicted, rows, starts, (_LOWEST, _HIGHEST), prior)),
            hull=Hull.of(moved),
            warnings=tuple(one_peak_warnings(moved, "fit each peak by itself")),
        )


class FittedFunctional(FittedParametric):
    """The law with its parameters, as logarithms of L_inf, A, s, B, C and gamma for rates times ``unit``."""

    names: ClassVar[tuple[str, ...]] = ("L_inf", "A", "s", "B", "C", "gamma")

    at_once: ClassVar[int] = 256

    kind: Literal["functional"] = "functional"
    unit: float = Field(gt=0.0)
    parameters: tuple[float, float, float, float, float, float]

    @classmethod
    def of(cls, *values: float) -> "FittedFunctional":
        """Return the law with given parameters, in the unit of its rates."""
        return cls(unit=1.0, parameters=tuple(float(np.log(value)) for value in values))

    def evaluate(self, lrs: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses, kept above a thousandth of L_inf, and their derivatives by the six logarithms."""
        block = max(1, round(BLOCK / self.stride))
        found = _terms(lrs * self.unit, positions, block=block)
        scaled = _Terms(
            found.time * self.stride,
            found.rates,
            found.since_start * self.stride,
            found.since_end * self.stride,
        )
        return _loss(np.array(self.parameters), scaled)


def _terms(rates: FloatArray, positions: FloatArray, *, block: int) -> _Terms:
    """Return the terms after ``positions`` steps; within a block the rate counts as its mean."""
    places = positions[:, None]
    knots = knots_of(rates, block=block)[None, :]
    sums = np.append(0.0, np.cumsum(rates))
    at = np.arange(sums.size)
    starts, ends = np.minimum(knots[:, :-1], places), np.minimum(knots[:, 1:], places)
    begun, ended = np.interp(starts, at, sums), np.interp(ends, at, sums)
    time = after(sums[1:], positions)
    mean = (ended - begun) / np.maximum(ends - starts, 1e-9)
    # Sums and their differences round differently, and no time is left before it has come.
    since_start, since_end = np.maximum(time[:, None] - begun, 0.0), time[:, None] - ended
    return _Terms(time, mean, since_start, np.maximum(since_end, 0.0))


def _loss(theta: FloatArray, terms: _Terms) -> tuple[FloatArray, FloatArray]:
    """Return losses (n,), kept above a thousandth of L_inf, and their derivatives by the logarithms (n, 6)."""
    floor, amplitude, power, response, speed, decay = np.exp(theta)
    safe = np.maximum(terms.time, 1e-12)
    signal = amplitude * safe**-power
    start = _integral(terms.since_start, speed, decay)
    end = _integral(terms.since_end, speed, decay)
    noise, by_speed, by_decay = (
        response * np.sum(terms.rates * (one - other), axis=1)
        for one, other in zip(start, end, strict=True)
    )
    gradient = np.column_stack(
        [
            np.full_like(signal, floor),
            signal,
            -power * np.log(safe) * signal,
            noise,
            by_speed,
            by_decay,
        ]
    )
    return np.maximum(floor + signal + noise, 1e-3 * floor), gradient


def _integral(
    since: FloatArray, speed: float, decay: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the integral of the kernel from 0 to ``since``, and its derivatives by log speed and log decay."""
    power = 1.0 - decay
    logs = np.log1p(speed * since)
    if abs(power) < 1e-6:
        value, by_power = logs / speed, logs**2 / (2.0 * speed)
    else:
        grown = np.expm1(power * logs)
        value = grown / (speed * power)
        by_power = (logs * (grown + 1.0) * power - grown) / (speed * power**2)
    return value, since * np.exp(-decay * logs) - value, -decay * by_power


def _start(start: tuple[float, float, float], rows: Rows, earliest: float) -> FloatArray:
    share, power, speed = start
    lowest = float(np.exp(np.min(rows.log_losses)))
    highest = float(np.exp(np.max(rows.log_losses)))
    floor = share * lowest
    shape = (PRIOR_MEAN[0] * speed, PRIOR_MEAN[1])
    kernel = float(_integral(np.array([1.0]), *shape)[0][0])
    amplitude = max(highest - floor, 1e-3 * lowest) * earliest**power
    response = 0.03 * lowest / (REFERENCE_RATE * kernel)
    guess: FloatArray = np.log([floor, amplitude, power, response, *shape])
    return guess
