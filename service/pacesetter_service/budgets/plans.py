"""What a job goes on with when its budget changes: what it follows, extended or cut short."""

from dataclasses import dataclass

import numpy as np
from pacesetter.errors import ScheduleError
from pacesetter.limits import Limits
from pacesetter.protocol import PERSON, JobSpec, Measure, Reason, Segment, SegmentPlan
from pacesetter.schedules import Schedule
from pacesetter.schedules.horizon import for_budget

from pacesetter_service.errors import Refused
from pacesetter_service.overrides.plans import feedback_of, one_policy


@dataclass(frozen=True, slots=True)
class Move:
    """From one budget to another.

    Attributes:
        before: The budget that what runs was planned for.
        total: The new one.
        at: Main-line position from which on the plan is another.
    """

    before: int
    total: int
    at: int


def moved(schedule: Schedule, move: Move, limits: Limits) -> Schedule:
    """Return a schedule for the new budget.

    It does not rise where the job might not take that for its ``max_change_per_step``: a job is some steps further than
    it has said, so what is a ramp here is a jump there.

    Raises:
        Refused: It has run out (``NOTHING_TO_EXTEND``).
    """
    try:
        found = for_budget(schedule, move.total, move.at, before=move.before)
        most = limits.max_change_per_step
        if most is None or _highest(found, move) <= most * schedule.at(move.at):
            return found
        return for_budget(schedule, move.total, move.at, before=move.before, rewarmup=0)
    except ScheduleError as error:
        raise Refused(
            f"what the job follows cannot lead to {move.total}: {error}",
            code="NOTHING_TO_EXTEND",
            hint="set a schedule that warms up again first (kind 'schedule', see resume_trunk), or start the training "
            "code again with the new budget and a base schedule for it",
        ) from error


def carried_on(
    spec: JobSpec, driving: dict[str, Segment | None], start: int, move: Move, text: str
) -> SegmentPlan:
    """Return the main segment that takes a job from ``start`` to the end of its new budget.

    What watches the main line stays with it: stop clauses, snapshots and a feedback rule.

    Args:
        spec: The job, with its new budget and the base schedule for it.
        driving: For each control set the segment that drives it; None is the base schedule.
        start: Where the job stands.
        move: From which budget to which.
        text: One sentence for people.

    Raises:
        Refused: The control sets follow schedules of their own (``MIXED_POLICIES``), or the rate has come to zero
            (``NOTHING_TO_EXTEND``).
    """
    running = next((each for each in driving.values() if each is not None), None)
    present = one_policy(spec, driving)
    keeps = running is not None and spec.capabilities.rollback != "none"
    return SegmentPlan(
        kind="main",
        when="now",
        start=start,
        length=move.total - start,
        budget=move.total,
        # The base schedule is the one for the new budget already.
        policy=present if running is None else moved(present, move, spec.limits),
        feedback=feedback_of(driving),
        stop_if=() if running is None else running.stop_if,
        save_every=running.save_every if running is not None and keeps else None,
        measure=Measure() if running is None else _measure(running),
        reason=Reason(text=text[:2000], numbers={"before": move.before, "total": move.total}),
        origin=PERSON,
    )


def _highest(schedule: Schedule, move: Move) -> float:
    bends = [mark for mark in schedule.breakpoints() if move.at <= mark <= move.total]
    return float(schedule.over(np.array([move.at, *bends, move.total])).max())


def _measure(running: Segment) -> Measure:
    return Measure(report_every=running.measure.report_every)
