"""Pause, resume, cancel, complete; and jobs that fell silent."""

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import JsonValue
from sqlalchemy import select, update

from pacesetter_service.database.models import JobRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import Conflict
from pacesetter_service.jobs.open_job import ENDED, lock_job
from pacesetter_service.planning.commit import plan_now
from pacesetter_service.planning.registry import Registry
from pacesetter_service.segments.stopping import send_stop

Verb = Literal["pause", "resume", "cancel", "complete"]

_ALIVE = ("registered", "running", "paused", "lost")
_FROM: dict[Verb, tuple[str, ...]] = {
    "pause": ("registered", "running", "lost"),
    "resume": ("paused",),
    "cancel": _ALIVE,
    "complete": _ALIVE,
}
_TO: dict[Verb, str] = {
    "pause": "paused",
    "resume": "running",
    "cancel": "cancelled",
    "complete": "completed",
}


def transition(tx: Transaction, job_id: str, verb: Verb, by: str, registry: Registry) -> None:
    """Change a job's status; what is so already stays so without an error.

    Cancelling and completing also send a stop: no process may go on training for a job that is over.

    Raises:
        NotFound: No such job.
        Conflict: Its status does not allow it (``WRONG_STATUS``).
    """
    job = lock_job(tx, job_id)
    before = job.status
    if before == _TO[verb] or (verb == "resume" and before == "registered"):
        return
    if before not in _FROM[verb]:
        raise Conflict(
            f"a job that is {before} cannot be told to {verb}",
            code="WRONG_STATUS",
            hint=f"{verb} works on a job that is {' or '.join(_FROM[verb])}",
        )
    job.status = _TO[verb]
    status: dict[str, Any] = {"from": before, "to": job.status, "by": by}
    if job.status == "completed":
        job.mark_ended()
    if job.status in ENDED:
        status["stop"] = send_stop(job, f"{by} {job.status} the job")
    job.add_event("status", status, position=job.main_position)
    if verb == "resume":
        # What arrived while nothing was decided is decided on now.
        plan_now(job, registry)
    job.tx.wakes.add(job.id)
    job.save()


def update_details(
    tx: Transaction, job_id: str, name: str | None, tags: dict[str, JsonValue] | None
) -> None:
    """Change the name or the tags. Raises NotFound."""
    job = lock_job(tx, job_id)
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = name
    if tags is not None:
        values["tags"] = tags
    if values:
        job.changes |= values
        job.add_event("details", values)
        job.save()


def mark_lost(
    tx: Transaction, lost_after_seconds: float, now: datetime | None = None
) -> tuple[str, ...]:
    """Mark jobs without contact as lost; return their ids.

    The database's clock decides where ``now`` is not given, so replicas with wrong clocks do no harm.
    """
    moment = now or tx.execute(select(utc_now())).scalar_one()
    cutoff = moment - timedelta(seconds=lost_after_seconds)
    silent = (
        select(JobRow.id, JobRow.status)
        .where(JobRow.status.in_(("registered", "running")), JobRow.last_seen_at < cutoff)
        .with_for_update(skip_locked=True)
    )
    lost = []
    for row in tx.execute(silent).all():
        job = lock_job(tx, row.id)
        # Conditional, since a report may have come between the two statements.
        changed = tx.execute(
            update(JobRow)
            .where(JobRow.id == row.id, JobRow.status == row.status, JobRow.last_seen_at < cutoff)
            .values(status="lost", unrecorded_since=utc_now())
        ).rowcount
        if changed == 1:
            job.add_event("lost", {"after_seconds": lost_after_seconds})
            job.save()
            lost.append(row.id)
    return tuple(lost)
