"""What the controller hands out: frozen values, free of the database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, TypeVar

from pacesetter.protocol import (
    Authority,
    JobSpec,
    JobStatus,
    LedgerTotals,
    Recommendation,
    Registration,
    SegmentPlan,
)
from pacesetter_search.laws import AnyFittedLaw
from pacesetter_search.memory import CurveSource, LawGroup, RunRecord
from pydantic import JsonValue

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; an empty ``next_page_token`` is the end."""

    items: tuple[T, ...]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """What registering came to. ``registration.token`` is left for the caller to fill."""

    registration: Registration
    is_new_job: bool
    is_new_session: bool


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as people and scripts see it."""

    id: str
    project: str
    name: str
    external_id: str
    status: JobStatus
    authority: Authority
    strategy: str
    overridden: bool
    """A person took over and has not handed back yet."""
    spec: JobSpec
    """As the training code of the newest session gave it."""
    budget: int
    """Where the main line ends, in the job's clock: as registered, or as it was changed since."""
    session: str | None
    session_number: int
    main_position: int
    """Furthest known main-line position of the current session, in the job's clock."""
    last_seq: int
    last_event: int
    planning: bool
    """A stored event waits for the strategy."""
    experiment: str | None
    """Whose trials it takes its peak from."""
    created_at: datetime
    last_seen_at: datetime
    tags: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class EventView:
    """One line of the audit trail. Measurements show their size here; their values are in the curve."""

    number: int
    type: str
    at: datetime
    session: str | None
    segment: int | None
    position: int | None
    body: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class CurveView:
    """Downsampled measurements: columns of equal length, None where a value was not measured."""

    columns: dict[str, list[float | None]]
    kinds: list[str]
    """Kind of the segment each row belongs to: ``main``, ``probe`` or ``branch``."""
    segments: list[int]
    """``seq`` of the segment each row belongs to; 0 is the base schedule before the first."""
    sessions: list[int]
    """Number of the session that measured each row."""
    rows_total: int
    """Rows there are before downsampling."""


@dataclass(frozen=True, slots=True)
class StoredCurve:
    """A curve of a run that has ended, without its points."""

    id: str
    project: str
    source: CurveSource
    job: str | None
    name: str
    record: RunRecord
    points: int
    key: str
    """Of the law that it is evidence for; empty where it is for none, or left out."""
    excluded: bool
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class FittedCurve:
    """A stored curve that a law was fitted to."""

    id: str
    name: str
    steps: int
    points: int
    residual: float
    """Mean relative error of the fit on it."""


@dataclass(frozen=True, slots=True)
class LawView:
    """A version of the law of a group of curves, or why there is none."""

    id: str
    project: str
    key: str
    version: int
    about: LawGroup
    law: AnyFittedLaw | None
    problem: str
    """Why none could be fitted; empty where one was."""
    evidence: tuple[FittedCurve, ...]
    seconds: float
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredRecommendation:
    """A recommendation as it was given."""

    project: str
    answer: Recommendation
    applied: bool
    """Whether a job registered with it, or was given it."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MainLinePiece:
    """A stretch of the main line that followed one policy."""

    seq: int
    """0 is the base schedule that the job started on by itself."""
    start: int
    end: int | None
    """None: it still runs."""
    policy: dict[str, JsonValue]
    controls: Literal["all"] | tuple[str, ...]
    """Control sets of the parameter groups that it drives; others go on as before."""
    origin: str
    reason: str
    feedback: dict[str, JsonValue] | None = None
    """The rule that multiplied the policy on the client; what it made of the rates is in the job's curve only."""


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What a job has spent, summed over its sessions."""

    totals: LedgerTotals
    redone: int
    """Main-line clock units that were trained twice because a session resumed earlier; not against the cap."""
    planned_probe: int
    """Clock units of the probes sent and kept."""
    budget: int
    overhead_cap: float
    sessions: tuple[LedgerTotals, ...]


@dataclass(frozen=True, slots=True)
class ProposalView:
    """A segment that waits for a person."""

    seq: int
    plan: SegmentPlan
    status: Literal["proposed", "expired"]


@dataclass(frozen=True, slots=True)
class OverrideResult:
    """What a person's override came to: the segments that were sent, oldest first."""

    segments: tuple[int, ...]
    event: int


@dataclass(frozen=True, slots=True)
class StoredToken:
    """An API token as stored: never the token itself."""

    id: str
    name: str
    project: str
    scopes: tuple[str, ...]
    hint: str
    """Its last characters, to tell tokens apart."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What is known of an ``Idempotency-Key``.

    ``new``: this caller goes on and finishes it. ``in_flight``: another one is at it (409). ``finished``: the stored
    reply is to be sent again. ``mismatch``: the key was used with another body (422).
    """

    outcome: Literal["new", "in_flight", "finished", "mismatch"]
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
