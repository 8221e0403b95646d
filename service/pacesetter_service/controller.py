"""The controller: one facade over storage, reports, planning and wake-ups.

Everything HTTP knows of the domain goes through :class:`Controller`. Its methods run on the event loop, never block it,
and raise only :class:`~pacesetter_service.errors.ControllerError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pacesetter.protocol import JobSpec, JobStatus, Report, ReportReply, SegmentPage
from pydantic import JsonValue

from pacesetter_service.overrides import Override
from pacesetter_service.views import (
    CurveView,
    EventView,
    IdempotencyRecord,
    JobView,
    LedgerView,
    MainLinePiece,
    OverrideResult,
    Page,
    Registered,
    StoredToken,
)

Verb = Literal["pause", "resume", "cancel", "complete"]


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """What can be set about a controller besides where its database is."""

    migrate: bool = True
    """Bring the schema up to date at start."""
    registry: str = "pacesetter_search.strategies"
    """Module with ``get_strategy``, ``strategy_names`` and ``default_strategy``."""
    planning: bool = True
    """Start the planning process for slow strategies and the reaper."""
    lost_after_seconds: float = 300.0
    reap_every_seconds: float = 30.0
    plan_timeout_seconds: float = 300.0
    idempotency_seconds: float = 86_400.0
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the environment of the planning process."""


class Controller:
    """See the module's docstring. Open with :meth:`open`, close with :meth:`close`."""

    @classmethod
    async def open(
        cls, database_url: str, options: ControllerOptions | None = None
    ) -> "Controller":
        """Open the database (``sqlite:///path``, ``postgresql://...``), migrate it, start planning and the reaper.

        Raises:
            SchemaTooNew: A newer release wrote the database.
            UnsuitableDatabase: The URL or the file system cannot work.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued, stop planning and close every connection. Waiters wake and return False."""
        ...

    async def check(self) -> None:
        """Return if the database answers (for ``/readyz``). Raises Busy or StorageError."""
        ...

    async def register(
        self, spec: JobSpec, *, project: str = "default", validate_only: bool = False
    ) -> Registered:
        """Register a job, or a new session of a known one (idempotent by ``external_id`` and ``nonce``).

        With ``validate_only`` everything is checked and nothing stored; ids are empty then.

        Raises:
            StrategyRefused: The strategy is unknown or cannot steer the job.
            Conflict: The ``external_id`` belongs to a job with another budget, clock or base schedule.
        """
        ...

    async def report(self, job_id: str, report: Report) -> ReportReply:
        """Store the records of a report, advance the strategy, and return what is new for the job.

        Raises:
            NotFound: No such job, or the session is not one of its sessions.
        """
        ...

    async def segments_after(
        self, job_id: str, session_id: str | None = None, after: int = 0
    ) -> SegmentPage:
        """Return the sent segments with ``seq > after``; none for a session that is not the current one."""
        ...

    async def wait_segments(
        self, job_id: str, after: int, timeout_seconds: float, session_id: str | None = None
    ) -> bool:
        """Wait until ``segments_after`` has something (True) or time is up (False). Holds no connection meanwhile."""
        ...

    async def get_job(self, job_id: str) -> JobView:
        """Return a job. Raises NotFound."""
        ...

    async def list_jobs(
        self,
        project: str | None = None,
        page_size: int = 50,
        page_token: str = "",
        status: JobStatus | None = None,
    ) -> Page[JobView]:
        """Return jobs, newest first. Raises Refused (``BAD_PAGE_TOKEN``)."""
        ...

    async def update_job(
        self, job_id: str, *, name: str | None = None, tags: dict[str, JsonValue] | None = None
    ) -> JobView:
        """Change what may change: the name and the tags."""
        ...

    async def transition(self, job_id: str, verb: Verb, by: str = "person") -> JobView:
        """Pause, resume, cancel or complete a job. Raises Conflict where its status does not allow it.

        Doing what is done already changes nothing and is no error.
        """
        ...

    async def override(self, job_id: str, override: Override) -> OverrideResult:
        """Let a person decide. Raises NotFound, Conflict (ended, expired) or Refused."""
        ...

    async def events(self, job_id: str, after: int = 0, page_size: int = 100) -> Page[EventView]:
        """Return the audit trail after event number ``after``, oldest first; the page token is the last number."""
        ...

    async def curve(
        self, job_id: str, columns: Sequence[str] = ("loss", "lr"), max_points: int = 2000
    ) -> CurveView:
        """Return the measured columns (``position`` and ``step`` always), min-max downsampled."""
        ...

    async def schedule(self, job_id: str) -> tuple[MainLinePiece, ...]:
        """Return the main line so far, oldest piece first."""
        ...

    async def ledger(self, job_id: str) -> LedgerView:
        """Return what the job has spent."""
        ...

    async def reap(self, now: datetime | None = None) -> tuple[str, ...]:
        """Mark jobs without contact as lost, drop expired idempotency keys; return the ids of the jobs lost now."""
        ...

    # -- access ------------------------------------------------------------------------------------------------

    async def create_token(
        self,
        *,
        hmac: str,
        hint: str,
        name: str,
        scopes: Sequence[str],
        project: str = "default",
        expires_at: datetime | None = None,
    ) -> StoredToken:
        """Store a token by its HMAC. Raises Conflict (``TOKEN_EXISTS``)."""
        ...

    async def list_tokens(self, project: str | None = None) -> tuple[StoredToken, ...]:
        """Return all tokens, revoked and expired ones too, newest first."""
        ...

    async def revoke_token(self, token_id: str) -> StoredToken:
        """Revoke a token; once more changes nothing. Raises NotFound."""
        ...

    async def find_token(self, hmac: str) -> StoredToken | None:
        """Return the token with this HMAC if it is neither revoked nor expired, noting its use (once a minute)."""
        ...

    async def begin_idempotent(self, scope: str, key: str, fingerprint: str) -> IdempotencyRecord:
        """Claim an ``Idempotency-Key`` within ``scope`` (the caller's token)."""
        ...

    async def finish_idempotent(
        self,
        scope: str,
        key: str,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Store the reply of a claimed key."""
        ...

    async def abandon_idempotent(self, scope: str, key: str) -> None:
        """Give a claimed key back: the request failed and may be tried again."""
        ...
