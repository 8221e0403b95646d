"""The schedule of the original transformer, with the learning rate that it fixes."""

import math
from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray


class Noam(Family):
    """width^-0.5 * min(t^-0.5, t * W^-1.5): a learning rate, of Adam [Vaswani2017, arXiv 1706.03762, eq. 3].

    t counts steps from the schedule's zero and W is the warm-up, which the law needs and which rises from 0
    (``Warmup(length=W, start=0)``; 4000 steps in the paper, width 512). The learning rate at its top is
    (width * W)^-0.5: ``Schedule.absolute`` sets it, and another peak is the "factor" of later code. ``inverse_sqrt`` is
    the same curve with a peak of one's own.

    Limits: the rate shrinks with a longer warm-up by the formula alone, not by need. Never reaches zero.
    """

    family: Literal["noam"] = "noam"
    width: int = Field(gt=0, le=2**31)
    """Of the model (``d_model``)."""

    def at(self, x: float, extent: Extent) -> float:
        """Return sqrt(W / t)."""
        return math.sqrt(extent.warmup / (extent.warmup + x * extent.body))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return sqrt(W / t) for every ``x``."""
        values: FloatArray = np.sqrt(extent.warmup / (extent.warmup + x * extent.body))
        return values

    def published_peak(self, extent: Extent) -> float:
        """Return the learning rate at the end of the warm-up."""
        return 1.0 / math.sqrt(self.width * extent.warmup)

    def required_clock(self) -> Literal["steps", "tokens"]:
        """Return that t counts steps."""
        return "steps"

    def check_extent(self, extent: Extent) -> None:
        """Check that there is a warm-up.

        Raises:
            ValueError: There is none.
        """
        if extent.warmup == 0:
            raise ValueError("noam is a law of its warm-up, and there is none; set warmup")

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        return f"Noam decay of width {self.width:,} with timescale {extent.warmup:,}"
