"""Proposals: segments that wait for a person, until they are approved, rejected, or passed by the job."""

from typing import Any

from pacesetter.protocol import Acknowledgement, Segment
from sqlalchemy import func, select, update

from pacesetter_service.database.models import SegmentRow
from pacesetter_service.errors import Conflict, NotFound
from pacesetter_service.jobs.open_job import OpenJob
from pacesetter_service.overrides.judging import require_allowed
from pacesetter_service.overrides.schemas import ApproveProposal, RejectProposal
from pacesetter_service.planning.commit import plan_now
from pacesetter_service.planning.registry import Registry
from pacesetter_service.planning.requests import running_now
from pacesetter_service.segments import repository as segments
from pacesetter_service.views import OverrideResult


def approve(job: OpenJob, wish: ApproveProposal) -> OverrideResult:
    """Send a proposal to the job.

    Raises:
        NotFound: There is none of that number.
        Conflict: It has expired, or continues one that still waits.
        Refused: The limits forbid it where the job stands now.
    """
    row = _proposal(job, wish.seq)
    segment = Segment.model_validate_json(row.plan)
    newest = job.tx.execute(
        select(func.coalesce(func.max(SegmentRow.seq), 0)).where(
            SegmentRow.job == job.id, SegmentRow.visible
        )
    ).scalar_one()
    if row.status == "expired" or _last_chance(segment) <= job.main_position or newest > wish.seq:
        raise Conflict(
            f"proposal {wish.seq} has expired: the job is at {job.main_position}",
            code="PROPOSAL_EXPIRED",
            hint="wait for the next proposal",
        )
    segment = segment.model_copy(update={"after": _predecessor(job, segment)})
    spec = job.load_spec()
    require_allowed(
        job, spec, (segment,), segments.driving(job.tx, job.id, spec, job.main_position)
    )
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


def _proposal(job: OpenJob, seq: int) -> Any:
    row = segments.get_segment(job.tx, job.id, seq)
    if row is None or row.status not in ("proposed", "expired") or row.visible:
        raise NotFound(
            f"job {job.id!r} has no proposal {seq}",
            code="PROPOSAL_NOT_FOUND",
            hint="find proposals among the job's events",
        )
    return row


def _predecessor(job: OpenJob, segment: Segment) -> int:
    """Return the segment that an approved one continues."""
    before = segments.get_segment(job.tx, job.id, segment.after)
    if before is None or before.visible:
        return segment.after
    if before.status == "proposed":
        raise Conflict(
            f"proposal {segment.seq} continues proposal {segment.after}, which nobody has approved",
            code="PROPOSAL_WAITS",
            hint=f"approve {segment.after} first",
        )
    return running_now(job)


def _last_chance(segment: Segment) -> int:
    """Return the main-line position from which on it is too late for a proposal."""
    # A main segment can be taken up anywhere on its way; what leaves the main line leaves it at its start.
    return segment.end if segment.kind == "main" else segment.start + 1


def reject(job: OpenJob, wish: RejectProposal, registry: Registry) -> OverrideResult:
    """Turn a proposal down with all that continues it, and let the strategy plan anew.

    Raises:
        NotFound: There is none of that number.
        Conflict: It has expired.
    """
    row = _proposal(job, wish.seq)
    if row.status == "expired":
        raise Conflict(
            f"proposal {wish.seq} has expired",
            code="PROPOSAL_EXPIRED",
            hint="reject the next proposal, or set what you want",
        )
    behind = [each for each in segments.open_proposals(job.tx, job.id) if each.seq > wish.seq]
    event = job.add_event(
        "rejected",
        {"seq": wish.seq, "by": wish.by, "reason": wish.reason},
        segment=wish.seq,
        position=job.main_position,
    )
    detail = f"{wish.by} rejected it: {wish.reason}" if wish.reason else f"{wish.by} rejected it"
    _close(job, wish.seq, "refused", "REJECTED", detail)
    for each in behind:
        _close(job, each.seq, "expired", "NOT_APPROVED", f"it continued {wish.seq}")
    plan_now(job, registry)
    return OverrideResult((), event)


def expire_passed(job: OpenJob) -> None:
    """Close every proposal that the job has passed, with all that continues it, and tell the strategy."""
    waiting = segments.open_proposals(job.tx, job.id)
    passed = [each.seq for each in waiting if _last_chance(each) <= job.main_position]
    for each in waiting:
        if passed and each.seq >= min(passed):
            _close(job, each.seq, "expired", "NOT_APPROVED", "nobody approved it in time")


def _close(job: OpenJob, seq: int, status: str, code: str, detail: str) -> None:
    """Close a proposal, and tell the strategy what a job would say of a segment that it did not run."""
    job.tx.execute(
        update(SegmentRow)
        .where(SegmentRow.job == job.id, SegmentRow.seq == seq)
        .values(status=status)
    )
    body = Acknowledgement.model_validate(
        {
            "number": 1,
            "segment": seq,
            "position": job.main_position,
            "status": status,
            "code": code,
            "detail": detail,
        }
    )
    job.due_event = job.add_event(
        "acknowledgement",
        body,
        reducible=True,
        session=job.session,
        segment=seq,
        position=job.main_position,
    )
