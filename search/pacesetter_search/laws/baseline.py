r"""The baseline: what the amount of training says by itself, without any response to decay.

.. math::
    L = L_0 + A S_1^{-\alpha}, \quad S_1 = \sum_i \eta_i

Every other law has to beat it, and where it does not, the curves have no decay in them. It orders schedules by the sum
of their rates, so a constant one is always the best: never choose by it.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from pacesetter_search.laws.base import Hull, Law, after
from pacesetter_search.laws.curves import Curve, FloatArray
from pacesetter_search.laws.fitting import Prior, Rows, fitted, prepared
from pacesetter_search.laws.identification import one_peak_warnings
from pacesetter_search.laws.parametric import FittedParametric, from_fit

FEWEST_POINTS = 6
PARAMETERS = 3
_STARTS = ((0.5, 0.5), (0.8, 0.3), (0.9, 1.0))
"""L0 as a share of the lowest loss, and alpha."""

_LOWEST, _HIGHEST = np.array([-30.0, -15.0, -4.0]), np.array([30.0, 15.0, 2.0])


class BaselineLaw(Law):
    """Fits the baseline. See the module's docstring for what it is."""

    def fit(self, curves: Sequence[Curve]) -> "FittedBaseline":
        """Return the baseline fitted to ``curves``: Huber on log loss, several starts, the best of them.

        Raises:
            LawNotFitted: Fewer than 6 points, losses that are not above zero or all the same, or rates that are all
                zero or in different units.
        """
        moved = prepared(curves, parameters=PARAMETERS, fewest=FEWEST_POINTS)
        scale = max(float(np.sum(curve.lrs)) for curve in moved)
        signal = np.concatenate([after(np.cumsum(c.lrs), c.positions) / scale for c in moved])
        rows = Rows.of(moved)
        found = fitted(
            lambda theta: _loss(theta, signal),
            rows,
            [_start(each, rows, float(np.min(signal))) for each in _STARTS],
            (_LOWEST, _HIGHEST),
            Prior.none(PARAMETERS),
        )
        return FittedBaseline(
            scale=scale,
            **from_fit(found),
            hull=Hull.of(moved),
            warnings=tuple(one_peak_warnings(moved, "fit each peak by itself")),
        )


class FittedBaseline(FittedParametric):
    """The baseline with its parameters, as logarithms of L0, A and alpha for S1 over ``scale``."""

    names: ClassVar[tuple[str, ...]] = ("L0", "A", "alpha")

    kind: Literal["baseline"] = "baseline"
    scale: float = Field(gt=0.0)
    parameters: tuple[float, float, float]

    def evaluate(self, lrs: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses and their derivatives by the three logarithms."""
        signal = after(np.cumsum(lrs), positions) * (self.stride / self.scale)
        return _loss(np.array(self.parameters), signal)


def _loss(theta: FloatArray, signal: FloatArray) -> tuple[FloatArray, FloatArray]:
    floor, amplitude, alpha = np.exp(theta)
    safe = np.maximum(signal, 1e-12)
    power = amplitude * safe**-alpha
    gradient = np.column_stack([np.full_like(power, floor), power, -alpha * np.log(safe) * power])
    return floor + power, gradient


def _start(start: tuple[float, float], rows: Rows, least_signal: float) -> FloatArray:
    share, alpha = start
    lowest = float(np.exp(np.min(rows.log_losses)))
    highest = float(np.exp(np.max(rows.log_losses)))
    amplitude = max(highest - share * lowest, 1e-3 * lowest) * least_signal**alpha
    guess: FloatArray = np.log([share * lowest, max(amplitude, 1e-6), alpha])
    return guess
