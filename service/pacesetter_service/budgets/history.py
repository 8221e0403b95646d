"""What is stored of a job's budgets: an event for each change, with what it took the place of."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from pacesetter.protocol import JobSpec
from sqlalchemy import select

from pacesetter_service.database.models import EventRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.jobs.open_job import OpenJob

Cause = Literal["override", "restart", "refused"]
"""A person; training code that was started again with another budget; a job that would not have a person's."""

CHANGE = "budget"
"""Type of the event that is for people."""
TOLD = "budget_changed"
"""Type of the event that is for a strategy."""


@dataclass(frozen=True, slots=True)
class Change:
    """A budget that took the place of another one."""

    cause: Cause
    by: str
    reason: str
    before: int
    total: int
    base_before: dict[str, Any]
    """The base schedule until then."""
    took_over: bool
    """Whether the job counts as overridden since."""
    seq: int
    """The highest ``seq`` that had been sent."""
    position: int
    session: str | None


def record(job: OpenJob, change: Change, sent: tuple[int, ...]) -> int:
    """Store a change, with the segments that were sent for it; return the number of the event."""
    body = {
        "cause": change.cause,
        "by": change.by,
        "reason": change.reason,
        "before": change.before,
        "total": change.total,
        "base_before": change.base_before,
        "took_over": change.took_over,
        "seq": change.seq,
        "segments": list(sent),
    }
    return job.add_event(CHANGE, body, session=change.session, position=change.position)


def changes(tx: Transaction, job: str) -> tuple[Change, ...]:
    """Return every change of the budget of a job, oldest first."""
    rows = tx.execute(
        select(EventRow.body, EventRow.position, EventRow.session)
        .where(EventRow.job == job, EventRow.type == CHANGE)
        .order_by(EventRow.number)
    )
    found = []
    for row in rows:
        body = json.loads(row.body)
        del body["segments"]
        found.append(Change(**body, position=row.position, session=row.session))
    return tuple(found)


def last_told(job: OpenJob) -> int:
    """Return the number of the event that told the strategy of a budget last; 0: none did."""
    number = job.tx.execute(
        select(EventRow.number)
        .where(EventRow.job == job.id, EventRow.type == TOLD)
        .order_by(EventRow.number.desc())
        .limit(1)
    ).scalar_one_or_none()
    return number or 0


def planned_for(job: OpenJob, budget: int | None) -> int:
    """Return the budget that a main segment which carries ``budget`` was planned for.

    One that carries none was sent before the first change.
    """
    if budget is not None:
        return budget
    first = next(iter(changes(job.tx, job.id)), None)
    return job.load_spec().budget.total if first is None else first.before


def first_base(tx: Transaction, job: str, spec: JobSpec) -> dict[str, Any]:
    """Return the base schedule that a job was started on, whatever became of its budget."""
    first = next(iter(changes(tx, job)), None)
    return spec.base.model_dump(mode="json") if first is None else first.base_before
