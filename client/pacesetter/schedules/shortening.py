"""Makes a schedule shorter while it runs."""

import math
from collections.abc import Callable, Iterator

from pacesetter.errors import ScheduleError
from pacesetter.schedules.extending import SAME, flat, same_until, steps_laid_anew, table_stretched
from pacesetter.schedules.joined import Joined
from pacesetter.schedules.joining import (
    assembled,
    built,
    changed,
    join,
    line,
    pieces_of,
    shortened,
)
from pacesetter.schedules.schedule import Schedule
from pacesetter.schedules.step import Step
from pacesetter.schedules.table import Table
from pacesetter.schedules.wsd import WSD


def shorten(schedule: Schedule, new_length: int, at: int) -> Schedule:
    """Return the schedule for a budget that was cut short when the run stood at ``at``: the mirror of ``extend``.

    * Where the schedule has not felt its end before ``at``, it is laid over the new length: in the warm-up, in laws
      without a horizon (``constant`` stays constant), on the plateau of ``wsd`` if the new cooldown is still to come.
    * ``step`` keeps the milestones passed and lays the others anew; ``table`` compresses what remains.
    * Any other plateau is left earlier, by as much as the budget lost, if it is long enough.
    * Else it decays from where it stands to where it would have ended: by 1-sqrt off a plateau, which beats a line
      where the decay is short [Hagele2024, arXiv 2405.18392], in a line where a decay is under way.
    * Of a ``joined`` schedule the last piece is shortened where it is in force already.

    Args:
        schedule: The plan so far.
        new_length: Counted from its zero, in the job's clock; at most its length.
        at: Where the run stands, before the new end.

    Raises:
        ScheduleError: The length grows, or nothing of it is left at ``at``.
    """
    _check(schedule, new_length, at)
    if new_length == schedule.length:
        return schedule
    if schedule.at(at) == 0.0:
        return shortened(schedule, new_length)
    if isinstance(schedule.body, Joined):
        return (
            _shorter_joined(schedule, new_length, at)
            or _left_earlier(schedule, new_length, at)
            or _decay_to_the_end(schedule, new_length, at)
        )
    return (
        _laid_anew(schedule, new_length, at)
        or _left_earlier(schedule, new_length, at)
        or _decay_to_the_end(schedule, new_length, at)
    )


def _check(schedule: Schedule, new_length: int, at: int) -> None:
    if new_length > schedule.length:
        raise ScheduleError(
            f"a length of {new_length:,} is longer than the present {schedule.length:,}; "
            "make it so with extend"
        )
    if at >= schedule.zero + new_length:
        raise ScheduleError(
            f"position {at:,} is past the new end at {schedule.zero + new_length:,}; "
            f"give a length above {at - schedule.zero:,}"
        )


def _laid_anew(schedule: Schedule, new_length: int, at: int) -> Schedule | None:
    """Return the schedule over the new length with the same values until ``at``; None where there is no such."""
    for lay in _ways(schedule):
        try:
            shorter = lay(schedule, new_length, at)
        except ScheduleError:  # its warm-up, or its milestones, do not fit into the new length
            continue
        if same_until(at, schedule, shorter):
            return shorter
    return None


def _ways(schedule: Schedule) -> Iterator[Callable[[Schedule, int, int], Schedule]]:
    yield lambda whole, new_length, _: changed(whole, length=new_length)
    if isinstance(schedule.body, Step):
        yield steps_laid_anew
    if isinstance(schedule.body, Table):
        yield table_stretched


def _shorter_joined(schedule: Schedule, new_length: int, at: int) -> Schedule | None:
    """Return it with a shorter last piece; None where that is not in force yet, or is bound to another end."""
    *before, last = pieces_of(schedule, schedule.zero)
    begin, end = schedule.zero + last.start, schedule.zero + new_length
    tail = changed(last.schedule, zero=last.schedule.zero + schedule.zero)
    if at < begin or tail.end != schedule.end:
        return None
    tail = shorten(tail, end - tail.zero, at)
    if not before:
        return tail
    trunk = assembled(schedule, before, last.start)
    return join(trunk, tail, begin, continuous=last.seam == "continuous")


def _left_earlier(schedule: Schedule, new_length: int, at: int) -> Schedule | None:
    """Return it with a shorter plateau, and what follows that earlier; None where there is none, or too little."""
    bend = min((mark for mark in schedule.breakpoints() if mark > at), default=schedule.end)
    last = math.ceil(bend) - 1
    seam = last - (schedule.length - new_length)
    if seam < at or seam <= schedule.zero or not flat(schedule, at, last):
        return None
    earlier = changed(schedule, zero=schedule.zero - (schedule.length - new_length))
    return join(schedule, earlier, seam)


def _decay_to_the_end(schedule: Schedule, new_length: int, at: int) -> Schedule:
    level, last = schedule.at(at), schedule.at(schedule.end)
    end = schedule.zero + new_length
    floor = min(level, last)
    tail = line(schedule, at, end - at, level, floor)
    if floor < level and abs(schedule.at(at + 1) - level) <= SAME * level:
        body = WSD(cooldown=1.0, shape="sqrt").model_dump()
        share = floor / level
        tail = built(
            zero=at, length=end - at, peak=level, floor=share, unit=schedule.unit, body=body
        )
    return join(schedule, tail, at) if at > schedule.zero else tail
