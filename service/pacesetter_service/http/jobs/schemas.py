"""Bodies of the job calls."""

from datetime import datetime
from typing import Literal

from pacesetter.protocol import Authority, JobSpec, JobStatus, LedgerTotals, Message, Name, Tags
from pydantic import JsonValue, model_validator

from pacesetter_service.http.replies import Reply


class JobReply(Reply):
    """A job as people and scripts see it."""

    id: str
    project: str
    name: str
    external_id: str
    status: JobStatus
    authority: Authority
    strategy: str
    overridden: bool
    spec: JobSpec
    budget: int
    """Where the main line ends, in the job's clock: as registered, or as it was changed since."""
    session: str | None
    session_number: int
    main_position: int
    last_seq: int
    last_event: int
    planning: bool
    experiment: str | None
    """Whose trials it takes its peak from."""
    created_at: datetime
    last_seen_at: datetime
    tags: dict[str, JsonValue]


class JobPage(Reply):
    """One page of jobs, newest first."""

    jobs: tuple[JobReply, ...]
    next_page_token: str


class JobPatch(Message):
    """What of a job may change: its name and its tags. A field left out stays as it is."""

    name: Name | None = None
    tags: Tags | None = None

    @model_validator(mode="after")
    def _something_changes(self) -> "JobPatch":
        if self.name is None and self.tags is None:
            raise ValueError("nothing to change; give a name or tags")
        return self


class OverrideReply(Reply):
    """What an override came to."""

    segments: tuple[int, ...]
    """``seq`` of the segments that were sent, oldest first."""
    event: int
    """Its number in the audit trail."""


class EventReply(Reply):
    """One line of the audit trail."""

    number: int
    type: str
    at: datetime
    session: str | None
    segment: int | None
    position: int | None
    body: dict[str, JsonValue]


class EventPage(Reply):
    """One page of the audit trail, oldest first."""

    events: tuple[EventReply, ...]
    next_page_token: str


class CurveReply(Reply):
    """Downsampled measurements, as columns of equal length: null where nothing was measured, "NaN" where NaN was."""

    columns: dict[str, list[float | None]]
    kinds: list[str]
    """Of the segment each row belongs to: main, probe or branch."""
    segments: list[int]
    """Its ``seq``; 0 is the base schedule."""
    sessions: list[int]
    """Number of the session that measured the row."""
    rows_total: int


class MainLinePieceReply(Reply):
    """A stretch of the main line that followed one policy."""

    seq: int
    start: int
    end: int | None
    policy: dict[str, JsonValue]
    controls: Literal["all"] | tuple[str, ...]
    """Control sets of the parameter groups that it drives; others go on as before."""
    origin: str
    reason: str
    feedback: dict[str, JsonValue] | None
    """A rule that multiplied the policy on the client; the rates that it led to are in the curve (``lr``)."""


class ScheduleReply(Reply):
    """The main line so far, oldest piece first."""

    pieces: tuple[MainLinePieceReply, ...]


class LedgerReply(Reply):
    """What a job has spent, summed over its sessions."""

    totals: LedgerTotals
    redone: int
    planned_probe: int
    budget: int
    overhead_cap: float
    sessions: tuple[LedgerTotals, ...]
