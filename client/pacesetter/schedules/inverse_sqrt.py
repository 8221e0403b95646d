"""Inverse square root decay."""

import math
from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Evaluator, Extent, Family, FloatArray


class InverseSqrt(Family):
    """min(1, sqrt(w / s)), s counted from the schedule's zero, warm-up included [Vaswani2017, arXiv 1706.03762].

    ``w`` is the warm-up's length, so that rise and decay meet at 1 as in the original, unless ``timescale`` sets it; a
    timescale beyond the warm-up holds 1 until there. Never reaches zero: end it in a cooldown.
    """

    family: Literal["inverse_sqrt"] = "inverse_sqrt"
    timescale: int | None = Field(default=None, gt=0, le=2**53)
    """In the job's clock."""

    def at(self, x: float, extent: Extent) -> float:
        """Return min(1, sqrt(w / s))."""
        scale = self._scale(extent)
        since = extent.warmup + x * extent.body
        return 1.0 if since <= scale else math.sqrt(scale / since)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return min(1, sqrt(w / s)) for every ``x``."""
        scale = self._scale(extent)
        values: FloatArray = np.sqrt(scale / np.maximum(extent.warmup + x * extent.body, scale))
        return values

    def evaluator(self, extent: Extent) -> Evaluator:
        """Return ``at`` with its timescale looked up once."""
        scale, warmup, body, root = self._scale(extent), extent.warmup, extent.body, math.sqrt

        def evaluate(x: float) -> float:
            since = warmup + x * body
            return 1.0 if since <= scale else root(scale / since)

        return evaluate

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return where the hold ends and the decay begins."""
        x = (self._scale(extent) - extent.warmup) / extent.body
        return (x,) if 0.0 < x < 1.0 else ()

    def check_extent(self, extent: Extent) -> None:
        """Check that there is a timescale.

        Raises:
            ValueError: Neither a timescale nor a warm-up is given, or the timescale lies inside the warm-up.
        """
        if self.timescale is None and extent.warmup == 0:
            raise ValueError(
                "inverse_sqrt takes its timescale from the warm-up, and there is none; "
                "set warmup, or timescale in clock units"
            )
        if self.timescale is not None and self.timescale < extent.warmup:
            raise ValueError(
                f"timescale {self.timescale} lies inside the warm-up of {extent.warmup}, where the value would drop; "
                "give one of at least the warm-up, or leave it out"
            )

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        return f"inverse square root decay with timescale {self._scale(extent):,}"

    def _scale(self, extent: Extent) -> int:
        return extent.warmup if self.timescale is None else self.timescale
