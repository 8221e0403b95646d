"""What every strategy has to know of a job that follows one main segment after another."""

from pacesetter.feedback import AnyFeedback
from pacesetter.judgement import Refusal, check_segment, highest_multiplier
from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Measurements,
    Notice,
    Reason,
    SegmentEnded,
    SegmentPlan,
)
from pacesetter.schedules import Schedule

from pacesetter_search.contract import Body, BudgetChanged, JobFacts, Overridden, Registered


def position_of(body: Body) -> int:
    """Return the main-line position that an event was reported at."""
    if isinstance(body, SegmentEnded):
        return body.main_position
    return 0 if isinstance(body, Registered | Measurements | Notice) else body.position


def has_left(seq: int | None, body: Body) -> bool:
    """Return whether, after ``body``, the job is not on the main segment ``seq`` that it was sent last.

    A refusal is no leaving: sending the same again changes nothing.
    """
    if seq is None or isinstance(body, Overridden | BudgetChanged):
        return True
    if isinstance(body, FellBack):
        return body.follows != seq
    if isinstance(body, Acknowledgement):
        return body.segment == seq and body.status in ("stale", "superseded", "expired")
    return isinstance(body, SegmentEnded) and body.kind != "main"


def main_segment(
    job: JobFacts,
    start: int,
    policy: Schedule,
    reason: Reason,
    origin: str,
    *,
    end: int | None = None,
    feedback: AnyFeedback | None = None,
) -> SegmentPlan:
    """Return a main segment that begins at once, to ``end`` or to the end of the budget."""
    total = job.budget.total
    return SegmentPlan(
        kind="main",
        when="now",
        start=start,
        length=(total if end is None else min(end, total)) - start,
        policy=policy,
        feedback=feedback,
        reason=reason,
        origin=origin,
    )


def refusal_of(plan: SegmentPlan, job: JobFacts) -> Refusal | None:
    """Return why the client would refuse a segment, as far as that can be known here; None if it would not."""
    return check_segment(
        plan,
        job.limits,
        current_multiplier=None,
        budget_total=job.budget.total,
        clock=job.budget.clock,
        base_schedule=job.base,
        capabilities=job.capabilities,
        groups=job.groups,
    )


def room_above(job: JobFacts, origin: str) -> float:
    """Return how many times the base schedule's peak the limits allow, for every group."""
    rooms = []
    for group in job.groups:
        divisor = group.base_lr if job.base.unit == "absolute" else 1.0
        allowed = highest_multiplier(
            job.limits, job.base, kind="main", origin=origin, base_lr=group.base_lr
        )
        rooms.append(allowed / (job.base.peak / divisor) if job.base.peak > 0.0 else 1.0)
    return min(rooms)
