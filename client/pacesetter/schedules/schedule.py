"""A schedule: warm-up, a family's shape, a floor and a peak, with a zero of its own."""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pacesetter.schedules.base import Evaluator, Extent, FloatArray
from pacesetter.schedules.constant import Constant
from pacesetter.schedules.families import AnyFamily
from pacesetter.schedules.joined import Joined, JoinedPiece
from pacesetter.schedules.linear import Linear

EXACT = 2**53
"""Integers up to here are exact in float64, so a position and its distance from a zero never round."""


class Warmup(BaseModel):
    """A linear rise from ``start`` (a share of the peak) to 1 over ``length`` clock units."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: int = Field(gt=0)
    start: float = Field(default=0.01, ge=0.0, le=1.0)
    """Above zero by default, so that the first step moves the weights (epfml's code starts at 1/100)."""


class Schedule(BaseModel):
    """A function of main-line position to a multiplier of each group's base learning rate.

    The value at position ``p`` is, with ``s = p - zero``::

        peak * first * (start + (1 - start) * s / warmup.length)     for s < warmup.length
        peak * (floor + (1 - floor) * shape(x))     after, x = (s - warmup.length) / (length - warmup.length)

    ``first`` is 1 for every family that begins at 1, and makes the rise end where the shape begins for the others.
    ``s`` is clipped to [0, length]: a schedule keeps its first value before its zero and its last value after its end.
    Positions are in the job's clock (steps or tokens). With ``unit="absolute"`` the value is a learning rate, and the
    client divides it by each group's base; families that are laws in learning rates have no other unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    kind: Literal["schedule"] = "schedule"
    version: Literal[1] = 1
    zero: int = Field(default=0, ge=-EXACT, le=EXACT)
    length: int = Field(gt=0, le=EXACT)
    peak: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    floor: float = Field(default=0.0, ge=0.0, le=1.0)
    unit: Literal["relative", "absolute"] = "relative"
    warmup: Warmup | None = None
    body: AnyFamily = Constant()

    @model_validator(mode="after")
    def _parts_fit(self) -> "Schedule":
        if self.warmup is not None and self.warmup.length >= self.length:
            raise ValueError(
                f"a warm-up of {self.warmup.length} leaves nothing of a schedule of length {self.length}; "
                "shorten the warm-up"
            )
        self.body.check_extent(self.extent)
        if isinstance(self.body, Joined) and self.body.unit != self.unit:
            raise ValueError(
                f"its pieces are {self.body.unit} and the schedule {self.unit}; give both the same unit"
            )
        self._law_keeps_its_unit()
        return self

    def _law_keeps_its_unit(self) -> None:
        published = self.body.published_peak(self.extent)
        if published is None:
            return
        # A forgotten peak would be a learning rate of 1; one that is given scales the law, as a search does.
        if self.unit != "absolute" or "peak" not in self.model_fields_set:
            raise ValueError(
                f"{self.body.family} is a law in learning rates; give unit 'absolute' and peak {published!r}, "
                "as Schedule.absolute does, or another peak to scale it"
            )

    @classmethod
    def absolute(
        cls, length: int, body: AnyFamily, *, warmup: Warmup | None = None, zero: int = 0
    ) -> "Schedule":
        """Return the schedule of a family that is a law in learning rates, at its published peak.

        Args:
            length: In the job's clock.
            body: The family.
            warmup: The published laws rise from 0: ``Warmup(length=..., start=0.0)``.
            zero: Position at which it begins.

        Raises:
            ValueError: The family fixes no learning rate, or does not fit.
        """
        extent = Extent(length, warmup.length if warmup else 0)
        body.check_extent(extent)
        peak = body.published_peak(extent)
        if peak is None:
            raise ValueError(
                f"{body.family} fixes no learning rate; use Schedule(..., peak=..., unit='absolute')"
            )
        return cls(zero=zero, length=length, peak=peak, unit="absolute", warmup=warmup, body=body)

    @classmethod
    def default_base(
        cls, length: int, *, clock: str = "steps", warmup_share: float = 0.02
    ) -> "Schedule":
        """Return the base schedule of a job that names none: a short warm-up, then a linear decay to zero.

        Linear decay is near-optimal for the last iterate [Defazio2023, arXiv 2310.07831], beats a cosine to 10 %
        and is the least sensitive to the peak (D2Z). A warm-up of less than a few hundred steps spikes: in steps it is
        at least 300, though never more than a tenth of the run.

        Args:
            length: The budget, in the job's clock.
            clock: ``"steps"`` or ``"tokens"``.
            warmup_share: Share of the budget to warm up over; 0 for none.

        Raises:
            ValueError: ``warmup_share`` is not in [0, 1), or ``length`` is not above 0.
        """
        if not 0.0 <= warmup_share < 1.0:
            raise ValueError(f"a warm-up share of {warmup_share} is impossible; give one in [0, 1)")
        warmup = int(warmup_share * length)
        if clock == "steps" and warmup_share > 0.0:
            warmup = max(warmup, min(300, length // 10))
        return cls(length=length, warmup=Warmup(length=warmup) if warmup else None, body=Linear())

    @property
    def extent(self) -> Extent:
        """The lengths that the family's shape may refer to."""
        return Extent(self.length, self.warmup.length if self.warmup else 0)

    @property
    def _first(self) -> float:
        """What the warm-up rises to, as a share of the peak."""
        initial = self.body.initial(self.extent)
        return 1.0 if initial == 1.0 else self.floor + (1.0 - self.floor) * initial

    @property
    def highest(self) -> float:
        """The upper end of its range."""
        return self.peak * (self.floor + (1.0 - self.floor) * self.body.highest())

    @property
    def end(self) -> int:
        """Position from which on the schedule keeps its last value."""
        return self.zero + self.length

    def at(self, position: float) -> float:
        """Return the value at one position."""
        extent = self.extent
        since = min(max(position - self.zero, 0.0), float(self.length))
        if self.warmup is not None and since < extent.warmup:
            start = self.warmup.start
            return self.peak * (self._first * (start + (1.0 - start) * since / extent.warmup))
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
            rise = self._first * (start + (1.0 - start) * since / extent.warmup)
            values = np.where(since < extent.warmup, rise, values)
        return self.peak * values

    def evaluator(self) -> Evaluator:
        """Return ``at`` as a closure for the hot path: the same bits, without an attribute access."""
        zero, last, peak, floor = self.zero, float(self.length), self.peak, self.floor
        span = 1.0 - floor
        extent = self.extent
        warmup, body = extent.warmup, extent.body
        start = self.warmup.start if self.warmup is not None else 1.0
        rise, first = 1.0 - start, self._first
        shape = self.body.evaluator(extent)

        def evaluate(position: float) -> float:
            since = position - zero
            if since < 0.0:
                since = 0.0
            elif since > last:
                since = last
            if since < warmup:
                return peak * (first * (start + rise * since / warmup))
            return peak * (floor + span * shape((since - warmup) / body))

        return evaluate

    def breakpoints(self) -> tuple[float, ...]:
        """Return the positions, in order, at which the schedule may jump or bend."""
        extent = self.extent
        kinks = (extent.warmup + x * extent.body for x in self.body.kinks(extent))
        marks = {0.0, float(extent.warmup), float(extent.length), *kinks}
        return tuple(self.zero + mark for mark in sorted(marks))

    def describe(self, clock: str = "steps") -> str:
        """Return the schedule as one short sentence for people."""
        parts = [self.body.phrase(self.extent)]
        if self.warmup is not None:
            parts.insert(0, f"warm-up over {self.warmup.length:,} {clock}")
        unit = " x base" if self.unit == "relative" else ""
        floor = f", floor {self.floor:g} of the peak" if self.floor else ""
        where = f" from {self.zero:,}" if self.zero else ""
        return f"{', then '.join(parts)}; {self.length:,} {clock}{where}, peak {self.peak:g}{unit}{floor}"


# A piece holds a schedule and a schedule may hold pieces, so the types can be completed only here.
JoinedPiece.model_rebuild(_types_namespace={"Schedule": Schedule})
Joined.model_rebuild()
Schedule.model_rebuild()
