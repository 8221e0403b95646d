"""A schedule: warm-up, a family's shape, a floor and a peak, with a zero of its own."""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pacesetter.schedules.base import Extent, FloatArray
from pacesetter.schedules.constant import Constant
from pacesetter.schedules.families import AnyFamily


class Warmup(BaseModel):
    """A linear rise from ``start`` (a share of the peak) to 1 over ``length`` clock units."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: int = Field(gt=0)
    start: float = Field(default=0.01, ge=0.0, le=1.0)
    """Above zero by default, so that the first step moves the weights (epfml's code starts at 1/100)."""


class Schedule(BaseModel):
    """A function of main-line position to a multiplier of each group's base learning rate.

    The value at position ``p`` is, with ``s = p - zero``::

        peak * (start + (1 - start) * s / warmup.length)     for s < warmup.length
        peak * (floor + (1 - floor) * shape(x))              after, x = (s - warmup.length) / (length - warmup.length)

    ``s`` is clipped to [0, length]: a schedule keeps its first value before its zero and its last value after its end.
    Positions are in the job's clock (steps or tokens). With ``unit="absolute"`` the value is a learning rate, and the
    client divides it by each group's base.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    kind: Literal["schedule"] = "schedule"
    version: Literal[1] = 1
    zero: int = 0
    length: int = Field(gt=0)
    peak: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    floor: float = Field(default=0.0, ge=0.0, le=1.0)
    unit: Literal["relative", "absolute"] = "relative"
    warmup: Warmup | None = None
    body: AnyFamily = Constant()

    @model_validator(mode="after")
    def _warmup_fits(self) -> "Schedule":
        if self.warmup is not None and self.warmup.length >= self.length:
            raise ValueError(
                f"a warm-up of {self.warmup.length} leaves nothing of a schedule of length {self.length}; "
                "shorten the warm-up"
            )
        return self

    @property
    def extent(self) -> Extent:
        """The lengths that the family's shape may refer to."""
        return Extent(self.length, self.warmup.length if self.warmup else 0)

    def at(self, position: float) -> float:
        """Return the value at one position."""
        extent = self.extent
        since = min(max(position - self.zero, 0.0), float(self.length))
        if self.warmup is not None and since < extent.warmup:
            start = self.warmup.start
            return self.peak * (start + (1.0 - start) * since / extent.warmup)
        x = (since - extent.warmup) / extent.body
        return self.peak * (self.floor + (1.0 - self.floor) * self.body.at(x, extent))

    def over(self, positions: FloatArray) -> FloatArray:
        """Return the values at many positions; same shape as ``positions``."""
        extent = self.extent
        since = np.clip(
            np.asarray(positions, dtype=np.float64) - self.zero, 0.0, float(self.length)
        )
        x = np.clip((since - extent.warmup) / extent.body, 0.0, 1.0)
        values = self.floor + (1.0 - self.floor) * self.body.over(x, extent)
        if self.warmup is not None:
            start = self.warmup.start
            rise = start + (1.0 - start) * since / extent.warmup
            values = np.where(since < extent.warmup, rise, values)
        return self.peak * values
