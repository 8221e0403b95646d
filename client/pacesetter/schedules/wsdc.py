"""Warm-up, stable, decay, constant."""

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from pacesetter.schedules.base import Extent, Family, FloatArray
from pacesetter.schedules.cooldowns import CooldownShape, decline_at, decline_over


class WSDC(Family):
    """1, a decay to ``end``, and ``end`` for the last share of the schedule [Deng2025 (PLM), arXiv 2503.12167].

    The last phase is for the data of the highest quality. Shares count the whole schedule, warm-up included.

    Limits: known from the abstract only; lengths, end and shape of the decay are free here, the defaults are ours.
    """

    tier = "experimental"

    family: Literal["wsdc"] = "wsdc"
    decay: float = Field(default=0.1, ge=1e-6, le=1.0)
    constant: float = Field(default=0.1, ge=1e-6, lt=1.0)
    end: float = Field(default=0.1, ge=1e-12, lt=1.0)
    shape: CooldownShape = "linear"

    @model_validator(mode="after")
    def _phases_fit(self) -> "WSDC":
        if self.decay + self.constant > 1.0 + 1e-9:
            raise ValueError(
                f"decay {self.decay:g} and constant {self.constant:g} do not fit; give at most 1 together"
            )
        return self

    def at(self, x: float, extent: Extent) -> float:
        """Return the shape at ``x``."""
        begin, stop = self._phases(extent)
        y = min(max((x - begin) / (stop - begin), 0.0), 1.0)
        return decline_at(self.shape, self.end)(y)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the shape at every ``x``."""
        begin, stop = self._phases(extent)
        return decline_over(self.shape, self.end)(np.clip((x - begin) / (stop - begin), 0.0, 1.0))

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return where the decay begins and ends."""
        return self._phases(extent)

    def check_extent(self, extent: Extent) -> None:
        """Check that the decay begins after the warm-up.

        Raises:
            ValueError: It would begin inside it.
        """
        if extent.progress(1.0 - self.decay - self.constant) < -1e-9:
            raise ValueError(
                f"decay and constant take {self.decay + self.constant:g} of {extent.length} and reach into the "
                f"warm-up of {extent.warmup}; give at most {extent.body / extent.length:g} together"
            )

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        lengths = (round(share * extent.length) for share in (self.decay, self.constant))
        decay, constant = lengths
        shape = self.shape.replace("_", " ")
        return f"hold, {shape} decay over {decay:,}, then {self.end:g} over the last {constant:,}"

    def _phases(self, extent: Extent) -> tuple[float, float]:
        begin = extent.progress(1.0 - self.decay - self.constant)
        return max(0.0, begin), extent.progress(1.0 - self.constant)
