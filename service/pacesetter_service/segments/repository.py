"""SQL on segments and checkpoints."""

from collections.abc import Sequence
from typing import Any

from pacesetter.protocol import JobSpec, Segment, SegmentPage, SegmentPlan
from sqlalchemy import bindparam, delete, func, insert, select, update

from pacesetter_service.database.models import CheckpointRow, JobRow, SegmentRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.jobs.open_job import OpenJob, job_not_found

_SEGMENTS = SegmentRow.__table__
_OF_JOB = _SEGMENTS.c.job == bindparam("of_job")
# Built once: every decision of every job takes these, and building one costs more than SQLite takes to run it.
_PLANNED_PROBE = select(func.coalesce(func.sum(_SEGMENTS.c.length), 0)).where(
    _OF_JOB,
    _SEGMENTS.c.kind == "probe",
    _SEGMENTS.c.status.in_(("sent", "applied", "unpaired", "proposed")),
)
_BEGUN_PROBE = _PLANNED_PROBE.where(_SEGMENTS.c.status != "sent")
_CHECKPOINT_NAMES = select(CheckpointRow.__table__.c.name).where(
    CheckpointRow.__table__.c.job == bindparam("of_job")
)
_EXPIRE_PROPOSALS = (
    update(_SEGMENTS)  # type: ignore[arg-type]
    .where(_OF_JOB, _SEGMENTS.c.status == "proposed")
    .values(status="expired")
)
_INSERT = insert(_SEGMENTS)  # type: ignore[arg-type]


def visible_segments(tx: Transaction, job: str, after: int) -> tuple[Segment, ...]:
    """Return what the job may see with ``seq > after``, oldest first."""
    rows = tx.execute(
        select(SegmentRow.plan)
        .where(SegmentRow.job == job, SegmentRow.seq > after, SegmentRow.visible)
        .order_by(SegmentRow.seq)
    )
    return tuple(Segment.model_validate_json(row.plan) for row in rows)


def void_segments(tx: Transaction, job: str) -> tuple[int, ...]:
    """Return the ``seq`` of what the job may see and has never run, oldest first."""
    rows = tx.execute(
        select(SegmentRow.seq)
        .where(
            SegmentRow.job == job,
            SegmentRow.visible,
            SegmentRow.status.in_(("refused", "stale", "superseded", "expired")),
        )
        .order_by(SegmentRow.seq)
    )
    return tuple(row.seq for row in rows)


def get_segment(tx: Transaction, job: str, seq: int) -> Any | None:
    """Return the row of a segment, or None."""
    return tx.execute(
        select(
            SegmentRow.seq,
            SegmentRow.after,
            SegmentRow.kind,
            SegmentRow.status,
            SegmentRow.visible,
            SegmentRow.acknowledged_by,
            SegmentRow.plan,
            SegmentRow.applied_position,
        ).where(SegmentRow.job == job, SegmentRow.seq == seq)
    ).one_or_none()


def segment_kinds(tx: Transaction, job: str) -> dict[int, str]:
    """Return the kind of every segment; 0 is the base schedule, of kind main."""
    rows = tx.execute(select(SegmentRow.seq, SegmentRow.kind).where(SegmentRow.job == job))
    return {0: "main"} | {row.seq: row.kind for row in rows}


def planned_probe(tx: Transaction, job: str, *, waiting: bool = True) -> int:
    """Return the clock units of the probes that were sent and kept; with ``waiting`` those that have not begun too."""
    wanted = _PLANNED_PROBE if waiting else _BEGUN_PROBE
    return int(tx.execute(wanted, {"of_job": job}).scalar_one())


def checkpoint_names(tx: Transaction, job: str) -> set[str]:
    """Return every name the job was told to keep on the kept branch, released ones too."""
    return {row.name for row in tx.execute(_CHECKPOINT_NAMES, {"of_job": job})}


def send(
    job: OpenJob, plans: Sequence[SegmentPlan], after: int, *, proposed: bool
) -> tuple[Segment, ...]:
    """Number the plans, each after the one before, and store them; the job is woken for what it may see.

    Where the budget was changed, every main segment carries it: one of them is the first that the job takes up.
    """
    expire_proposals(job)
    segments = []
    for plan in plans:
        job.last_seq += 1
        budget = job.budget if plan.kind == "main" else None
        # `model_dump` and back rather than `model_copy`: a Segment is not a SegmentPlan.
        segment = Segment(seq=job.last_seq, after=after, **{**dict(plan), "budget": budget})
        segments.append(segment)
        after = segment.seq
    job.tx.execute(_INSERT, [_row(job.id, item, proposed) for item in segments])
    names = [
        {"job": job.id, "name": name, "seq": segment.seq, "released": False}
        for segment in segments
        for name in (segment.save_as, segment.save_end_as)
        if name is not None
    ]
    if names:
        job.tx.execute(insert(CheckpointRow), names)
    for segment in segments:
        if segment.release:
            job.tx.execute(
                update(CheckpointRow)
                .where(CheckpointRow.job == job.id, CheckpointRow.name.in_(segment.release))
                .values(released=True)
            )
    if not proposed:
        job.tx.wakes.add(job.id)
    return tuple(segments)


def _row(job: str, segment: Segment, proposed: bool) -> dict[str, Any]:
    return {
        "job": job,
        "seq": segment.seq,
        "after": segment.after,
        "kind": segment.kind,
        "start": segment.start,
        "length": segment.length,
        "status": "proposed" if proposed else "sent",
        "visible": not proposed,
        "plan": segment.model_dump_json(by_alias=True),
    }


def expire_proposals(job: OpenJob) -> None:
    """Mark every open proposal as expired: something newer was decided."""
    job.tx.execute(_EXPIRE_PROPOSALS, {"of_job": job.id})


def supersede_after(job: OpenJob, seq: int) -> None:
    """Take back every segment with a higher ``seq``, and the checkpoint names they gave."""
    job.tx.execute(
        update(SegmentRow)
        .where(SegmentRow.job == job.id, SegmentRow.seq > seq)
        .values(status="superseded", visible=False)
    )
    job.tx.execute(
        delete(CheckpointRow).where(CheckpointRow.job == job.id, CheckpointRow.seq > seq)
    )


def covering_main(tx: Transaction, job: str, position: int) -> int:
    """Return the newest visible main segment that starts at or before ``position``; 0 is the base schedule."""
    row = tx.execute(
        select(func.max(SegmentRow.seq)).where(
            SegmentRow.job == job,
            SegmentRow.kind == "main",
            SegmentRow.visible,
            SegmentRow.start <= position,
            SegmentRow.status.in_(("sent", "applied")),
        )
    ).scalar_one_or_none()
    return row or 0


def driving(tx: Transaction, job: str, spec: JobSpec, position: int) -> dict[str, Segment | None]:
    """Return, for each control set of the job, the main segment that drives it at ``position``; None: the base."""
    found: dict[str, Segment | None] = dict.fromkeys(group.control for group in spec.groups)
    rows = tx.execute(
        select(SegmentRow.plan)
        .where(
            SegmentRow.job == job,
            SegmentRow.kind == "main",
            SegmentRow.visible,
            SegmentRow.start <= position,
            SegmentRow.status.in_(("sent", "applied")),
        )
        .order_by(SegmentRow.seq)
    )
    for row in rows:
        segment = Segment.model_validate_json(row.plan)
        driven = found if segment.controls == "all" else segment.controls
        found |= dict.fromkeys(driven, segment)
    return found


def open_proposals(tx: Transaction, job: str) -> tuple[Segment, ...]:
    """Return what waits for a person, oldest first: all of one decision, as a newer one closes what is open."""
    rows = tx.execute(
        select(SegmentRow.plan)
        .where(SegmentRow.job == job, SegmentRow.status == "proposed")
        .order_by(SegmentRow.seq)
    )
    return tuple(Segment.model_validate_json(row.plan) for row in rows)


def acknowledge(
    tx: Transaction,
    job: str,
    seq: int,
    *,
    session: str,
    status: str,
    applied_position: int | None,
) -> None:
    """Record what the job did with a segment."""
    values: dict[str, Any] = {"acknowledged_by": session, "status": status}
    if applied_position is not None:
        values["applied_position"] = applied_position
    tx.execute(
        update(SegmentRow).where(SegmentRow.job == job, SegmentRow.seq == seq).values(values)
    )


def segment_page(tx: Transaction, job_id: str, session_id: str | None, after: int) -> SegmentPage:
    """Return what a session may see with ``seq > after``: nothing, if a newer session has taken over.

    Raises:
        NotFound: No such job.
    """
    row = tx.execute(
        select(JobRow.status, JobRow.session, JobRow.last_seq).where(JobRow.id == job_id)
    ).one_or_none()
    if row is None:
        raise job_not_found(job_id)
    silenced = session_id is not None and session_id != row.session
    if silenced or row.last_seq <= after:
        return SegmentPage(status=row.status)
    return SegmentPage(status=row.status, segments=visible_segments(tx, job_id, after))
