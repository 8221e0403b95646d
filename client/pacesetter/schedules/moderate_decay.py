"""Moderate decay, for data that get better towards the end."""

from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray
from pacesetter.schedules.cooldowns import CooldownShape, decline_at, decline_over


class ModerateDecay(Family):
    """1, then a decay to a third of the peak over the last share of the schedule [Luo2025, arXiv 2511.18903].

    Where data come in ascending quality (a curriculum), a decay to nothing wastes the best of them: they arrive when
    the rate is low. The remedy published is this together with averaging the last checkpoints, here without the
    averaging.

    Limits: 1/3 is known from secondary sources ("moderately smaller than the peak"); length and shape of the decay are
    free, the defaults are ours. Without averaging, and on shuffled data, a decay to zero is better.
    """

    tier = "experimental"

    family: Literal["moderate_decay"] = "moderate_decay"
    cooldown: float = Field(default=0.2, ge=1e-6, le=1.0)
    """Share of the whole schedule, warm-up included."""
    end: float = Field(default=1.0 / 3.0, ge=1e-12, lt=1.0)
    shape: CooldownShape = "linear"

    def at(self, x: float, extent: Extent) -> float:
        """Return the shape at ``x``."""
        begin = self._begin(extent)
        return decline_at(self.shape, self.end)(max((x - begin) / (1.0 - begin), 0.0))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the shape at every ``x``."""
        begin = self._begin(extent)
        return decline_over(self.shape, self.end)(np.maximum((x - begin) / (1.0 - begin), 0.0))

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return where the decay begins."""
        return (self._begin(extent),)

    def check_extent(self, extent: Extent) -> None:
        """Check that the cooldown begins after the warm-up."""
        extent.check_tail(self.cooldown, "cooldown")

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        length, shape = round(self.cooldown * extent.length), self.shape.replace("_", " ")
        return f"hold, then {shape} decay to {self.end:.3g} over the last {length:,}"

    def _begin(self, extent: Extent) -> float:
        return max(0.0, extent.progress(1.0 - self.cooldown))
