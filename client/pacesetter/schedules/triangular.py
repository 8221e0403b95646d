"""Cyclical learning rates: triangles."""

from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray


class Triangular(Family):
    """Straight up from ``low`` to 1 and down again, ``cycles`` times [Smith2017, arXiv 1506.01186].

    ``halving`` is the paper's ``triangular2``: the height above ``low`` halves with every cycle. The default ``low`` is
    the upper one of the paper's rule of thumb, a third or a quarter of the peak; it advises a half-cycle of 2 to 10
    epochs.

    Limits: every cycle but the last undoes its own anneal; for one budget a single decay is better. Kept for
    comparisons, and for sweeping a range of rates.
    """

    tier = "experimental"

    family: Literal["triangular"] = "triangular"
    cycles: int = Field(default=1, ge=1, le=10_000)
    low: float = Field(default=0.25, ge=0.0, lt=1.0)
    halving: bool = False

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return the shape at ``x``."""
        cycle = min(int(x * self.cycles), self.cycles - 1)
        height = 1.0 - abs(2.0 * (x * self.cycles - cycle) - 1.0)
        return self.low + (1.0 - self.low) * height * (0.5**cycle if self.halving else 1.0)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return the shape at every ``x``."""
        cycle = np.minimum(np.floor(x * self.cycles), self.cycles - 1)
        height = 1.0 - np.abs(2.0 * (x * self.cycles - cycle) - 1.0)
        values: FloatArray = self.low + (1.0 - self.low) * height * (
            np.exp2(-cycle) if self.halving else 1.0
        )
        return values

    def initial(self, extent: Extent) -> float:
        """Return ``low``."""
        return self.at(0.0, extent)

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return tops and bottoms."""
        del extent
        return tuple(half / (2 * self.cycles) for half in range(1, 2 * self.cycles))

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        heights = ", each half as high" if self.halving else ""
        return f"{self.cycles:,} triangles from {self.low:g}{heights} over {extent.body:,}"
