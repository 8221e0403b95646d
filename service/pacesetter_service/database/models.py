"""The tables. Repositories run Core statements on them; nothing is loaded lazily anywhere."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pacesetter_service.database.types import JsonText, UtcDateTime, utc_now

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: JsonText,
        int: BigInteger,
        bytes: LargeBinary,
        bool: Boolean,
    }


class ProjectRow(Base):
    __tablename__ = "projects"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    evidence_version: Mapped[int] = mapped_column(default=0, server_default="0")
    """Counts the changes of its curves and laws: what is worked out from them is kept under it."""


class TokenRow(Base):
    """API tokens: only the HMAC is kept."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), ForeignKey("projects.name"))
    name: Mapped[str] = mapped_column(String(200))
    hmac: Mapped[str] = mapped_column(String(200), unique=True)
    hint: Mapped[str] = mapped_column(String(20))
    scopes: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class JobRow(Base):
    """A job: what it said of itself, its strategy's state and counters.

    ``reduced_through`` is the number of the last event the state has seen; ``draws`` counts the segments of the kept
    history (``last_seq`` counts all); ``running`` is the segment that ran at ``reduced_through``.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("project", "external_id"),
        Index("ix_jobs_listing", "created_at", "id"),
        Index("ix_jobs_status_last_seen_at", "status", "last_seen_at"),
        Index("ix_jobs_due_since", "due_since"),
        Index("ix_jobs_unrecorded_since", "unrecorded_since"),
        Index("ix_jobs_experiment", "experiment"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), ForeignKey("projects.name"))
    external_id: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20))
    authority: Mapped[str] = mapped_column(String(20))
    spec: Mapped[str] = mapped_column(Text)
    tags: Mapped[dict[str, Any]]
    strategy: Mapped[str] = mapped_column(String(200))
    strategy_version: Mapped[int] = mapped_column(Integer)
    strategy_parameters: Mapped[dict[str, Any]]
    overhead_cap: Mapped[float]
    state: Mapped[dict[str, Any]]
    reduced_through: Mapped[int] = mapped_column(default=0)
    running: Mapped[int] = mapped_column(default=0)
    draws: Mapped[int] = mapped_column(default=0)
    due_event: Mapped[int] = mapped_column(default=0)
    """The last event that may lead to a decision; planning is due while it is above ``reduced_through``."""
    due_since: Mapped[datetime | None]
    overridden: Mapped[bool] = mapped_column(default=False)
    last_event: Mapped[int] = mapped_column(default=0)
    last_seq: Mapped[int] = mapped_column(default=0)
    main_position: Mapped[int] = mapped_column(default=0)
    session: Mapped[str | None] = mapped_column(String(40))
    session_number: Mapped[int] = mapped_column(Integer, default=0)
    budget: Mapped[int | None]
    """Length of the main line since the budget was changed; null while it is the spec's."""
    base: Mapped[str | None] = mapped_column(Text)
    """The base schedule for that length; null while it is the spec's."""
    unrecorded_since: Mapped[datetime | None]
    """When it ended, while its curve is still to be made."""
    experiment: Mapped[str | None] = mapped_column(String(40))
    """Whose trials it listens to."""
    told: Mapped[int] = mapped_column(default=0)
    """The experiment's ``revision`` when its strategy was told of it last."""
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=utc_now())


class SessionRow(Base):
    """One start of a job's process, with what it has reported so far."""

    __tablename__ = "sessions"
    __table_args__ = (UniqueConstraint("job", "number"), UniqueConstraint("job", "nonce"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job: Mapped[str] = mapped_column(String(40), ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    nonce: Mapped[str] = mapped_column(String(200))
    last_record: Mapped[int] = mapped_column(default=0)
    last_step: Mapped[int] = mapped_column(default=-1)
    began_at: Mapped[int | None]
    """Main-line position that the session started at; null until it said so."""
    main_position: Mapped[int] = mapped_column(default=0)
    kept_through: Mapped[int | None]
    ledger: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=utc_now())


class SegmentRow(Base):
    """Segments by job and ``seq``, proposals among them. Only ``visible`` ones travel to the job."""

    __tablename__ = "segments"

    job: Mapped[str] = mapped_column(
        String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    after: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))
    start: Mapped[int]
    length: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    """proposed, sent, applied, refused (by the job or by a person), stale, superseded, unpaired or expired."""
    visible: Mapped[bool]
    acknowledged_by: Mapped[str | None] = mapped_column(String(40))
    """The session that acknowledged it last: a session that resumes runs kept segments once more."""
    applied_position: Mapped[int | None]
    plan: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())


class EventRow(Base):
    """Everything that happened to a job, in one order. A measurements record is one row with one packed value."""

    __tablename__ = "events"

    job: Mapped[str] = mapped_column(
        String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(40))
    reducible: Mapped[bool]
    """Whether the strategy sees it."""
    session: Mapped[str | None] = mapped_column(String(40))
    segment: Mapped[int | None]
    position: Mapped[int | None]
    body: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[bytes | None]
    at: Mapped[datetime] = mapped_column(server_default=utc_now())


class DecisionRow(Base):
    """The strategy's state after each decision: what a rewind loads."""

    __tablename__ = "decisions"

    job: Mapped[str] = mapped_column(
        String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    last_seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Highest ``seq`` once its segments were numbered; 0 for a first state without any."""
    event: Mapped[int]
    """Number of the event that it was taken on."""
    position: Mapped[int]
    """Main-line position from which it takes effect."""
    sets_main: Mapped[bool]
    """Whether a resumed job can follow its segments: a first state, or a decision that set the main line."""
    draws: Mapped[int]
    strategy: Mapped[str] = mapped_column(String(200))
    strategy_version: Mapped[int] = mapped_column(Integer)
    strategy_parameters: Mapped[dict[str, Any]]
    state: Mapped[dict[str, Any]]
    superseded: Mapped[bool] = mapped_column(default=False)


class CheckpointRow(Base):
    """Names of the states a job keeps: unique per job, written once."""

    __tablename__ = "checkpoints"

    job: Mapped[str] = mapped_column(
        String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    seq: Mapped[int]
    released: Mapped[bool] = mapped_column(default=False)


class CurveRow(Base):
    """Loss curves of runs that have ended: of jobs, and uploaded ones. ``record`` is a ``RunRecord``."""

    __tablename__ = "curves"
    __table_args__ = (
        UniqueConstraint("job"),
        Index("ix_curves_kind", "project", "regime", "family"),
        Index("ix_curves_listing", "project", "created_at", "id"),
        Index("ix_curves_law", "project", "key", "changed_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), ForeignKey("projects.name"))
    source: Mapped[str] = mapped_column(String(20))
    """job, trial or upload."""
    job: Mapped[str | None] = mapped_column(String(40), ForeignKey("jobs.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    family: Mapped[str] = mapped_column(String(200))
    regime: Mapped[str] = mapped_column(String(20))
    optimizer: Mapped[str] = mapped_column(String(200))
    record: Mapped[dict[str, Any]]
    """What evidence needs of it: read without its points."""
    points: Mapped[int] = mapped_column(Integer)
    data: Mapped[bytes]
    """Packed columns ``step``, ``lr`` and ``loss``."""
    key: Mapped[str] = mapped_column(String(300))
    """Of the law that it is evidence for; empty where it is for none, or left out."""
    excluded: Mapped[bool] = mapped_column(default=False)
    """Left out as evidence, by a person."""
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    changed_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    """When anything of it changed that a law would be fitted anew for."""


class LawRow(Base):
    """Laws fitted to curves, by what the curves have in common (``key``); a new fit is a new version."""

    __tablename__ = "laws"
    __table_args__ = (
        UniqueConstraint("project", "key", "version"),
        Index("ix_laws_listing", "project", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), ForeignKey("projects.name"))
    key: Mapped[str] = mapped_column(String(300))
    family: Mapped[str] = mapped_column(String(200))
    regime: Mapped[str] = mapped_column(String(20))
    version: Mapped[int] = mapped_column(Integer)
    about: Mapped[dict[str, Any]]
    """What the fitted runs have in common: a ``LawGroup``."""
    law: Mapped[str] = mapped_column(Text)
    """As JSON, in steps of the runs; empty where none could be fitted."""
    problem: Mapped[str] = mapped_column(Text, default="")
    """Why none could be fitted; empty where one was."""
    evidence: Mapped[dict[str, Any]]
    """Ids of the fitted curves, with how well each is described."""
    seen: Mapped[str] = mapped_column(String(80))
    """What its curves were when it was fitted: their number and last change."""
    seconds: Mapped[float]
    """What the fit took."""
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())


class RecommendationRow(Base):
    """What was recommended, for which target: it may be applied to a job later."""

    __tablename__ = "recommendations"
    __table_args__ = (Index("ix_recommendations_listing", "project", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), ForeignKey("projects.name"))
    target: Mapped[dict[str, Any]]
    answer: Mapped[str] = mapped_column(Text)
    applied: Mapped[bool] = mapped_column(default=False)
    """Whether a job registered with it, or was given it."""
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())


class ExperimentRow(Base):
    """Searches over proxy runs. ``planned`` counts trials, ``revision`` those that ended, and the end itself."""

    __tablename__ = "experiments"
    __table_args__ = (
        Index("ix_experiments_listing", "project", "created_at", "id"),
        Index("ix_experiments_due_since", "due_since"),
        Index("ix_experiments_status", "status"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), ForeignKey("projects.name"))
    name: Mapped[str] = mapped_column(String(200))
    proxy: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20))
    """running, completed, failed (its strategy did) or cancelled."""
    strategy: Mapped[str] = mapped_column(String(200))
    strategy_parameters: Mapped[dict[str, Any]]
    spec: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, default="")
    """Why it is over."""
    planned: Mapped[int] = mapped_column(default=0)
    revision: Mapped[int] = mapped_column(default=0)
    wanted: Mapped[int] = mapped_column(default=0)
    """Trials that workers asked for and did not get since the strategy was asked last."""
    sated: Mapped[bool] = mapped_column(default=False)
    """The strategy had fewer trials than it was asked for, and no trial has ended since."""
    due_since: Mapped[datetime | None]
    """Since when a slow strategy has to be asked; null where it has not."""
    job: Mapped[str | None] = mapped_column(String(40))
    """The job that it began with, and ends with."""
    coordinates: Mapped[str | None] = mapped_column(String(40))
    """The experiment that checks its coordinates, once it has begun."""
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    ended_at: Mapped[datetime | None]


class TrialRow(Base):
    """Trials, with the lease that a worker holds. ``token`` is that of the last lease, also once it has ended."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("experiment", "number"),
        Index("ix_trials_waiting", "project", "status", "created_at", "number"),
        Index("ix_trials_leases", "status", "lease_expires_at"),
        Index("ix_trials_curve_due_since", "curve_due_since"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), ForeignKey("projects.name"))
    experiment: Mapped[str] = mapped_column(
        String(40), ForeignKey("experiments.id", ondelete="CASCADE")
    )
    number: Mapped[int]
    proxy: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(20))
    parameters: Mapped[dict[str, Any]]
    """As they were planned, without the fixed ones."""
    why: Mapped[str] = mapped_column(Text)
    numbers: Mapped[dict[str, Any]]
    max_attempts: Mapped[int]
    attempts: Mapped[int] = mapped_column(default=0)
    """Leases that were not handed back."""
    leases: Mapped[int] = mapped_column(default=0)
    """All of them."""
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    lease_token: Mapped[str | None] = mapped_column(String(100))
    lease_expires_at: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    step: Mapped[int] = mapped_column(default=0)
    points_through: Mapped[int] = mapped_column(default=-1)
    """Step of the last point that is stored of the present lease."""
    loss: Mapped[float | None]
    """Null where it diverged, or has no result."""
    metrics: Mapped[dict[str, Any] | None]
    error: Mapped[str] = mapped_column(Text, default="")
    """Of the last attempt that failed."""
    job: Mapped[str | None] = mapped_column(String(200))
    steps: Mapped[int] = mapped_column(default=0)
    """This and the three below: what its attempts took, as far as they said."""
    tokens: Mapped[float] = mapped_column(default=0.0)
    flops: Mapped[float] = mapped_column(default=0.0)
    seconds: Mapped[float] = mapped_column(default=0.0)
    curve: Mapped[str | None] = mapped_column(String(40))
    """Id of the stored curve that its points became."""
    curve_due_since: Mapped[datetime | None]
    """When it ended, while its curve is still to be made."""
    created_at: Mapped[datetime] = mapped_column(server_default=utc_now())
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class TrialPointsRow(Base):
    """What a trial measured: the points of one heartbeat in one row, packed as measurements are."""

    __tablename__ = "trial_points"

    trial: Mapped[str] = mapped_column(
        String(40), ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True
    )
    lease: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Its first step."""
    data: Mapped[bytes]


class IdempotencyRow(Base):
    """Replies kept for ``Idempotency-Key``."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_expires_at", "expires_at"),)

    scope: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(300), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(200))
    status: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[bytes | None]
    headers: Mapped[dict[str, Any] | None]
    expires_at: Mapped[datetime]
