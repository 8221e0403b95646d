"""Several schedules one after another."""

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pacesetter.schedules.base import Evaluator, Extent, Family, FloatArray

if TYPE_CHECKING:
    from pacesetter.schedules.schedule import Schedule

JUMP = 1e-9
"""Difference at a seam, as a share of the greater value, up to which the seam counts as continuous."""
_ROUNDING = 2.0**-51
"""Of a length: what a position may lose on its way through progress and back, two roundings and as much again."""


class JoinedPiece(BaseModel):
    """A schedule in force from ``start`` until the next piece starts.

    Positions, those of the piece's own zero too, count from the zero of the schedule that the pieces are joined to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    start: int = Field(ge=0, le=2**53)
    seam: Literal["continuous", "jump"] = "continuous"
    """How it takes over from the piece before. A jump must be declared; of the first piece it means nothing."""
    schedule: "Schedule"

    @field_validator("schedule", mode="before")
    @classmethod
    def _plain(cls, schedule: Any) -> Any:
        # Told before the pieces within are read, so that a document cannot make reading go deep.
        body = (
            schedule.get("body") if isinstance(schedule, dict) else getattr(schedule, "body", None)
        )
        family = body.get("family") if isinstance(body, dict) else getattr(body, "family", None)
        if family == "joined":
            raise ValueError("a piece is itself joined; list its pieces instead")
        return schedule


class Joined(Family):
    """The value of the piece in force: pieces of any other family, each with its own length, warm-up, peak and floor.

    At whole positions a piece gives the bits that its schedule gives by itself. Values are shares of the outer peak,
    so the range is that of the pieces. A warm-up belongs into the first piece.
    """

    family: Literal["joined"] = "joined"
    pieces: tuple[JoinedPiece, ...] = Field(min_length=1, max_length=256)

    @model_validator(mode="after")
    def _pieces_fit(self) -> "Joined":
        if self.pieces[0].start != 0:
            raise ValueError(f"the first piece starts at {self.pieces[0].start}; start it at 0")
        clocks = {piece.schedule.body.required_clock() for piece in self.pieces} - {None}
        if len(clocks) > 1:
            raise ValueError("some pieces count steps and some tokens; give all the job's clock")
        units = {piece.schedule.unit for piece in self.pieces}
        if len(units) > 1:
            raise ValueError("pieces mix relative and absolute values; give all the same unit")
        for left, right in pairwise(self.pieces):
            _check_seam(left, right)
        return self

    @property
    def unit(self) -> Literal["relative", "absolute"]:
        """The unit of all pieces, which is to be the outer schedule's."""
        return self.pieces[0].schedule.unit

    def at(self, x: float, extent: Extent) -> float:
        """Return the value of the piece in force at progress ``x``."""
        position = whole(x * extent.length, extent.length)
        starts = [piece.start for piece in self.pieces]
        return self.pieces[bisect_right(starts, position) - 1].schedule.at(position)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the value of the piece in force at every ``x``."""
        positions = x * float(extent.length)
        nearest = np.rint(positions)
        positions = np.where(
            np.abs(positions - nearest) <= _ROUNDING * extent.length, nearest, positions
        )
        starts = np.array([piece.start for piece in self.pieces], dtype=np.float64)
        index = np.searchsorted(starts, positions, side="right") - 1
        values = np.empty_like(positions)
        for number in np.unique(index):
            here = index == number
            values[here] = self.pieces[number].schedule.over(positions[here])
        return values

    def evaluator(self, extent: Extent) -> Evaluator:
        """Return ``at`` with the pieces' own closures."""
        starts = [piece.start for piece in self.pieces]
        pieces = [piece.schedule.evaluator() for piece in self.pieces]
        length = extent.length

        def evaluate(x: float) -> float:
            position = whole(x * length, length)
            return pieces[bisect_right(starts, position) - 1](position)

        return evaluate

    def initial(self, extent: Extent) -> float:
        """Return the first value."""
        return self.at(0.0, extent)

    def highest(self) -> float:
        """Return the highest value that a piece may take."""
        return max(piece.schedule.highest for piece in self.pieces)

    def required_clock(self) -> Literal["steps", "tokens"] | None:
        """Return the clock that a piece requires."""
        clocks = (piece.schedule.body.required_clock() for piece in self.pieces)
        return next((clock for clock in clocks if clock is not None), None)

    def families_used(self) -> frozenset[str]:
        """Return this family and those of its pieces."""
        pieces = (piece.schedule.body.families_used() for piece in self.pieces)
        return super().families_used().union(*pieces)

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return the seams, and the bends of each piece where it is in force."""
        ends = [*(piece.start for piece in self.pieces[1:]), extent.length]
        marks = {float(piece.start) for piece in self.pieces}
        for piece, end in zip(self.pieces, ends, strict=True):
            marks |= {mark for mark in piece.schedule.breakpoints() if piece.start < mark < end}
        return tuple(mark / extent.length for mark in sorted(marks) if 0.0 < mark < extent.length)

    def check_extent(self, extent: Extent) -> None:
        """Check that every piece comes to its turn, and that the warm-up is a piece's.

        Raises:
            ValueError: A piece would start at the end or beyond it, or a warm-up lies before the pieces.
        """
        if extent.warmup:
            raise ValueError(
                "a joined schedule has no warm-up around its pieces; set warmup in the first piece"
            )
        last = self.pieces[-1].start
        if last >= extent.length:
            raise ValueError(
                f"the last piece starts at {last}, and the schedule ends at {extent.length}; "
                "drop the piece or make the schedule longer"
            )

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words: the first piece, how many more, and the last."""
        first, last = self.pieces[0].schedule, self.pieces[-1]
        phrases = [first.body.phrase(first.extent)]
        if first.warmup is not None:
            phrases.insert(0, f"warm-up over {first.warmup.length:,}")
        if len(self.pieces) > 2:
            phrases.append(f"{len(self.pieces) - 2} more")
        if len(self.pieces) > 1:
            tail = last.schedule.body.phrase(last.schedule.extent)
            phrases.append(f"at {last.start:,} of {extent.length:,} {tail}")
        return ", then ".join(phrases)


def whole(position: float, length: int) -> float:
    """Return a position of a length without the rounding of its way through progress, so that seams stay exact."""
    nearest = float(round(position))
    return nearest if abs(position - nearest) <= _ROUNDING * length else position


def _check_seam(left: JoinedPiece, right: JoinedPiece) -> None:
    if right.start <= left.start:
        raise ValueError(
            f"pieces start at {left.start} and then at {right.start}; sort them, each start once"
        )
    before, after = left.schedule.at(right.start), right.schedule.at(right.start)
    if right.seam == "continuous" and abs(after - before) > JUMP * max(before, after):
        raise ValueError(
            f"pieces jump from {before:g} to {after:g} at {right.start}, where they are to be continuous; "
            "make their values meet, or declare the seam a 'jump'"
        )
