"""One cycle: a rise, and a longer fall to almost nothing."""

import math
from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray


class OneCycle(Family):
    """From 1 / divisor up to 1, then down to 1 / (divisor * final_divisor) [Smith2018, arXiv 1708.07120].

    The defaults are those of ``torch.optim.lr_scheduler.OneCycleLR``: 30 % rise, half cosines, divisors 25 and 1e4.
    Torch is at its ends at steps ``rise * T - 1`` and ``T - 1``, this at ``rise * T`` and ``T``.

    Limits: made for SGD with a peak from a range test. As published, momentum moves the opposite way (0.95 to 0.85
    and back); a schedule moves the learning rate only. It has a rise of its own and takes no warm-up.
    """

    family: Literal["one_cycle"] = "one_cycle"
    rise: float = Field(default=0.3, gt=0.0, lt=1.0)
    """Share of the schedule."""
    divisor: float = Field(default=25.0, ge=1.0, le=1e6)
    final_divisor: float = Field(default=1e4, ge=1.0, le=1e12)
    anneal: Literal["cosine", "linear"] = "cosine"

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return the shape at ``x``."""
        low, end = 1.0 / self.divisor, 1.0 / (self.divisor * self.final_divisor)
        if x < self.rise:
            return low + (1.0 - low) * self._part(x / self.rise)
        return 1.0 + (end - 1.0) * self._part((x - self.rise) / (1.0 - self.rise))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return the shape at every ``x``."""
        low, end = 1.0 / self.divisor, 1.0 / (self.divisor * self.final_divisor)
        y = np.where(x < self.rise, x / self.rise, (x - self.rise) / (1.0 - self.rise))
        part = 0.5 * (1.0 - np.cos(np.pi * y)) if self.anneal == "cosine" else y
        return np.where(x < self.rise, low + (1.0 - low) * part, 1.0 + (end - 1.0) * part)

    def initial(self, extent: Extent) -> float:
        """Return where the rise begins."""
        return self.at(0.0, extent)

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return the top."""
        del extent
        return (self.rise,)

    def check_extent(self, extent: Extent) -> None:
        """Check that there is no warm-up beside the rise."""
        extent.check_no_warmup("one_cycle", "rise")

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        up = round(self.rise * extent.body)
        return f"one cycle: {self.anneal} rise over {up:,}, {self.anneal} fall over {extent.body - up:,}"

    def _part(self, y: float) -> float:
        """Return how much of the way is done at progress ``y`` of it."""
        return 0.5 * (1.0 - math.cos(math.pi * y)) if self.anneal == "cosine" else y
