"""The infinite schedule of continual pre-training."""

import math
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from pacesetter.schedules.base import Extent, Family, FloatArray

STEEPNESS = 10.0
"""``a`` of the inverse square root cooldown [Ibrahim2024]."""


class Infinite(Family):
    """From 1 down to a constant, there while data come, then an anneal [Ibrahim2024, arXiv 2403.08763; 2503.02844].

    Cooldown, p from 0 to 1: c + (1 - c) (1 + cos(pi p)) / 2, or 1 + (c - 1) g(p) / g(1), g(p) = 1 / sqrt(1 + 10 p) - 1.
    Anneal, q from 0 to 1: c * (end / c)^q. The defaults are those of the 405M model: 3e-4 to 1.65e-4 over 60 % and to
    3e-5 in the end, after a warm-up of 1 %; the share of the anneal is ours. Shares count the whole schedule.

    A later task starts from the constant, not from the top: ``cooldown=0``, without a warm-up; ``anneal=0`` leaves the
    end open. Peak and base learning rate stay those of the first task.

    Limits: shown at 405M on parts of one data set, and on vision and language shifts at smaller scale.
    """

    family: Literal["infinite"] = "infinite"
    cooldown: float = Field(default=0.6, ge=0.0, le=1.0)
    anneal: float = Field(default=0.15, ge=0.0, le=1.0)
    constant: float = Field(default=0.55, ge=1e-12, le=1.0)
    end: float = Field(default=0.1, ge=1e-12, le=1.0)
    shape: Literal["cosine", "inverse_sqrt"] = "cosine"

    @model_validator(mode="after")
    def _levels_fall(self) -> "Infinite":
        if self.end > self.constant:
            raise ValueError(
                f"the anneal would rise from constant {self.constant:g} to end {self.end:g}; give an end below it"
            )
        return self

    def at(self, x: float, extent: Extent) -> float:
        """Return the shape at ``x``."""
        stop, begin = self._phases(extent)
        if x < stop:
            return self.constant + (1.0 - self.constant) * self._above(x / stop)
        if x <= begin:
            return self.constant
        ratio = self.end / self.constant
        return float(self.constant * ratio ** ((x - begin) / (1.0 - begin)))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the shape at every ``x``."""
        stop, begin = self._phases(extent)
        values = np.full_like(x, self.constant)
        if stop > 0.0:
            p = np.minimum(x, stop) / stop
            above = 0.5 * (1.0 + np.cos(np.pi * p))
            if self.shape == "inverse_sqrt":
                above = 1.0 - (1.0 / np.sqrt(1.0 + STEEPNESS * p) - 1.0) / _DROP
            values = np.where(x < stop, self.constant + (1.0 - self.constant) * above, values)
        if begin < 1.0:
            q = np.maximum((x - begin) / (1.0 - begin), 0.0)
            annealing = self.constant * np.power(self.end / self.constant, q)
            values = np.where(x > begin, annealing, values)
        return values

    def initial(self, extent: Extent) -> float:
        """Return 1, or the constant where there is no cooldown."""
        return self.at(0.0, extent)

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return where the cooldown ends and the anneal begins."""
        return tuple(sorted({x for x in self._phases(extent) if 0.0 < x < 1.0}))

    def check_extent(self, extent: Extent) -> None:
        """Check that the phases fit behind the warm-up.

        Raises:
            ValueError: They do not.
        """
        room = extent.body / extent.length
        if self.cooldown + self.anneal > room + 1e-9:
            raise ValueError(
                f"cooldown {self.cooldown:g} and anneal {self.anneal:g} do not fit behind the warm-up of "
                f"{extent.warmup}; give at most {room:g} together"
            )

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        parts = [f"{self.constant:g} held"]
        if self.cooldown:
            shape = self.shape.replace("_", " ")
            parts.insert(0, f"{shape} cooldown over {round(self.cooldown * extent.length):,}")
        if self.anneal:
            parts.append(
                f"anneal to {self.end:g} over the last {round(self.anneal * extent.length):,}"
            )
        return ", then ".join(parts)

    def _above(self, p: float) -> float:
        """Return how much of the way down is left at progress ``p`` of the cooldown."""
        if self.shape == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * p))
        return 1.0 - (1.0 / math.sqrt(1.0 + STEEPNESS * p) - 1.0) / _DROP

    def _phases(self, extent: Extent) -> tuple[float, float]:
        """Return where the cooldown ends and where the anneal begins, in progress."""
        stretch = extent.length / extent.body
        stop = min(1.0, self.cooldown * stretch)
        return stop, max(stop, 1.0 - self.anneal * stretch)


_DROP = 1.0 / math.sqrt(1.0 + STEEPNESS) - 1.0
"""g(1)."""
