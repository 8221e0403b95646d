"""Carry out what a person asked for: as segments like any other, with the person's name in the audit trail."""

from pacesetter.protocol import PERSON, JobSpec, Reason, Segment, SegmentPlan
from pacesetter.schedules import Schedule
from pacesetter_search.contract import Overridden
from sqlalchemy import func, select, update

from pacesetter_service.database.models import SegmentRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import Conflict, NotFound, Refused
from pacesetter_service.jobs.open_job import ENDED, OpenJob, lock_job
from pacesetter_service.overrides.schemas import (
    ApproveProposal,
    BackToStrategy,
    DecayNow,
    Override,
    SetMultiplier,
)
from pacesetter_service.planning.commit import first_obstacle, plan_now
from pacesetter_service.planning.decisions import store_decision
from pacesetter_service.planning.messages import Facts
from pacesetter_service.planning.registry import Registry
from pacesetter_service.planning.requests import running_now
from pacesetter_service.segments import repository as segments
from pacesetter_service.views import OverrideResult


def override(tx: Transaction, job_id: str, wish: Override, registry: Registry) -> OverrideResult:
    """Carry out ``wish``.

    Raises:
        NotFound: No such job or proposal.
        Conflict: The job has ended, or the proposal has expired.
        Refused: The job cannot execute it.
    """
    job = lock_job(tx, job_id)
    if job.status in ENDED:
        raise Conflict(
            f"the job is {job.status}", code="JOB_ENDED", hint="start it again to steer it"
        )
    if isinstance(wish, ApproveProposal):
        result = _approve(job, wish)
    elif isinstance(wish, BackToStrategy):
        result = _hand_back(job, wish, registry)
    else:
        result = _take_over(job, wish)
    job.save()
    return result


def _approve(job: OpenJob, wish: ApproveProposal) -> OverrideResult:
    row = segments.get_segment(job.tx, job.id, wish.seq)
    if row is None or row.status not in ("proposed", "expired"):
        raise NotFound(
            f"job {job.id!r} has no proposal {wish.seq}",
            code="PROPOSAL_NOT_FOUND",
            hint="find proposals among the job's events",
        )
    segment = Segment.model_validate_json(row.plan)
    newest = job.tx.execute(
        select(func.coalesce(func.max(SegmentRow.seq), 0)).where(
            SegmentRow.job == job.id, SegmentRow.visible
        )
    ).scalar_one()
    if row.status == "expired" or segment.end <= job.main_position or newest > wish.seq:
        raise Conflict(
            f"proposal {wish.seq} has expired: the job is at {job.main_position}",
            code="PROPOSAL_EXPIRED",
            hint="wait for the next proposal",
        )
    before = segments.get_segment(job.tx, job.id, segment.after)
    if before is not None and not before.visible:
        segment = segment.model_copy(update={"after": running_now(job)})
    job.tx.execute(
        update(SegmentRow)
        .where(SegmentRow.job == job.id, SegmentRow.seq == wish.seq)
        .values(
            status="sent",
            visible=True,
            after=segment.after,
            plan=segment.model_dump_json(by_alias=True),
        )
    )
    job.tx.wakes.add(job.id)
    event = job.add_event(
        "approved",
        {"seq": wish.seq, "by": wish.by, "reason": wish.reason},
        segment=wish.seq,
        position=job.main_position,
    )
    return OverrideResult((wish.seq,), event)


def _hand_back(job: OpenJob, wish: BackToStrategy, registry: Registry) -> OverrideResult:
    last = job.last_seq
    if not job.overridden:
        return OverrideResult((), job.last_event)
    job.overridden = False
    job.add_event("handed_back", {"by": wish.by, "reason": wish.reason})
    event = _tell_strategy(job, active=False)
    plan_now(job, registry)
    return OverrideResult(tuple(range(last + 1, job.last_seq + 1)), event)


def _tell_strategy(job: OpenJob, *, active: bool) -> int:
    body = Overridden(active=active, seq=job.last_seq, position=job.main_position)
    job.due_event = job.add_event(
        "overridden",
        body,
        reducible=True,
        session=job.session,
        segment=job.last_seq,
        position=job.main_position,
    )
    return job.due_event


def _take_over(job: OpenJob, wish: SetMultiplier | DecayNow) -> OverrideResult:
    spec = job.load_spec()
    if job.main_position >= spec.budget.total:
        raise Conflict("the budget is used up", code="BUDGET_USED", hint="nothing is left to steer")
    running = running_now(job)
    plans = _plans(job, wish, spec)
    facts = Facts.of(spec, job.authority, job.overhead_cap)
    found = first_obstacle(job, plans, facts)
    if found is not None:
        raise Refused(
            f"the job cannot execute this: {found}",
            code="SEGMENT_REFUSED",
            hint="see the job's capabilities and limits",
        )
    sent = segments.send(job, plans, running, proposed=False)
    job.draws += len(sent)
    job.overridden = True
    store_decision(job, job.reduced_through, job.main_position, job.load_state(), sets_main=True)
    job.add_event(
        "override",
        {"by": wish.by, "wish": wish.model_dump(mode="json"), "segments": [s.seq for s in sent]},
        segment=sent[0].seq,
        position=job.main_position,
    )
    event = _tell_strategy(job, active=True)
    return OverrideResult(tuple(segment.seq for segment in sent), event)


def _current_policy(job: OpenJob, spec: JobSpec) -> Schedule:
    """Return the policy of the main line where it stands."""
    seq = segments.covering_main(job.tx, job.id, job.main_position)
    row = segments.get_segment(job.tx, job.id, seq)
    return spec.base if row is None else Segment.model_validate_json(row.plan).policy


def _plans(job: OpenJob, wish: SetMultiplier | DecayNow, spec: JobSpec) -> tuple[SegmentPlan, ...]:
    start, total = job.main_position, spec.budget.total
    if isinstance(wish, SetMultiplier):
        policy = Schedule(length=total, peak=wish.multiplier)
        text = f"{wish.by} set the multiplier to {wish.multiplier:g}"
        return (_main(start, total - start, policy, text, wish.reason),)
    present = _current_policy(job, spec)
    policy = Schedule.model_validate(
        {
            "zero": start,
            "length": wish.over,
            "peak": present.at(start),
            "floor": wish.floor,
            "unit": present.unit,
            "body": {"family": "linear"},
        }
    )
    text = f"{wish.by} asked for a decay over {wish.over}"
    if not spec.limits.allow_shorter_main or start + wish.over >= total:
        # The main line goes on to its budget on what the decay ends with.
        return (_main(start, total - start, policy, text, wish.reason),)
    stop = SegmentPlan(
        kind="stop",
        start=start + wish.over,
        length=0,
        policy=policy,
        reason=Reason(text=f"{text}; it ends here"),
        origin=PERSON,
    )
    return (_main(start, wish.over, policy, text, wish.reason), stop)


def _main(start: int, length: int, policy: Schedule, text: str, why: str) -> SegmentPlan:
    return SegmentPlan(
        kind="main",
        when="now",
        start=start,
        length=length,
        policy=policy,
        reason=Reason(text=f"{text}: {why}" if why else text),
        origin=PERSON,
    )
