"""Re-warming and re-decaying, to go on from an annealed model."""

import math
from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray


class Rewarm(Family):
    """A line from ``start`` up to 1, then a half cosine to ``end`` [Gupta2023, arXiv 2308.04014; Ibrahim2024].

    ``start`` is where the last run ended, as a share of the new peak. 0 to 2 % of the steps are enough to rise over:
    the length hardly matters, but none at all makes the loss spike. The optimizer's state is reset.

    Replay old data: 5 % of the batches for a weak shift (same language), 25 % for a strong one. That is the other half
    of the method, and advice only: the schedule cannot see the data.

    Limits: a higher peak adapts more and forgets more; even on the same data re-warming costs 0.1 (3e-4) to 0.2 (6e-4)
    of loss at its height. ``infinite`` avoids it. It has a rise of its own and takes no warm-up.
    """

    family: Literal["rewarm"] = "rewarm"
    rewarm: float = Field(default=0.01, ge=0.0, lt=1.0)
    """Share of the schedule."""
    start: float = Field(default=0.1, ge=0.0, le=1.0)
    end: float = Field(default=0.1, ge=0.0, le=1.0)

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return the shape at ``x``."""
        if x < self.rewarm:
            return self.start + (1.0 - self.start) * x / self.rewarm
        y = (x - self.rewarm) / (1.0 - self.rewarm)
        return self.end + (1.0 - self.end) * 0.5 * (1.0 + math.cos(math.pi * y))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return the shape at every ``x``."""
        y = np.maximum((x - self.rewarm) / (1.0 - self.rewarm), 0.0)
        values: FloatArray = self.end + (1.0 - self.end) * 0.5 * (1.0 + np.cos(np.pi * y))
        if self.rewarm == 0.0:
            return values
        rise = self.start + (1.0 - self.start) * (np.minimum(x, self.rewarm) / self.rewarm)
        return np.where(x < self.rewarm, rise, values)

    def initial(self, extent: Extent) -> float:
        """Return ``start``."""
        return self.at(0.0, extent)

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return the top."""
        del extent
        return (self.rewarm,) if self.rewarm else ()

    def check_extent(self, extent: Extent) -> None:
        """Check that there is no warm-up beside the rise."""
        extent.check_no_warmup("rewarm", "rewarm and start")

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        up = round(self.rewarm * extent.body)
        return f"re-warm from {self.start:g} over {up:,}, then cosine to {self.end:g} over {extent.body - up:,}"
