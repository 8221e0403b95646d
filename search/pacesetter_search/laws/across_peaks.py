r"""The annealing law across peak learning rates: a power of the rate for the signal, and another for the noise.

.. math::
    L = L_0 + A S_1^{-\alpha} - C S_2, \quad S_1 = \sum_i \eta_i^p, \quad
    S_2 = \sum_i m_i, \; m_i = \lambda m_{i-1} + (\eta_{i-1}^q - \eta_i^q)

With p = q = 1 no law carries from one peak to another: its errors are 1 to 3 %. With p and q fitted over curves of
several peaks, and the memory held at 1000 steps, they are .5 to .7 % on 124M runs (a memory that is fitted as well
gives better curves and a worse choice). Its final losses are biased by up to .05: take the peak from points that were
measured, or from fits of each peak, and this law for the shape of what lies between.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pacesetter_search.laws.base import Hull, Law, LawNotFitted, Prediction, after
from pacesetter_search.laws.curves import Curve, FloatArray, thinned
from pacesetter_search.laws.fitting import Prior, Rows, fitted, prepared
from pacesetter_search.laws.identification import (
    DECAY_NOT_TOLD,
    PEAKS_APART,
    of_several_peaks,
    tells_decay,
)
from pacesetter_search.laws.parametric import FittedParametric, from_fit
from pacesetter_search.laws.sums import Sums, default_memory

FEWEST_POINTS = 16
PARAMETERS = 6

MOST_STEPS = 4000
"""Steps of a curve in the fit; of a longer one one stands for several, as each trial of p and q looks at all."""

_POWERS = ((0.7, 0.5), (1.0, 1.0))
_STARTS = ((0.7, 0.3, 0.1), (0.9, 0.5, 0.03))
"""L0 as a share of the lowest loss, alpha, and C over it."""

_LOWEST = np.array([-10.0, -15.0, -4.0, -20.0, -2.5, -2.5])
_HIGHEST = np.array([12.0, 15.0, 1.5, 15.0, 0.8, 0.8])


class AcrossPeaksLaw(Law):
    """Fits the law to curves of several peak learning rates.

    Args:
        memory: 1 / (1 - lambda) in steps of the curves. None: 1000 steps of the job, or 1/24 of the longest curve where
            that is shorter.
        stride: Steps of the job that a step of the curves stands for.
    """

    def __init__(self, memory: float | None = None, *, stride: float = 1.0) -> None:
        self.memory = memory
        self.stride = stride

    def fit(self, curves: Sequence[Curve]) -> "FittedAcrossPeaks":
        """Return the law fitted to ``curves``: Huber on log loss, several starts, the best of them.

        Raises:
            LawNotFitted: Fewer than 16 points, curves of one peak, losses that are not above zero or all the same, or
                rates that are all zero or in different units.
        """
        moved = prepared(curves, parameters=PARAMETERS, fewest=FEWEST_POINTS)
        if not of_several_peaks(moved):
            raise LawNotFitted(
                "all curves have the same peak learning rate, which does not tell the powers p and q; add runs whose "
                f"peak is at least {PEAKS_APART:g} times as high, or fit AnnealingLaw"
            )
        memory = self.memory or default_memory(moved, self.stride)
        steps = max(curve.steps for curve in moved)
        unit = 1.0 / max(curve.peak for curve in moved)
        factor = -(-steps // MOST_STEPS)
        rates = [thinned(curve.lrs, factor) * unit for curve in moved]
        places = [np.maximum(curve.positions / factor, 1.0) for curve in moved]
        rows = Rows.of(moved)
        own = Sums(memory, 1.0, 1.0, float(steps), memory).thinned(factor)

        def predicted(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
            parts = [_loss(theta, own, *pair) for pair in zip(rates, places, strict=True)]
            return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

        starts = [_start(each, powers, rows) for each in _STARTS for powers in _POWERS]
        found = fitted(predicted, rows, starts, (_LOWEST, _HIGHEST), Prior.none(PARAMETERS))
        return FittedAcrossPeaks(
            memory=memory,
            unit=unit,
            signal_scale=float(steps),
            **from_fit(found),
            hull=Hull.of(moved),
            warnings=() if tells_decay(moved) else (DECAY_NOT_TOLD,),
        )


class FittedAcrossPeaks(FittedParametric):
    """The law with its parameters, as logarithms of L0, A, alpha, C, p and q for rates times ``unit``."""

    names: ClassVar[tuple[str, ...]] = ("L0", "A", "alpha", "C", "p", "q")

    LAW_ERROR: ClassVar[float] = 0.0067
    """Relative error of the law where peaks were fitted: the notes' joint fit over four of them."""

    OFF_PEAK: ClassVar[float] = 0.009
    """What an octave to the nearest fitted peak adds: the worst of the notes' three fits that left a peak out."""

    kind: Literal["across_peaks"] = "across_peaks"
    memory: float = Field(ge=1.0)
    unit: float = Field(gt=0.0)
    signal_scale: float = Field(gt=0.0)
    parameters: tuple[float, float, float, float, float, float]

    def evaluate(self, lrs: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses, never below a thousandth of L0, and their derivatives by the six logarithms."""
        own = Sums(self.memory, 1.0, 1.0, self.signal_scale, self.memory).thinned(self.stride)
        return _loss(np.array(self.parameters), own, lrs * self.unit, positions)

    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return mean and sd of the loss after ``positions`` steps, the law's own error in it."""
        found = super().predict(lrs, positions)
        peak = float(np.max(np.asarray(lrs, dtype=np.float64)))
        octaves = self.hull.octaves(peak) if self.hull else 0.0
        own = found.mean * (self.LAW_ERROR + self.OFF_PEAK * octaves)
        return Prediction(found.mean, np.hypot(found.sd, own))


def _loss(
    theta: FloatArray, own: Sums, lrs: FloatArray, positions: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return losses (n,) and their derivatives by the logarithms, (n, 6)."""
    floor, amplitude, alpha, response, p, q = np.exp(theta)
    logs = np.log(lrs)
    signals, noises = np.exp(p * logs), np.exp(q * logs)
    sums = [
        after(np.cumsum(each), positions)
        for each in (
            signals / own.signal_scale,
            signals * logs / own.signal_scale,
            own.momentum(noises) / own.noise_scale,
            own.momentum(noises * logs) / own.noise_scale,
        )
    ]
    signal, signal_slope, annealed, annealed_slope = sums
    safe = np.maximum(signal, 1e-12)
    power = amplitude * safe**-alpha
    drop = response * annealed
    gradient = np.column_stack(
        [
            np.full_like(power, floor),
            power,
            -alpha * np.log(safe) * power,
            -drop,
            -p * alpha * power / safe * signal_slope,
            -q * response * annealed_slope,
        ]
    )
    return np.maximum(floor + power - drop, 1e-3 * floor), gradient


def _start(
    start: tuple[float, float, float], powers: tuple[float, float], rows: Rows
) -> FloatArray:
    share, alpha, response = start
    lowest = float(np.exp(np.min(rows.log_losses)))
    guess: FloatArray = np.log([share * lowest, 0.2 * lowest, alpha, response * lowest, *powers])
    return guess
