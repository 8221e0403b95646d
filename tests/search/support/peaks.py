"""A training problem whose loss after a complete run is known: a landscape over the peak rate, at every length."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class KnownPeaks:
    """The validation loss of a run of n steps at peak ``p`` is a LINEX bowl around ``optimum - drift log2(n / total)``.

    While it trains, the loss stays at ``start``, until the rate is ``turn`` octaves above the optimum of a 64th of the
    run: then it grows at every step. ``explode`` makes it NaN there instead.
    """

    total: int
    optimum: float = -6.0
    """``log2`` of the best peak at ``total``."""
    drift: float = 0.45
    curvature: float = 0.2
    asymmetry: float = 0.8
    start: float = 4.0
    slope: float = 0.08
    turn: float = 3.0
    explode: bool = False
    shift: float = 0.0
    """Added to every loss: below zero it is minus a return."""
    steps: int = 0
    peak: float = 0.0
    level: float = 0.0
    holding: bool = False

    def step(self, lr: float) -> float:
        """Take one step and return the loss before it."""
        self.steps += 1
        self.peak = max(self.peak, lr)
        threshold = self.optimum + 6.0 * self.drift + self.turn
        if lr > 0.0 and math.log2(lr) > threshold:
            self.level += 0.5 * abs(self.start)
            if self.explode:
                return math.nan
        return self.start + self.level + self.shift

    def validate(self) -> float:
        """Return the loss that a complete run of so many steps at such a peak ends with."""
        if self.peak <= 0.0:
            return self.start + self.shift
        doublings = math.log2(self.total / max(self.steps, 1))
        octaves = math.log2(self.peak) - self.optimum - self.drift * doublings
        bowl = math.expm1(min(self.asymmetry * octaves, 50.0)) - self.asymmetry * octaves
        rise = self.curvature / self.asymmetry**2 * bowl
        score = self.slope * doublings + min(rise, 1.0)
        return math.exp(score) + self.shift

    def save(self) -> tuple[Any, int]:
        """Return the whole state."""
        return np.array([self.peak, self.level]), self.steps

    def restore(self, state: tuple[Any, int], *, rewind: bool) -> None:
        """Bring a state back."""
        del rewind
        self.peak, self.level = (float(value) for value in state[0])
        self.steps = state[1]
