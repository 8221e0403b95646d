"""Warm-up, stable, decay by half-lives."""

from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray


class MiniCPMWSD(Family):
    """1, then 0.5^((s - s0) / half_life) from s0 on [Hu2024, arXiv 2404.06395, section 4.2].

    The paper prints 0.5^((s - S) / T) with T for the end of the stable phase *and* "set to 5000 steps", which is above
    1 for every s before S; this is the reading that decays: a half-life of 5000 steps (20e9 tokens). 10 % of the peak
    is reached after 3.32 half-lives (16,610 steps). A decay of 10 % of the tokens is enough, 2.5 % is not.

    Limits: where the decay is short against the half-life the run ends at a high rate; ``wsd`` ends where it says.
    """

    family: Literal["minicpm_wsd"] = "minicpm_wsd"
    decay: float = Field(default=0.1, gt=0.0, le=1.0)
    """Share of the whole schedule, warm-up included."""
    half_life: int = Field(gt=0, le=2**53)
    """In the job's clock."""

    def at(self, x: float, extent: Extent) -> float:
        """Return the shape at ``x``."""
        since = (x - self._begin(extent)) * extent.body
        return 1.0 if since <= 0.0 else 0.5 ** (since / self.half_life)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the shape at every ``x``."""
        since = np.maximum((x - self._begin(extent)) * extent.body, 0.0)
        values: FloatArray = np.exp2(-since / self.half_life)
        return values

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return where the decay begins."""
        return (self._begin(extent),)

    def check_extent(self, extent: Extent) -> None:
        """Check that the decay begins after the warm-up."""
        extent.check_tail(self.decay, "decay")

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        length = round(self.decay * extent.length)
        return f"hold, then halved every {self.half_life:,} over the last {length:,}"

    def _begin(self, extent: Extent) -> float:
        return max(0.0, extent.progress(1.0 - self.decay))
