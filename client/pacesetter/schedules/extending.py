"""Makes a schedule longer while it runs."""

import math

import numpy as np

from pacesetter.errors import ScheduleError
from pacesetter.schedules.joined import Joined, whole
from pacesetter.schedules.joining import assembled, changed, join, line, pieces_of
from pacesetter.schedules.schedule import Schedule
from pacesetter.schedules.step import Step
from pacesetter.schedules.table import Table
from pacesetter.schedules.wsd import WSD

REWARMUP_SHARE = 0.01
"""Of what remains. 0.5 or 2 % hardly differ, and none at all spikes [Ibrahim2024, arXiv 2403.08763]."""

SAME = 1e-12
"""Difference, as a share of the peak, up to which two values count as one."""


def extend(
    schedule: Schedule,
    new_length: int,
    at: int,
    *,
    cooldown: float | None = None,
    rewarmup: int | None = None,
) -> Schedule:
    """Return the schedule for a budget that was made longer when the run stood at ``at``.

    * Where the schedule has not felt its end before ``at``, it is laid over the new length, and shares become shares of
      that: in the warm-up, in laws without a horizon (``constant``, ``inverse_sqrt``), on the plateau of ``wsd``, which
      stays there. At the same peak a longer cooldown pays: for twice the length 0.63 after 0.2, by the convex bound
      [Schaipp2025, arXiv 2501.18965]; a 124M model taken from 50k to 100k steps ended at 2.888 with 0.6, at 2.904 with
      0.2. ``cooldown`` sets it.
    * ``step`` keeps the milestones passed and lays the others anew; ``table`` stretches what remains.
    * Any other plateau is held for longer, and what follows it comes later.
    * What is bound to its horizon (cosine, linear, every decay under way) falls in a line to where it would have ended:
      from where it stands or, where that is lower, from where a line over the whole new length stands, after a
      re-warm-up. The rate never rises above what the schedule began at. By the same bound, at the best base rate for
      1500, a linear decay of 1000 that is extended to that is then .2 % (at 500) and 1.5 % (at 750) above one that was
      so long from the start, and a line from where it stands 1.5 and 5.2 %. That line is better where the base rate is
      too high for the new length, and beats a new cosine there: ``rewarmup=0``.
    * Of a ``joined`` schedule the last piece is extended.

    Args:
        schedule: The plan so far.
        new_length: Counted from its zero, in the job's clock; at least its length.
        at: Where the run stands, at most the old end.
        cooldown: For ``wsd`` before its cooldown: the new share of the length.
        rewarmup: Length of the re-warm-up where there is one, by default a hundredth of what remains. 0: the rate does
            not rise.

    Raises:
        ScheduleError: The length shrinks, ``at`` is past the end, the rate has reached zero there, or the cooldown
            would begin before ``at``.
    """
    _check(schedule, new_length, at)
    if cooldown is not None:
        return _with_cooldown(schedule, new_length, at, cooldown)
    if new_length == schedule.length:
        return schedule
    body = schedule.body
    if isinstance(body, Joined):
        return _longer_joined(schedule, new_length, at, rewarmup)
    longer = changed(schedule, length=new_length)
    if same_until(at, schedule, longer):
        return longer
    if isinstance(body, Step):
        return steps_laid_anew(schedule, new_length, at)
    if isinstance(body, Table) and at < schedule.end:
        return table_stretched(schedule, new_length, at)
    held = _held(schedule, new_length, at)
    return held or _line_to_the_end(schedule, new_length, at, rewarmup)


def _check(schedule: Schedule, new_length: int, at: int) -> None:
    if new_length < schedule.length:
        raise ScheduleError(
            f"a length of {new_length:,} is shorter than the present {schedule.length:,}; "
            "make it so with shorten"
        )
    if at > schedule.end:
        raise ScheduleError(
            f"position {at:,} is past the end at {schedule.end:,}; extend before that"
        )


def same_until(at: int, schedule: Schedule, other: Schedule) -> bool:
    """Return whether both have the same values up to and at ``at``."""
    bends = np.array([*schedule.breakpoints(), *other.breakpoints()])
    marks = np.concatenate([np.linspace(schedule.zero, at, 65).round(), bends, bends + 1.0])
    places = np.unique(np.floor(marks[marks <= at]))
    apart = np.abs(schedule.over(places) - other.over(places))
    return bool(apart.max(initial=0.0) <= SAME * schedule.peak)


def flat(schedule: Schedule, first: int, last: int) -> bool:
    """Return whether the value is the same from ``first`` to ``last``, between which there is no bend."""
    places = np.linspace(first, max(first, last), 9).round()
    return bool(np.ptp(schedule.over(places)) <= SAME * schedule.at(first))


def _with_cooldown(schedule: Schedule, new_length: int, at: int, share: float) -> Schedule:
    body = schedule.body
    if not isinstance(body, WSD):
        raise ScheduleError(f"cooldown={share:g} is for wsd, not for {body.family}; leave it out")
    document = {**body.model_dump(), "cooldown": share}
    longer = changed(schedule, length=new_length, body=document)
    if not same_until(at, schedule, longer):
        begin = min(schedule.breakpoints()[-2], longer.breakpoints()[-2])
        raise ScheduleError(
            f"a cooldown has begun at {begin:,.0f}, before {at:,}; leave cooldown out, "
            f"or extend before the old one with at most {(longer.end - at) / new_length:g}"
        )
    return longer


def steps_laid_anew(schedule: Schedule, new_length: int, at: int) -> Schedule:
    """Return a ``step`` schedule of another length that keeps the milestones passed."""
    body, extent = schedule.body, schedule.extent
    assert isinstance(body, Step)
    here = (at - schedule.zero - extent.warmup) / extent.body
    milestones = [
        share * schedule.length / new_length if kink <= here + SAME else share
        for share, kink in zip(body.milestones, body.kinks(extent), strict=True)
    ]
    document = {**body.model_dump(), "milestones": milestones}
    return changed(schedule, length=new_length, body=document)


def table_stretched(schedule: Schedule, new_length: int, at: int) -> Schedule:
    """Return a ``table`` of another length with the values until ``at``, and the others over what remains."""
    body = schedule.body
    assert isinstance(body, Table)
    old = schedule.extent.body
    new = new_length - schedule.extent.warmup
    here = at - schedule.zero - schedule.extent.warmup
    stretch = (new - here) / (old - here)
    points: dict[float, float] = {}
    for x, value in zip(body.positions, body.values, strict=True):
        since = whole(x * old, old)
        points[(since if since < here else here + (since - here) * stretch) / new] = value
    if body.interpolation == "linear":
        points[here / new] = body.at(here / old, schedule.extent)
    # Rounding must not move the ends, which a table has at 0 and 1.
    points = {x: value for x, value in points.items() if 0.0 < x < 1.0}
    points |= {0.0: body.values[0], 1.0: body.values[-1]}
    places = sorted(points)
    table = {"positions": places, "values": [points[x] for x in places]}
    return changed(schedule, length=new_length, body={**body.model_dump(), **table})


def _longer_joined(schedule: Schedule, new_length: int, at: int, rewarmup: int | None) -> Schedule:
    *before, last = pieces_of(schedule, schedule.zero)
    begin, end = schedule.zero + last.start, schedule.zero + new_length
    tail = changed(last.schedule, zero=last.schedule.zero + schedule.zero)
    stands = max(at, begin)
    if tail.end >= end:  # the piece was cut off, and what was cut off is now to come
        return changed(schedule, length=new_length)
    if stands <= tail.end:
        tail = extend(tail, end - tail.zero, stands, rewarmup=rewarmup)
    else:
        tail = line(tail, stands, end - stands, tail.at(stands), tail.at(stands))
    if not before:
        return tail
    trunk = assembled(schedule, before, last.start)
    return join(trunk, tail, begin, continuous=last.seam == "continuous")


def _held(schedule: Schedule, new_length: int, at: int) -> Schedule | None:
    """Return a plateau held for longer, with what follows it later; None where there is no plateau."""
    bend = min((mark for mark in schedule.breakpoints() if mark > at), default=schedule.end)
    last = math.ceil(bend) - 1
    level = schedule.at(at)
    if last <= at or level == 0.0 or not flat(schedule, at, last):
        return None
    later = new_length - schedule.length
    shifted = changed(schedule, zero=schedule.zero + later)
    held = line(schedule, at, last + later - at, level, level)
    return join(join(schedule, held, at), shifted, last + later)


def _line_to_the_end(
    schedule: Schedule, new_length: int, at: int, rewarmup: int | None
) -> Schedule:
    level, last, end = schedule.at(at), schedule.at(schedule.end), schedule.zero + new_length
    if level == 0.0:
        raise ScheduleError(
            f"the rate at {at:,} is zero and would stay there; go back to an earlier checkpoint, "
            "or warm up again with resume_trunk"
        )
    floor = min(level, last)
    rise = max(1, round(REWARMUP_SHARE * (end - at))) if rewarmup is None else rewarmup
    begin = schedule.zero + schedule.extent.warmup
    above = schedule.at(begin) - floor
    top = floor + above * (end - at - rise) / (end - begin)
    if top <= level * (1.0 + SAME) or rise <= 0:
        return join(schedule, line(schedule, at, end - at, level, floor), at)
    risen = join(schedule, line(schedule, at, rise, level, top), at)
    seam = at + rise
    return join(risen, line(schedule, seam, end - seam, top, floor), seam)
