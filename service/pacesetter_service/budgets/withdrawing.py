"""A budget that the job would not have: the service goes back to the one that the job trains to."""

import json

from pacesetter.protocol import Acknowledgement, Finished, Segment
from sqlalchemy import Select, select

from pacesetter_service.budgets.changing import adopt, handles, tell
from pacesetter_service.budgets.history import Change, changes, planned_for, record
from pacesetter_service.budgets.plans import Move
from pacesetter_service.database.models import SegmentRow
from pacesetter_service.jobs.open_job import OpenJob
from pacesetter_service.overrides.telling import tell_overridden
from pacesetter_service.planning.registry import Registry


def after_refusal(job: OpenJob, answer: Acknowledgement, registry: Registry) -> None:
    """Take a budget back that the job refused to have, or had passed when it arrived.

    Nothing happens where another segment that brings it is on its way, or is followed already.
    """
    if job.budget is None or answer.status in ("applied", "unpaired"):
        return
    passed = job.budget <= answer.position
    if answer.status != "refused" and not passed:
        return  # the strategy plans anew, and its next segment brings the budget
    total = _followed(job)
    if total != job.budget:
        withdraw(job, registry, total, answer.code or answer.status, answer.detail or "")


def after_end(job: OpenJob, end: Finished, registry: Registry) -> None:
    """Take a budget back that did not reach the job before its end: a job ends at the one that it has."""
    if job.budget is None or not end.completed or _was_stopped(job):
        return
    known = changes(job.tx, job.id)
    reached = {known[0].before, *(each.total for each in known)}
    total = max((each for each in reached if each <= end.position), default=job.budget)
    if total != job.budget:
        detail = f"the job ended at {end.position} before it heard of it"
        withdraw(job, registry, total, "FINISHED", detail, ended=True)


def withdraw(
    job: OpenJob, registry: Registry, total: int, code: str, detail: str, *, ended: bool = False
) -> None:
    """Go back to the budget ``total``, and say why; a strategy that was put aside for the change has the job again."""
    assert job.budget is not None
    known, current = changes(job.tx, job.id), job.load_spec()
    move = Move(job.budget, total, job.main_position)
    change = Change(
        cause="refused",
        by="job",
        reason=f"{code}: {detail}",
        before=move.before,
        total=total,
        base_before=current.base.model_dump(mode="json"),
        took_over=False,
        seq=job.last_seq,
        position=job.main_position,
        session=job.session,
    )
    earlier = next((each for each in reversed(known) if each.before == total), None)
    adopt(job, total, None if earlier is None else json.dumps(earlier.base_before))
    record(job, change, ())
    if ended:
        return
    # Only the first change since that budget put the strategy aside; the later ones found it so.
    back = next((n for n, each in enumerate(known) if each.before == total), len(known))
    if job.overridden and any(each.took_over for each in known[back:] or known[-1:]):
        job.overridden = False
        job.add_event("handed_back", {"by": "job", "reason": change.reason})
        tell_overridden(job, active=False)
    elif handles(job, registry):
        tell(job, move)


def _followed(job: OpenJob) -> int:
    """Return the budget that the job has, or will have once it takes up what is on its way."""
    row = job.tx.execute(
        _segments_of(job)
        .where(SegmentRow.kind == "main", SegmentRow.status.in_(("sent", "applied")))
        .order_by(SegmentRow.seq.desc())
        .limit(1)
    ).one_or_none()
    own = [each for each in changes(job.tx, job.id) if each.cause == "restart"]
    if own and (row is None or row.seq <= own[-1].seq):
        return own[-1].total  # its training code gave it, and nobody asked
    return planned_for(job, None if row is None else Segment.model_validate_json(row.plan).budget)


def _was_stopped(job: OpenJob) -> bool:
    stops = _segments_of(job).where(SegmentRow.kind == "stop", SegmentRow.status == "applied")
    return job.tx.execute(stops.limit(1)).first() is not None


def _segments_of(job: OpenJob) -> Select[int, str]:
    return select(SegmentRow.seq, SegmentRow.plan).where(
        SegmentRow.job == job.id, SegmentRow.visible
    )
