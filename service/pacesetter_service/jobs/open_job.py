"""A job that a unit of work has locked: its counters, and what shall be written when the unit is done."""

import json
from dataclasses import dataclass, field
from typing import Any

from pacesetter.protocol import JobSpec
from pacesetter.schedules import Schedule
from pydantic import BaseModel
from sqlalchemy import bindparam, insert, select, update

from pacesetter_service.canonical import canonical_json
from pacesetter_service.database.models import EventRow, JobRow
from pacesetter_service.database.prepared import Prepared
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import NotFound

ENDED = frozenset({"completed", "failed", "cancelled"})
"""Statuses in which nothing is planned or sent any more."""

COLUMNS = (
    "id",
    "status",
    "authority",
    "strategy",
    "strategy_version",
    "strategy_parameters",
    "overhead_cap",
    "reduced_through",
    "running",
    "draws",
    "due_event",
    "overridden",
    "last_event",
    "last_seq",
    "main_position",
    "session",
    "session_number",
    "budget",
)
"""What every report needs. The spec and the strategy's state are large and are loaded only to plan."""

_UNLOCKED = select(*(JobRow.__table__.c[column] for column in COLUMNS)).where(
    JobRow.__table__.c.id == bindparam("job_id")
)
_LOCKED = _UNLOCKED.with_for_update()
_SPEC = select(JobRow.__table__.c.spec, JobRow.__table__.c.base).where(
    JobRow.__table__.c.id == bindparam("job_id")
)
_STATE = select(JobRow.__table__.c.state).where(JobRow.__table__.c.id == bindparam("job_id"))

_EVENT_COLUMNS = (
    *("job", "number", "type", "reducible", "session"),
    *("segment", "position", "body", "data"),
)
_INSERT_EVENTS = Prepared(
    insert(EventRow.__table__).values({name: bindparam(name) for name in _EVENT_COLUMNS})  # type: ignore[arg-type]
)
_HOT = ("status", "last_event", "main_position", "due_event", "reduced_through")
"""What a report changes, as a rule."""
_UPDATE_HOT = Prepared(
    update(JobRow.__table__)  # type: ignore[arg-type]
    .where(JobRow.__table__.c.id == bindparam("job_id"))
    .values({name: bindparam(f"new_{name}") for name in _HOT} | {"last_seen_at": utc_now()})
)


@dataclass(slots=True)
class OpenJob:
    """Change the fields and add events freely; :meth:`save` writes one INSERT and one UPDATE."""

    tx: Transaction
    id: str
    status: str
    authority: str
    strategy: str
    strategy_version: int
    strategy_parameters: dict[str, Any]
    overhead_cap: float
    reduced_through: int
    running: int
    draws: int
    due_event: int
    overridden: bool
    last_event: int
    last_seq: int
    main_position: int
    session: str | None
    session_number: int
    budget: int | None
    """Length of the main line since it was changed; None while it is as registered."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Columns that are written as they are given here, beside the fields that changed."""
    seen: bool = False
    """Whether the job itself was heard of."""
    _before: dict[str, Any] = field(default_factory=dict)
    _events: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_row(cls, tx: Transaction, row: Any) -> "OpenJob":
        """Return the job of a row that starts with ``COLUMNS``."""
        values = dict(zip(COLUMNS, row, strict=False))
        return cls(tx, **values, _before=values)

    @classmethod
    def from_driver_row(cls, tx: Transaction, row: Any) -> "OpenJob":
        """Return the job of a row as the driver gives it: JSON is text, and booleans may be numbers."""
        values = dict(zip(COLUMNS, row, strict=False))
        values["strategy_parameters"] = json.loads(values["strategy_parameters"])
        values["overridden"] = bool(values["overridden"])
        return cls(tx, **values, _before=values)

    @property
    def is_due(self) -> bool:
        """Whether a stored event waits for the strategy and may be planned now."""
        return (
            self.due_event > self.reduced_through
            and self.status != "paused"
            and self.status not in ENDED
        )

    def mark_ended(self) -> None:
        """Note that the job has ended: its curve is to be made."""
        self.changes["unrecorded_since"] = utc_now()

    def load_spec(self) -> JobSpec:
        """Return the spec of the newest session, with the budget and the base schedule as they are now."""
        row = self.tx.execute(_SPEC, {"job_id": self.id}).one()
        spec = JobSpec.model_validate_json(self.changes.get("spec", row.spec))
        return current_spec(spec, self.budget, self.changes.get("base", row.base))

    def registered_spec(self) -> JobSpec:
        """Return the spec of the newest session as its training code gave it."""
        row = self.tx.execute(_SPEC, {"job_id": self.id}).one()
        return JobSpec.model_validate_json(self.changes.get("spec", row.spec))

    def load_state(self) -> dict[str, Any]:
        """Return the strategy's state as it stands."""
        if "state" in self.changes:
            changed: dict[str, Any] = self.changes["state"]
            return changed
        row = self.tx.execute(_STATE, {"job_id": self.id}).one()
        state: dict[str, Any] = row.state
        return state

    def add_event(
        self,
        type_: str,
        body: BaseModel | dict[str, Any] | str = "",
        *,
        reducible: bool = False,
        session: str | None = None,
        segment: int | None = None,
        position: int | None = None,
        data: bytes | None = None,
    ) -> int:
        """Append an event and return its number."""
        if isinstance(body, BaseModel):
            body = body.model_dump_json(by_alias=True)
        elif isinstance(body, dict):
            body = canonical_json(body)
        self.last_event += 1
        self._events.append(
            {
                "job": self.id,
                "number": self.last_event,
                "type": type_,
                "reducible": reducible,
                "session": session,
                "segment": segment,
                "position": position,
                "body": body,
                "data": data,
            }
        )
        return self.last_event

    def flush_events(self) -> None:
        """Write the events now, so that queries of this unit of work see them."""
        if self._events:
            _INSERT_EVENTS.run(self.tx, self._events)
            self._events = []

    def save(self) -> None:
        """Write what changed."""
        self.flush_events()
        values = {
            name: value
            for name, before in self._before.items()
            if (value := getattr(self, name)) != before
        }
        values |= self.changes
        due_before = self._before["due_event"] > self._before["reduced_through"]
        if self.due_event > self.reduced_through:
            if not due_before:
                values["due_since"] = utc_now()
            if self.is_due:
                self.tx.due.add(self.id)
        elif due_before:
            values["due_since"] = None
        if self.seen and values.keys() <= set(_HOT):
            hot = {f"new_{name}": getattr(self, name) for name in _HOT}
            _UPDATE_HOT.run(self.tx, [{"job_id": self.id, **hot}])
            return
        if self.seen:
            values["last_seen_at"] = utc_now()
        if values:
            self.tx.execute(update(JobRow).where(JobRow.id == self.id).values(values))


def current_spec(spec: JobSpec, total: int | None, base: str | None) -> JobSpec:
    """Return a spec with the budget and the base schedule (JSON) that were set since; None: as registered."""
    if total is None:
        return spec
    budget = spec.budget.model_copy(update={"total": total})
    schedule = spec.base if base is None else Schedule.model_validate_json(base)
    return spec.model_copy(update={"budget": budget, "base": schedule})


def lock_job(tx: Transaction, job_id: str) -> OpenJob:
    """Return the job, locked against every other unit of work until this one ends.

    Raises:
        NotFound: No job has that id.
    """
    return _opened(tx, job_id, tx.execute(_LOCKED, {"job_id": job_id}).one_or_none())


def open_job(tx: Transaction, job_id: str) -> OpenJob:
    """Return the job as it stands, to read of it only. Raises NotFound."""
    return _opened(tx, job_id, tx.execute(_UNLOCKED, {"job_id": job_id}).one_or_none())


def _opened(tx: Transaction, job_id: str, row: Any) -> OpenJob:
    if row is None:
        raise job_not_found(job_id)
    return OpenJob.from_row(tx, row)


def job_not_found(job_id: str) -> NotFound:
    """Return the error for an unknown job."""
    return NotFound(
        f"no job has the id {job_id!r}",
        code="JOB_NOT_FOUND",
        hint="register it with POST /v1/jobs, or list the jobs with GET /v1/jobs",
    )
