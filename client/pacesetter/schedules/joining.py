"""Puts schedules one after another, and changes them: what the horizon tools are made of."""

import math
from typing import Any

from pacesetter.errors import ScheduleError
from pacesetter.schedules.joined import JUMP, Joined, JoinedPiece
from pacesetter.schedules.linear import Linear
from pacesetter.schedules.parse import parse_schedule
from pacesetter.schedules.schedule import Schedule, Warmup


def join(first: Schedule, second: Schedule, at: int, *, continuous: bool = True) -> Schedule:
    """Return ``first`` before ``at`` and ``second`` from ``at`` on, until the end of ``second``.

    Args:
        first: Gives the zero. Where it is joined itself, its pieces are taken over.
        second: Placed by its own zero; its warm-up, if any, counts from there.
        at: Main-line position after the zero of ``first`` and before the end of ``second``.
        continuous: Whether a jump at ``at`` is an error; if not, the seam is declared a jump. Where ``first`` is
            declared to jump there itself, ``second`` may go on from after the jump.

    Raises:
        ScheduleError: They jump where they are to be continuous, their units differ, or ``at`` leaves nothing of one.
    """
    if not first.zero < at < second.end:
        raise ScheduleError(
            f"a seam at {at:,} leaves nothing of one schedule; "
            f"choose it after {first.zero:,} and before {second.end:,}"
        )
    if first.unit != second.unit:
        raise ScheduleError(
            f"a {first.unit} and a {second.unit} schedule cannot be joined; give both the same unit"
        )
    seam = at - first.zero
    pieces = [piece for piece in pieces_of(first, first.zero) if piece.start < seam]
    following = pieces_of(second, first.zero)
    ends = [*(piece.start for piece in following[1:]), second.end - first.zero]
    following = [piece for piece, end in zip(following, ends, strict=True) if end > seam]
    declared = (
        "continuous" if continuous and not _goes_on_after_a_jump(first, second, at) else "jump"
    )
    following[0] = following[0].model_copy(update={"start": seam, "seam": declared})
    return assembled(first, [*pieces, *following], second.end - first.zero)


def _goes_on_after_a_jump(first: Schedule, second: Schedule, at: int) -> bool:
    """Return whether ``first`` jumps at ``at``, to where ``second`` goes on."""
    there = (
        piece.seam for piece in pieces_of(first, first.zero)[1:] if piece.start == at - first.zero
    )
    return "jump" in there and math.isclose(first.at(at), second.at(at), rel_tol=JUMP)


def pieces_of(schedule: Schedule, zero: int) -> list[JoinedPiece]:
    """Return the pieces of a schedule, or the schedule as one, counted from ``zero``."""
    moved = schedule.zero - zero
    if not isinstance(schedule.body, Joined):
        return [JoinedPiece(start=max(0, moved), schedule=changed(schedule, zero=moved))]
    return [
        JoinedPiece(
            start=max(0, piece.start + moved),
            seam=piece.seam,
            schedule=changed(_within(schedule, piece.schedule), zero=piece.schedule.zero + moved),
        )
        for piece in schedule.body.pieces
    ]


def assembled(like: Schedule, pieces: list[JoinedPiece], length: int) -> Schedule:
    """Return pieces, counted from the zero of ``like``, as one schedule whose peak is the highest of theirs."""
    if len(pieces) == 1:
        only = pieces[0].schedule
        if only.zero + only.length == length:
            return changed(only, zero=only.zero + like.zero)
    top = max(piece.schedule.peak for piece in pieces) or 1.0
    scaled = [
        {**piece.model_dump(), "schedule": changed(piece.schedule, peak=piece.schedule.peak / top)}
        for piece in pieces
    ]
    body = {"family": "joined", "pieces": scaled}
    return built(zero=like.zero, length=length, peak=top, unit=like.unit, body=body)


def shortened(schedule: Schedule, length: int) -> Schedule:
    """Return a schedule cut off at a shorter length, with the values that it has until there."""
    pieces = pieces_of(schedule, schedule.zero)
    return assembled(schedule, [piece for piece in pieces if piece.start < length], length)


def line(like: Schedule, at: int, length: int, start: float, end: float) -> Schedule:
    """Return a line from one value to another over ``length``, in the unit of ``like``."""
    if end > start:
        # A warm-up must leave something of its schedule, so the value at its end is held for one unit.
        rise = Warmup(length=length, start=start / end).model_dump()
        return built(zero=at, length=length + 1, peak=end, unit=like.unit, warmup=rise)
    if end == start:
        return built(zero=at, length=length, peak=end, unit=like.unit)
    body = Linear().model_dump()
    return built(zero=at, length=length, peak=start, floor=end / start, unit=like.unit, body=body)


def changed(schedule: Schedule, **changes: Any) -> Schedule:
    """Return the schedule with other fields, checked anew.

    Raises:
        ScheduleError: They do not fit.
    """
    return built(**{**schedule.model_dump(), **changes})


def built(**fields: Any) -> Schedule:
    """Return the schedule of these fields.

    Raises:
        ScheduleError: They make none.
    """
    return parse_schedule(fields)


def _within(outer: Schedule, inner: Schedule) -> Schedule:
    """Return a piece with the outer peak and floor worked into its own."""
    if outer.peak == 1.0 and outer.floor == 0.0:
        return inner
    span = 1.0 - outer.floor
    peak = outer.floor + span * inner.peak
    floor = outer.floor + span * inner.peak * inner.floor
    warmup = None
    if inner.warmup is not None:
        low, high = inner.at(inner.zero), inner.at(inner.zero + inner.warmup.length)
        below, above = outer.floor + span * low, outer.floor + span * high
        start = min(1.0, below / above) if above else inner.warmup.start
        warmup = {"length": inner.warmup.length, "start": start}
    share = min(1.0, floor / peak) if peak else inner.floor
    return changed(inner, peak=outer.peak * peak, floor=share, warmup=warmup)
