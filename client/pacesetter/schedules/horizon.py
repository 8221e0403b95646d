"""Schedules when the horizon changes: a longer or shorter budget, a decay branched off a trunk, a trunk resumed.

Each function returns a schedule as plain as any other: it survives JSON, goes into a segment and into a scheduler of
torch's. Positions are main-line positions in the job's clock; ``at`` is that of the first step that follows the new
plan. Before it the values are those of the old plan.
"""

import numpy as np

from pacesetter.errors import ScheduleError
from pacesetter.schedules.constant import Constant
from pacesetter.schedules.cooldowns import CooldownShape
from pacesetter.schedules.extending import REWARMUP_SHARE, extend, flat
from pacesetter.schedules.families import AnyFamily
from pacesetter.schedules.joined import Joined, whole
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
from pacesetter.schedules.shortening import shorten
from pacesetter.schedules.wsd import WSD

__all__ = ["branch_decay", "extend", "for_budget", "join", "resume_trunk", "shorten"]


def for_budget(
    schedule: Schedule, total: int, at: int, *, before: int, rewarmup: int | None = None
) -> Schedule:
    """Return what a main line that followed ``schedule`` to its end at ``before`` follows to ``total`` instead.

    What is bound to its end goes through :func:`extend` or :func:`shorten`. What is not stays as it is: a plan that is
    over before either end and holds what it came to, and one that goes on beyond both.

    Args:
        schedule: What runs.
        total: Position at which the main line is to end.
        at: Where the run stands, before ``total``.
        before: Position at which it was to end.
        rewarmup: Length of a re-warm-up, see :func:`extend`.

    Raises:
        ScheduleError: The rate at ``at`` is zero and the main line is to go on, or ``at`` is not before ``total``.
    """
    if at >= total:
        raise ScheduleError(
            f"position {at:,} is not before the new end at {total:,}; give a later one"
        )
    if total > before:
        return _longer(schedule, total, at, before, rewarmup)
    if schedule.end <= total or schedule.zero >= total or total == before:
        return schedule
    if schedule.end > before:
        if _flat_until(before, schedule, at):
            return schedule
        schedule = shortened(schedule, before - schedule.zero)  # the rest was never to come
    return shorten(schedule, total - schedule.zero, at)


def _flat_until(end: int, schedule: Schedule, at: int) -> bool:
    bends = (mark for mark in schedule.breakpoints() if at < mark < end)
    return next(bends, None) is None and flat(schedule, at, end)


def _longer(schedule: Schedule, total: int, at: int, before: int, rewarmup: int | None) -> Schedule:
    if _run_out(schedule, at):
        raise ScheduleError(
            f"the rate at {at:,} is zero and would stay there; go back to an earlier checkpoint, "
            "or warm up again with resume_trunk"
        )
    holds = schedule.end < before and schedule.at(schedule.end) > 0.0
    if holds or schedule.end >= total:
        return schedule
    return extend(schedule, total - schedule.zero, at, rewarmup=rewarmup)


def _run_out(schedule: Schedule, at: int) -> bool:
    """Return whether the rate is zero from ``at`` on."""
    bends = np.array(schedule.breakpoints())
    marks = np.concatenate([np.linspace(at, max(at, schedule.end), 65).round(), bends, bends + 1.0])
    return bool(schedule.over(marks[marks >= at]).max() == 0.0)


def branch_decay(
    trunk: Schedule,
    at: int,
    length: int,
    tail: CooldownShape | AnyFamily = "sqrt",
    *,
    floor: float = 0.0,
) -> Schedule:
    """Return the trunk until ``at``, then a decay of ``length`` from the rate that it has there.

    One trunk gives models for several budgets, each for the price of its decay [Hu2024, arXiv 2404.06395]: start every
    branch from the trunk's checkpoint at its ``at``, or go on from the decayed state with :func:`resume_trunk`.

    Args:
        trunk: What runs until then.
        at: After the zero of the trunk.
        length: Of the decay, in the job's clock.
        tail: A shape of a cooldown, or a family that starts at 1 and is laid over the decay. By default 1-sqrt, which
            beats a line where the decay is short [Hagele2024, arXiv 2405.18392].
        floor: Where it ends, as a share of the rate at ``at``.

    Raises:
        ScheduleError: The trunk's rate is zero at ``at``, or the tail does not start at 1.
    """
    level = trunk.at(at)
    if level == 0.0:
        raise ScheduleError(f"the rate at {at:,} is zero; branch where the trunk still trains")
    body = WSD(cooldown=1.0, shape=tail) if isinstance(tail, str) else tail
    document = body.model_dump()
    decay = built(zero=at, length=length, peak=level, floor=floor, unit=trunk.unit, body=document)
    return join(trunk, decay, at)


def resume_trunk(
    decayed: Schedule,
    at: int,
    *,
    length: int | None = None,
    rewarmup: int | None = None,
) -> Schedule:
    """Return the schedule that goes back to its trunk at ``at``, after a decay.

    ``at`` up to where the decay begins: the state is the trunk's checkpoint, and the decay is as if it had never been
    (WSD). After that the decayed state goes on at the trunk's rate, so that no step is lost (WSD-S [Wen2024,
    arXiv 2410.05192]). The trunk does not decay at its end: call :func:`branch_decay` for that.

    Args:
        decayed: What :func:`branch_decay` made, or a ``wsd`` schedule, whose trunk is its plateau.
        at: Position of the state from which the run goes on.
        length: Of the result, counted from its zero; by default the trunk's, and where that was joined itself, until
            the end of the piece that was in force. A trunk that is too short is extended, one too long cut off.
        rewarmup: Length of the line up from the decayed rate, by default a hundredth of what remains. 0 jumps, as
            published for WSD-S.

    Raises:
        ScheduleError: There is no trunk to go back to, or nothing of it is left at ``at``.
    """
    trunk, begin = _trunk(decayed)
    if length is not None and length > trunk.length:
        trunk = extend(trunk, length, min(at, trunk.end))
    elif length is not None and length < trunk.length:
        trunk = shortened(trunk, length)
    rest = trunk.end - at
    if rest <= 0:
        raise ScheduleError(
            f"the trunk ends at {trunk.end:,}, and nothing of it is left at {at:,}; "
            f"give a length above {at - trunk.zero:,}"
        )
    if at <= begin:
        return trunk
    rise = max(1, round(REWARMUP_SHARE * rest)) if rewarmup is None else rewarmup
    if not 0 <= rise < rest:
        raise ScheduleError(
            f"a re-warm-up of {rise:,} does not fit into the {rest:,} that are left; give a shorter one"
        )
    if rise == 0:
        return join(decayed, trunk, at, continuous=False)
    back = line(trunk, at, rise, decayed.at(at), trunk.at(at + rise))
    return join(join(decayed, back, at), trunk, at + rise)


def _trunk(decayed: Schedule) -> tuple[Schedule, float]:
    """Return what ran before the last decay, and where that began."""
    if isinstance(decayed.body, WSD):
        begin = whole(decayed.breakpoints()[-2] - decayed.zero, decayed.length)
        return changed(decayed, body=Constant().model_dump()), decayed.zero + begin
    if isinstance(decayed.body, Joined) and len(decayed.body.pieces) > 1:
        *pieces, decay = pieces_of(decayed, decayed.zero)
        trunk = assembled(decayed, pieces, pieces[-1].schedule.end)
        return trunk, decayed.zero + decay.start
    raise ScheduleError(
        f"{decayed.body.family} has no trunk to go back to; "
        "resume what branch_decay made, or a wsd schedule"
    )
