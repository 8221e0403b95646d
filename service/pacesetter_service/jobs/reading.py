"""What is read of jobs: views, lists, the audit trail, the main line and the ledger."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pacesetter.protocol import JobSpec, JobStatus, LedgerTotals, Segment
from pydantic import JsonValue
from sqlalchemy import select

from pacesetter_service.budgets.history import first_base
from pacesetter_service.database.models import EventRow, JobRow, SegmentRow, SessionRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.jobs import exporting
from pacesetter_service.jobs.exporting import Format
from pacesetter_service.jobs.open_job import ENDED, job_not_found
from pacesetter_service.paging import bounded, newest_first, page_of
from pacesetter_service.segments.repository import planned_probe
from pacesetter_service.views import EventView, JobView, LedgerView, MainLinePiece, Page


def _view(row: Any) -> JobView:
    spec = JobSpec.model_validate_json(row.spec)
    return JobView(
        id=row.id,
        project=row.project,
        name=row.name,
        external_id=row.external_id,
        status=row.status,
        authority=row.authority,
        strategy=row.strategy,
        overridden=row.overridden,
        spec=spec,
        budget=spec.budget.total if row.budget is None else row.budget,
        session=row.session,
        session_number=row.session_number,
        main_position=row.main_position,
        last_seq=row.last_seq,
        last_event=row.last_event,
        planning=row.due_event > row.reduced_through and row.status not in ENDED,
        experiment=row.experiment,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        tags=row.tags,
    )


_COLUMNS = select(*(column for column in JobRow.__table__.columns if column.name != "state"))


def get_job(tx: Transaction, job_id: str) -> JobView:
    """Return a job. Raises NotFound."""
    row = tx.execute(_COLUMNS.where(JobRow.id == job_id)).one_or_none()
    if row is None:
        raise job_not_found(job_id)
    return _view(row)


def list_jobs(
    tx: Transaction,
    project: str | None,
    page_size: int,
    page_token: str,
    status: JobStatus | None,
) -> Page[JobView]:
    """Return a page of jobs, newest first. Raises Refused for a token or a size that cannot be used."""
    size = bounded(page_size)
    query = newest_first(_COLUMNS, JobRow.created_at, JobRow.id, size, page_token)
    if project is not None:
        query = query.where(JobRow.project == project)
    if status is not None:
        query = query.where(JobRow.status == status)
    rows = tx.execute(query).all()
    return page_of(rows, [_view(row) for row in rows], size)


def list_events(
    tx: Transaction, job_id: str, after: int, page_size: int, types: Sequence[str] = ()
) -> Page[EventView]:
    """Return a page of the audit trail, of some types or (none given) of all. Raises NotFound and Refused."""
    size = bounded(page_size)
    require_job(tx, job_id)
    wanted = (EventRow.type.in_(types),) if types else ()
    rows = tx.execute(
        select(
            EventRow.number,
            EventRow.type,
            EventRow.at,
            EventRow.session,
            EventRow.segment,
            EventRow.position,
            EventRow.body,
        )
        .where(EventRow.job == job_id, EventRow.number > after, *wanted)
        .order_by(EventRow.number)
        .limit(size + 1)
    ).all()
    events = tuple(
        EventView(
            number=row.number,
            type=row.type,
            at=row.at,
            session=row.session,
            segment=row.segment,
            position=row.position,
            body=json.loads(row.body) if row.body else {},
        )
        for row in rows[:size]
    )
    return Page(events, str(events[-1].number) if len(rows) > size else "")


def require_job(tx: Transaction, job_id: str) -> None:
    """Raise NotFound if there is no such job."""
    if tx.execute(select(JobRow.id).where(JobRow.id == job_id)).one_or_none() is None:
        raise job_not_found(job_id)


def main_line(tx: Transaction, job_id: str) -> tuple[MainLinePiece, ...]:
    """Return the pieces of the main line that were applied and kept, oldest first. Raises NotFound."""
    job = get_job(tx, job_id)
    rows = tx.execute(
        select(SegmentRow.plan, SegmentRow.applied_position)
        .where(
            SegmentRow.job == job_id,
            SegmentRow.kind == "main",
            SegmentRow.visible,
            SegmentRow.applied_position.is_not(None),
        )
        .order_by(SegmentRow.seq)
    ).all()
    base = first_base(tx, job_id, job.spec)
    pieces = [MainLinePiece(0, 0, None, base, "all", "base", "the base schedule")]
    for row in rows:
        segment = Segment.model_validate_json(row.plan)
        # A rollback takes the main line back: what it undid is no part of it.
        while pieces and pieces[-1].start >= row.applied_position:
            pieces.pop()
        if pieces:
            pieces[-1] = _ended(pieces[-1], row.applied_position)
        pieces.append(
            MainLinePiece(
                seq=segment.seq,
                start=row.applied_position,
                end=None,
                policy=segment.policy.model_dump(mode="json"),
                controls=segment.controls,
                origin=segment.origin,
                reason=segment.reason.text,
                feedback=_dumped(segment),
            )
        )
    if job.status in ENDED:
        pieces[-1] = _ended(pieces[-1], job.main_position)
    return tuple(pieces)


def export(tx: Transaction, job_id: str, form: Format) -> str:
    """Return the main line as a text in one of the forms that other programs read. Raises NotFound, Conflict."""
    job = get_job(tx, job_id)
    budget = job.spec.budget.model_copy(update={"total": job.budget})
    spec = job.spec.model_copy(update={"budget": budget})
    return exporting.export(form, job.name, spec, main_line(tx, job_id))


def _dumped(segment: Segment) -> dict[str, JsonValue] | None:
    return None if segment.feedback is None else segment.feedback.model_dump(mode="json")


def _ended(piece: MainLinePiece, end: int) -> MainLinePiece:
    return replace(piece, end=end)


def ledger(tx: Transaction, job_id: str) -> LedgerView:
    """Return what the job has spent, over all its sessions. Raises NotFound."""
    job = get_job(tx, job_id)
    row = tx.execute(select(JobRow.overhead_cap).where(JobRow.id == job_id)).one()
    sessions = tx.execute(
        select(SessionRow.ledger, SessionRow.began_at, SessionRow.main_position)
        .where(SessionRow.job == job_id)
        .order_by(SessionRow.number)
    ).all()
    redone = furthest = 0
    for session in sessions:
        if session.began_at is not None:
            redone += max(0, furthest - session.began_at)
            furthest = session.main_position
    parts = tuple(LedgerTotals.model_validate(session.ledger or {}) for session in sessions)
    totals = {
        name: sum(getattr(part, name) for part in parts) for name in LedgerTotals.model_fields
    }
    return LedgerView(
        totals=LedgerTotals(**totals),
        redone=redone,
        planned_probe=planned_probe(tx, job_id),
        budget=job.budget,
        overhead_cap=row.overhead_cap,
        sessions=parts,
    )
