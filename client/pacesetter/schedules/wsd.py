"""Warm-up, stable, decay."""

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from pacesetter.schedules.base import Evaluator, Extent, Family, FloatArray
from pacesetter.schedules.cooldowns import CooldownShape, cooldown_at, cooldown_over


class WSD(Family):
    """1, then a cooldown over the last share of the schedule [Hu2024, arXiv 2404.06395; Hagele2024, 2405.18392].

    ``cooldown`` is a share of the total length, warm-up included, as published. 1-sqrt beats linear at equal short
    length; the best share grows with the peak, from .1-.2 to .6. The half-life form of [Hu2024] is ``minicpm_wsd``.
    """

    tier = "recommended"

    family: Literal["wsd"] = "wsd"
    cooldown: float = Field(default=0.2, gt=0.0, le=1.0)
    shape: CooldownShape = "linear"
    end: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Where ``exponential`` stops, as a share of the peak, as it never reaches zero; 0.1 if not set."""

    @model_validator(mode="after")
    def _end_belongs_to_exponential(self) -> "WSD":
        if self.end is not None and self.shape != "exponential":
            raise ValueError(
                f"end={self.end} belongs to shape 'exponential'; a {self.shape!r} cooldown ends at the schedule's floor"
            )
        return self

    def at(self, x: float, extent: Extent) -> float:
        """Return the shape at progress ``x``."""
        span = self._span(extent)
        y = (x - (1.0 - span)) / span
        return 1.0 if y <= 0.0 else cooldown_at(self.shape, self._end)(min(y, 1.0))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the shape at every ``x``."""
        span = self._span(extent)
        y = np.clip((x - (1.0 - span)) / span, 0.0, 1.0)
        return cooldown_over(self.shape, self._end)(y)

    def evaluator(self, extent: Extent) -> Evaluator:
        """Return ``at`` with its constants hoisted."""
        span, shape = self._span(extent), cooldown_at(self.shape, self._end)
        begin = 1.0 - span

        def evaluate(x: float) -> float:
            y = (x - begin) / span
            return 1.0 if y <= 0.0 else shape(1.0 if y > 1.0 else y)

        return evaluate

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return where the cooldown begins."""
        return (1.0 - self._span(extent),)

    def check_extent(self, extent: Extent) -> None:
        """Check that the cooldown begins after the warm-up."""
        extent.check_tail(self.cooldown, "cooldown")

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        length = round(self.cooldown * extent.length)
        return f"hold, then {self.shape.replace('_', ' ')} cooldown over the last {length:,}"

    @property
    def _end(self) -> float:
        return 0.1 if self.end is None else self.end

    def _span(self, extent: Extent) -> float:
        """Return the cooldown's share of what follows the warm-up."""
        return min(1.0, self.cooldown * extent.length / extent.body)
