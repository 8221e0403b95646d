"""Store a report: exactly once, in order, and with what it means for the job."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Finished,
    Measurements,
    RecordProblem,
    Report,
    ReportReply,
    Segment,
    SegmentEnded,
    SessionBegan,
)
from sqlalchemy import bindparam, select, update

from pacesetter_service.budgets.rewinding import renew_budget
from pacesetter_service.budgets.withdrawing import after_end, after_refusal
from pacesetter_service.database.models import JobRow, SessionRow
from pacesetter_service.database.prepared import Prepared
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import NotFound, StrategyRefused
from pacesetter_service.jobs.open_job import COLUMNS, ENDED, OpenJob, lock_job
from pacesetter_service.overrides.proposals import expire_passed
from pacesetter_service.planning.commit import plan_now
from pacesetter_service.planning.decisions import rewind
from pacesetter_service.planning.registry import Registry
from pacesetter_service.reports.checks import PreparedRecord, Problem, out_of_order
from pacesetter_service.segments import repository as segments
from pacesetter_service.segments.stopping import send_stop

LR_TOLERANCE = 1e-6
"""Relative; a float32 optimizer reads back within 6e-8 of what was written."""

_SESSION_COLUMNS = (
    "id",
    "number",
    "last_record",
    "last_step",
    "began_at",
    "main_position",
    "kept_through",
)
_JOBS = JobRow.__table__
_SESSIONS = SessionRow.__table__
_SELECT = Prepared(
    select(
        *(_JOBS.c[name] for name in COLUMNS),
        *(_SESSIONS.c[name].label(f"session_{name}") for name in _SESSION_COLUMNS),
    )
    .join_from(_JOBS, _SESSIONS, _SESSIONS.c.job == _JOBS.c.id)
    .where(_JOBS.c.id == bindparam("job"), _SESSIONS.c.id == bindparam("session"))
    # Both rows: PostgreSQL reads a row again only if it is locked, and after waiting for another report of this session
    # its record number must not be the one from before.
    .with_for_update()
)
_CHANGED = ("last_record", "last_step", "began_at", "main_position", "kept_through")


def _update_session(*more: str) -> Prepared:
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in (*_CHANGED, *more)}
    return Prepared(
        update(_SESSIONS)  # type: ignore[arg-type]
        .where(_SESSIONS.c.id == bindparam("session"))
        .values(values | {"last_seen_at": utc_now()})
    )


_UPDATE = _update_session()
_UPDATE_WITH_LEDGER = _update_session("ledger")


@dataclass(slots=True)
class _Session:
    """A session as stored, changed in place while its report is taken in."""

    id: str
    number: int
    last_record: int
    last_step: int
    began_at: int | None
    main_position: int
    kept_through: int | None


@dataclass(slots=True)
class Ingest:
    """Takes in one report of one session within one unit of work."""

    job: OpenJob
    session: _Session
    registry: Registry
    kinds: dict[tuple[str, int], str]
    """Kinds of segments by job and ``seq``: they never change, so they are kept between reports."""
    is_current: bool = False
    problems: list[RecordProblem] = field(default_factory=list)

    def take(self, prepared: Sequence[PreparedRecord]) -> None:
        """Store every record that is new."""
        for item in prepared:
            number = item.record.number
            if number <= self.session.last_record:
                continue
            if number > self.session.last_record + 1:
                self.job.add_event(
                    "gap",
                    {"expected": self.session.last_record + 1, "got": number},
                    session=self.session.id,
                )
            self.session.last_record = number
            problem = item.problem or self._check(item)
            if problem is None:
                self._store(item)
            else:
                self._refuse(item, problem)

    # -- what the records before say about a record -------------------------------------------------------------

    def _kind(self, seq: int) -> str | None:
        """Return the kind of a segment of this job; None if there is no such segment."""
        if seq == 0:
            return "main"
        kind = self.kinds.get((self.job.id, seq))
        if kind is None:
            row = segments.get_segment(self.job.tx, self.job.id, seq)
            if row is None:
                return None
            if len(self.kinds) >= 100_000:
                self.kinds.clear()
            kind = self.kinds[self.job.id, seq] = row.kind
        return kind

    def _check(self, item: PreparedRecord) -> Problem | None:
        record = item.record
        if isinstance(record, Measurements) and item.first_step <= self.session.last_step:
            return out_of_order(
                f"step {item.first_step:g} follows step {self.session.last_step} of the session"
            )
        if isinstance(record, SessionBegan):
            return self._check_began()
        if isinstance(record, Acknowledgement):
            return self._check_acknowledgement(record)
        if isinstance(record, Measurements | SegmentEnded) and self._kind(record.segment) is None:
            return _unknown_segment(record.segment)
        return None

    def _check_began(self) -> Problem | None:
        if self.session.began_at is None:
            return None
        return Problem(
            "ALREADY_BEGAN",
            f"the session said before that it began at {self.session.began_at}",
            "a restart registers with a new nonce and begins a session of its own",
        )

    def _check_acknowledgement(self, record: Acknowledgement) -> Problem | None:
        row = segments.get_segment(self.job.tx, self.job.id, record.segment)
        if row is None:
            return _unknown_segment(record.segment)
        if row.acknowledged_by == self.session.id:
            return Problem(
                "ALREADY_ACKNOWLEDGED",
                f"segment {record.segment} was acknowledged as {row.status}",
                "acknowledge each segment once a session",
            )
        return None

    def _refuse(self, item: PreparedRecord, problem: Problem) -> None:
        record = item.record
        self.problems.append(
            RecordProblem(
                number=record.number, code=problem.code, detail=problem.detail, hint=problem.hint
            )
        )
        exclude = {"columns"} if isinstance(record, Measurements) else None
        self.job.add_event(
            "refused",
            {
                "code": problem.code,
                "detail": problem.detail,
                "record": record.model_dump(mode="json", by_alias=True, exclude=exclude),
            },
            session=self.session.id,
            segment=record.segment,
            position=record.position,
            data=item.data,
        )

    # -- what a record changes ----------------------------------------------------------------------------------

    def _store(self, item: PreparedRecord) -> None:
        record = item.record
        is_rows = isinstance(record, Measurements)
        resumes = isinstance(record, SessionBegan) and self.session.number > 1
        number = self.job.add_event(
            record.type,
            f'{{"number":{record.number}}}' if is_rows else record,
            # A session that resumes is announced to the strategy by the rewinding that follows.
            reducible=self.is_current and not resumes,
            session=self.session.id,
            segment=record.segment,
            position=record.position,
            data=item.data,
        )
        if isinstance(record, Measurements):
            self._after_rows(item, record)
            return
        if isinstance(record, Acknowledgement):
            self._after_acknowledgement(record)
        elif isinstance(record, SessionBegan):
            self._after_began(record)
        elif isinstance(record, SegmentEnded):
            self._move(record.main_position)
        elif isinstance(record, FellBack | Finished):
            self._move(record.position)
        if self.is_current and not resumes and self._decides(record):
            self.job.due_event = max(number, self.job.due_event)
        if self.is_current and isinstance(record, Finished):
            self._after_finished(record)

    def _after_finished(self, record: Finished) -> None:
        if self.job.status not in ENDED:
            self.job.status = "completed" if record.completed else "failed"
            after_end(self.job, record, self.registry)
            self.job.tx.wakes.add(self.job.id)
        if self.job.status != "cancelled":
            self.job.mark_ended()

    def _decides(self, record: Any) -> bool:
        try:
            strategy = self.registry.build(self.job.strategy, self.job.strategy_parameters)
        except StrategyRefused:
            return True  # unknown to this release: planning hands the job over
        return strategy.decides_on(record)

    def _move(self, position: int) -> None:
        self.session.main_position = position
        if self.is_current:
            self.job.main_position = position

    def _after_rows(self, item: PreparedRecord, record: Measurements) -> None:
        self.session.last_step = int(item.last_step)
        if self._kind(record.segment) == "main":
            self._move(record.position)
        if self.is_current and self.job.status == "registered":
            self.job.status = "running"

    def _after_began(self, record: SessionBegan) -> None:
        self.session.began_at = record.position
        if not self.is_current:
            return
        self._move(record.position)
        if self.session.number > 1:
            kept = rewind(self.job, record.position)
            kept = renew_budget(self.job, kept, record.position, self.registry)
            self.session.kept_through = kept.through
            if self.job.status == "cancelled":
                # The rewind took the stop back. A queue that starts the process again does not undo the cancelling.
                send_stop(self.job, "the job was cancelled before this start of it")
        else:
            self.session.kept_through = self.job.last_seq

    def _after_acknowledgement(self, record: Acknowledgement) -> None:
        if not self.is_current:
            return
        segments.acknowledge(
            self.job.tx,
            self.job.id,
            record.segment,
            session=self.session.id,
            status=record.status,
            applied_position=record.position if record.status == "applied" else None,
        )
        after_refusal(self.job, record, self.registry)
        for group in record.groups:
            off = abs(group.lr_after - group.lr_announced)
            if group.verification != "mismatch" and off <= LR_TOLERANCE * abs(group.lr_announced):
                continue
            self.job.add_event(
                "alert",
                {"code": "LR_NOT_APPLIED", **group.model_dump(mode="json")},
                session=self.session.id,
                segment=record.segment,
                position=record.position,
            )

    def revive(self) -> None:
        """A job that was given up and reports again runs again; a process that it has left behind proves nothing."""
        if self.is_current and self.job.status == "lost":
            self.job.status = "running"
            self.job.add_event("revived", {}, session=self.session.id)

    def save_session(self, report: Report) -> None:
        """Write the session."""
        values: dict[str, Any] = {f"new_{name}": getattr(self.session, name) for name in _CHANGED}
        values["session"] = self.session.id
        if report.ledger is None:
            _UPDATE.run(self.job.tx, [values])
        else:
            values["new_ledger"] = report.ledger.model_dump_json()
            _UPDATE_WITH_LEDGER.run(self.job.tx, [values])

    def reply(self, report: Report) -> ReportReply:
        """Return what the job is told."""
        new: tuple[Segment, ...] = ()
        if self.is_current and self.job.last_seq > report.seen:
            new = segments.visible_segments(self.job.tx, self.job.id, report.seen)
        began = any(isinstance(record, SessionBegan) for record in report.records)
        return ReportReply(
            last_record=self.session.last_record,
            segments=new,
            status=self.job.status,
            session_current=self.is_current,
            problems=tuple(self.problems),
            kept_through=self.session.kept_through if began else None,
        )


def _unknown_segment(seq: int) -> Problem:
    return Problem(
        "UNKNOWN_SEGMENT",
        f"no segment {seq} was ever sent to this job",
        "use the seq of a segment from the registration, a reply or the stream",
    )


def take_report(
    tx: Transaction,
    job_id: str,
    report: Report,
    prepared: Sequence[PreparedRecord],
    registry: Registry,
    kinds: dict[tuple[str, int], str],
) -> ReportReply:
    """Store a report, advance a fast strategy, and return the reply.

    Raises:
        NotFound: No such job, or the session is not one of its sessions.
    """
    row = _SELECT.one_or_none(tx, {"job": job_id, "session": report.session})
    if row is None:
        lock_job(tx, job_id)
        raise NotFound(
            f"job {job_id!r} has no session {report.session!r}",
            code="SESSION_NOT_FOUND",
            hint="register again and use the session of the reply",
        )
    job = OpenJob.from_driver_row(tx, row)
    session = _Session(*row[len(COLUMNS) :])
    ingest = Ingest(job, session, registry, kinds, is_current=job.session == session.id)
    ingest.revive()
    ingest.take(prepared)
    job.seen = ingest.is_current
    if ingest.is_current and (job.authority != "steer" or job.overridden):
        expire_passed(job)
    plan_now(job, registry)
    job.save()
    ingest.save_session(report)
    return ingest.reply(report)
