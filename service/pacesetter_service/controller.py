"""The controller: one facade over storage, reports, planning and wake-ups.

Everything HTTP knows of the domain goes through :class:`Controller`. Its methods run on the event loop, never block it,
and raise only :class:`~pacesetter_service.errors.ControllerError`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pacesetter.protocol import JobSpec, JobStatus, Report, ReportReply, SegmentPage
from pacesetter_search.contract import STUDY, JobFacts, Strategy
from pacesetter_search.memory.jobs import job_priors
from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.exc import DatabaseError

from pacesetter_service.access import idempotency
from pacesetter_service.access.calls import AccessCalls
from pacesetter_service.curves.recorder import CurveRecorder
from pacesetter_service.curves.service import Curves
from pacesetter_service.database import check_schema, migrate, open_store
from pacesetter_service.errors import Busy, ControllerError, StorageError
from pacesetter_service.experiments.beside import Begins, answer, experiment_of, require_experiment
from pacesetter_service.experiments.reading import read_results
from pacesetter_service.experiments.remote import StudyProcess
from pacesetter_service.experiments.runner import StudyRunner
from pacesetter_service.experiments.service import Experiments
from pacesetter_service.experiments.strategies import Studies
from pacesetter_service.experiments.telling import StudyTeller
from pacesetter_service.jobs import lifecycle, reading, registration
from pacesetter_service.jobs.exporting import Format
from pacesetter_service.jobs.lifecycle import Verb
from pacesetter_service.jobs.open_job import ENDED
from pacesetter_service.jobs.outlooks import Outlooks
from pacesetter_service.jobs.registration import assess, would_register
from pacesetter_service.laws.remote import FittingProcess
from pacesetter_service.laws.runner import LawRunner
from pacesetter_service.laws.service import Laws
from pacesetter_service.overrides import Override
from pacesetter_service.overrides import service as overriding
from pacesetter_service.planning.registry import Registry
from pacesetter_service.planning.remote import PlanningProcess
from pacesetter_service.planning.runner import PlanningLoop
from pacesetter_service.recommendations.evidence import EvidenceCache
from pacesetter_service.recommendations.memory import Memory
from pacesetter_service.recommendations.repository import require_known
from pacesetter_service.recommendations.service import Recommendations
from pacesetter_service.reports import curves
from pacesetter_service.reports.checks import prepare
from pacesetter_service.reports.ingest import take_report
from pacesetter_service.segments.repository import segment_page
from pacesetter_service.views import (
    CurveView,
    EventView,
    JobView,
    LedgerView,
    MainLinePiece,
    OverrideResult,
    Page,
    Registered,
)
from pacesetter_service.wakeup import Wakeups, wait_for

POLL_SECONDS = 2.0
"""How often a waiting stream looks at the table although nobody woke it."""
FIRST_SEGMENTS_SECONDS = 7.0
"""A client waits 10 s to register; most first decisions take a tenth of a second."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """What can be set about a controller besides where its database is."""

    migrate: bool = True
    """Bring the schema up to date at start."""
    registry: str = "pacesetter_search.strategies"
    """Module with ``get_strategy``, ``strategy_names`` and ``default_strategy``."""
    studies: str = "pacesetter_search.studies"
    """Module with ``get_study_strategy``, ``STUDY_STRATEGIES`` and ``DEFAULT_STUDY_STRATEGY``."""
    planning: bool = True
    """Start what works in the background: the planning of slow strategies, the reaper, the making of curves."""
    lost_after_seconds: float = 300.0
    reap_every_seconds: float = 30.0
    record_every_seconds: float = 5.0
    """How often to look for jobs of other replicas that have ended; one's own are seen at once."""
    plan_timeout_seconds: float = 300.0
    fit_every_seconds: float = 5.0
    """How often to look for curves that other replicas stored; one's own are seen at once."""
    fit_after_seconds: float = 2.0
    """For how long the curves of a law must have been as they are before it is fitted anew."""
    fit_timeout_seconds: float = 300.0
    lease_seconds: float = 60.0
    """How long a worker holds a trial without a heartbeat."""
    study_every_seconds: float = 5.0
    """How often to look for experiments that other replicas left to be planned; one's own are seen at once."""
    idempotency_seconds: float = 86_400.0
    warm_imports: tuple[str, ...] = ("pacesetter_search.surrogates.acquisition",)
    """What the planning process imports before its first decision."""
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the environment of child processes."""
    observe_planning: Callable[[str, float], None] | None = None
    """Called with the strategy's name and the seconds that one decision of a slow strategy took."""
    observe_fit: Callable[[str, float], None] | None = None
    """Called with ``fitted`` or ``unfit`` and the seconds that the fit of a law took."""


class Controller(AccessCalls):
    """See the module's docstring. Open with :meth:`open`, close with :meth:`close`."""

    def __init__(self, database_url: str, options: ControllerOptions) -> None:
        super().__init__(open_store(database_url, self._after_commit), options.idempotency_seconds)
        self._options = options
        self._registry = Registry(options.registry)
        self._wakeups = Wakeups()
        self._kinds: dict[tuple[str, int], str] = {}
        process = PlanningProcess(
            options.registry,
            options.plan_timeout_seconds,
            options.environment,
            options.warm_imports,
        )
        self._planning = PlanningLoop(
            self._store, self._registry, process, options.observe_planning
        )
        self._reaper: asyncio.Task[None] | None = None
        self._law_runner = LawRunner(
            self._store,
            FittingProcess(options.fit_timeout_seconds, options.environment),
            options.fit_every_seconds,
            options.fit_after_seconds,
            options.observe_fit,
        )
        self._recorder = CurveRecorder(
            self._store, self._registry, options.record_every_seconds, self._law_runner.wake
        )
        studies = self._study_strategies = Studies(options.studies)
        self._studies = StudyRunner(
            self._store,
            studies,
            StudyProcess(options.studies, options.plan_timeout_seconds, options.environment),
            options.study_every_seconds,
            options.observe_planning,
        )
        self._teller = StudyTeller(self._store, self._registry, options.study_every_seconds)
        self.experiments = Experiments(
            self._store,
            studies,
            self._studies,
            options.lease_seconds,
            self._trial_ended,
            self._wakeups,
        )
        self.curves = Curves(self._store, self._law_runner.wake)
        self.laws = Laws(self._store)
        self._evidence = EvidenceCache(self._store)
        self.memory = Memory(self._evidence)
        self.outlooks = Outlooks(self._store, self.curves, self._evidence)
        self.recommendations = Recommendations(self._store, self._registry, self._evidence)

    async def _start(self) -> None:
        prepare_schema = migrate if self._options.migrate else check_schema
        try:
            await asyncio.to_thread(prepare_schema, self._store.engine)
        except ControllerError:
            self._store.engine.dispose()
            raise
        except DatabaseError as error:
            self._store.engine.dispose()
            raise StorageError(
                f"the database cannot be opened: {error.orig}",
                hint="check the URL, the permissions, and that the file is a database",
            ) from error
        await self._store.start()
        if self._options.planning:
            self._planning.start()
            self._reaper = asyncio.create_task(self._reap_for_ever(), name="reaper")
            self._recorder.start()
            self._law_runner.start()
            self._studies.start()
            self._teller.start()

    def _trial_ended(self) -> None:
        self._recorder.wake()
        self._teller.wake()

    def _after_commit(self, wakes: frozenset[str], due: frozenset[str]) -> None:
        for job in wakes:
            self._wakeups.wake(job)
        if self._options.planning:
            for job in due:
                self._planning.add(job)

    async def _with_first_segments(self, registered: Registered) -> Registered:
        """Wait a moment for a slow strategy's first segments, so that the job starts on them."""
        first = registered.registration
        await self._planning.settle(first.job, FIRST_SEGMENTS_SECONDS)
        if first.segments:
            return registered
        page = await self.segments_after(first.job)
        update = {"segments": page.segments}
        return replace(registered, registration=first.model_copy(update=update))

    async def _reap_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._options.reap_every_seconds)
            try:
                await self.reap()
            except ControllerError as error:
                logger.warning("cannot look for lost jobs: %s", error)

    @classmethod
    async def open(
        cls, database_url: str, options: ControllerOptions | None = None
    ) -> "Controller":
        """Open the database (``sqlite:///path``, ``postgresql://...``), migrate it, start planning and the reaper.

        Raises:
            SchemaTooNew: A newer release wrote the database.
            UnsuitableDatabase: The URL or the file system cannot work.
        """
        options = options or ControllerOptions()
        controller = cls(database_url, options)
        await controller._start()
        return controller

    async def close(self) -> None:
        """Finish what is queued, stop planning and close every connection. Waiters wake and return False."""
        self._wakeups.close()
        if self._reaper is not None:
            self._reaper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaper
        await self._recorder.close()
        await self._law_runner.close()
        await self._studies.close()
        await self._teller.close()
        await self._planning.close()
        await self._store.close()

    async def check(self) -> None:
        """Return if the database answers (for ``/readyz``). Raises Busy or StorageError."""
        await self._store.read(lambda tx: tx.execute(select(1)).scalar_one())

    def strategies(self) -> tuple[type[Strategy], ...]:
        """Return every strategy that jobs may choose, by name."""
        return tuple(self._registry.type_of(name) for name in self._registry.names())

    async def register(
        self, spec: JobSpec, *, project: str = "default", validate_only: bool = False
    ) -> Registered:
        """Register a job, or a new session of a known one (idempotent by ``external_id`` and ``nonce``).

        With ``validate_only`` everything is checked and nothing stored; ids are empty then.

        Raises:
            StrategyRefused: The strategy is unknown or cannot steer the job.
            Refused: The job names a recommendation or an experiment that the project does not have, or does not say
                enough for the proxies that it wants run.
            Conflict: The ``external_id`` belongs to a job with another clock, or base schedule for the same budget.
        """
        begins = await self._begins_with(spec, project)
        if validate_only:
            named = spec.recommendation
            if named is not None:
                await self._store.read(lambda tx: require_known(tx, named, project))
            await self._store.read(lambda tx: require_experiment(tx, spec, project))
            return would_register(assess(spec, self._registry))
        priors = await self._remembered(spec, project)
        registered = await self._store.write(
            lambda tx: registration.register(tx, spec, project, self._registry, priors, begins)
        )
        if begins is not None:
            self._studies.wake()
        if registered.is_new_job and self._options.planning:
            registered = await self._with_first_segments(registered)
        return registered

    async def _begins_with(self, spec: JobSpec, project: str) -> Begins | None:
        """Return the experiment that begins with a job that is new, if it wants proxies run."""
        known = spec.proxies is not None and await self._store.read(
            lambda tx: registration.is_known(tx, spec, project)
        )
        if spec.proxies is None or known:
            return None
        return experiment_of(spec, assess(spec, self._registry).facts, self._study_strategies)

    async def _remembered(self, spec: JobSpec, project: str) -> dict[str, JsonValue]:
        """Return what the project's other runs teach a job that is new and whose strategy asks."""
        if await self._store.read(lambda tx: registration.is_known(tx, spec, project)):
            return {}
        assessment = assess(spec, self._registry)
        said = await self._studied(spec, assessment.facts, project)
        if not assessment.strategy.remembers:
            return said
        evidence = await self._evidence.of(project)
        records = [one for one in evidence.recorded.records if one.regime == spec.regime]
        # A tenth of a second with a hundred runs: not on the loop that takes reports.
        remembered = await asyncio.to_thread(
            job_priors, records, assessment.facts, evidence.family_laws()
        )
        return {**remembered, **said}

    async def _studied(self, spec: JobSpec, facts: JobFacts, project: str) -> dict[str, JsonValue]:
        """Return what the experiment that a job names says of it when it registers."""
        named = None if spec.proxies is None else spec.proxies.experiment
        if named is None:
            return {}
        await self._store.read(lambda tx: require_experiment(tx, spec, project))
        question = await self._store.read(lambda tx: read_results(tx, named, project))
        said = await asyncio.to_thread(answer, facts, question)
        return {STUDY: said.model_dump(mode="json")}

    async def report(self, job_id: str, report: Report) -> ReportReply:
        """Store the records of a report, advance the strategy, and return what is new for the job.

        Raises:
            NotFound: No such job, or the session is not one of its sessions.
        """
        prepared = prepare(report)
        reply = await self._store.write(
            lambda tx: take_report(tx, job_id, report, prepared, self._registry, self._kinds)
        )
        if reply.status in ENDED:
            self._recorder.wake()
        return reply

    async def segments_after(
        self, job_id: str, session_id: str | None = None, after: int = 0
    ) -> SegmentPage:
        """Return the sent segments with ``seq > after``; none for a session that is not the current one."""
        return await self._store.read(lambda tx: segment_page(tx, job_id, session_id, after))

    async def wait_segments(
        self, job_id: str, after: int, timeout_seconds: float, session_id: str | None = None
    ) -> bool:
        """Wait until ``segments_after`` has something (True) or time is up (False). Holds no connection meanwhile."""
        deadline = time.monotonic() + timeout_seconds
        woken = self._wakeups.subscribe(job_id)
        try:
            while not self._wakeups.closed:
                try:
                    arrived = bool((await self.segments_after(job_id, session_id, after)).segments)
                except Busy:
                    arrived = (
                        False  # whoever waits has time: the database may be back by the next look
                    )
                left = deadline - time.monotonic()
                if arrived or left <= 0:
                    return arrived
                # A notice may be lost with the connection it came by; the table is never wrong.
                await wait_for(woken, min(left, POLL_SECONDS))
            return False
        finally:
            self._wakeups.unsubscribe(job_id, woken)

    async def get_job(self, job_id: str) -> JobView:
        """Return a job. Raises NotFound."""
        return await self._store.read(lambda tx: reading.get_job(tx, job_id))

    async def list_jobs(
        self,
        project: str | None = None,
        page_size: int = 50,
        page_token: str = "",
        status: JobStatus | None = None,
    ) -> Page[JobView]:
        """Return jobs, newest first. Raises Refused (``BAD_PAGE_TOKEN``)."""
        return await self._store.read(
            lambda tx: reading.list_jobs(tx, project, page_size, page_token, status)
        )

    async def update_job(
        self, job_id: str, *, name: str | None = None, tags: dict[str, JsonValue] | None = None
    ) -> JobView:
        """Change what may change: the name and the tags."""
        await self._store.write(lambda tx: lifecycle.update_details(tx, job_id, name, tags))
        return await self.get_job(job_id)

    async def transition(self, job_id: str, verb: Verb, by: str = "person") -> JobView:
        """Pause, resume, cancel or complete a job. Raises Conflict where its status does not allow it.

        Doing what is done already changes nothing and is no error.
        """
        await self._store.write(
            lambda tx: lifecycle.transition(tx, job_id, verb, by, self._registry)
        )
        self._recorder.wake()
        return await self.get_job(job_id)

    async def override(self, job_id: str, override: Override) -> OverrideResult:
        """Let a person decide. Raises NotFound, Conflict (ended, expired) or Refused."""
        return await self._store.write(
            lambda tx: overriding.override(tx, job_id, override, self._registry)
        )

    async def events(
        self, job_id: str, after: int = 0, page_size: int = 100, types: Sequence[str] = ()
    ) -> Page[EventView]:
        """Return the audit trail after event number ``after``, oldest first; the page token is the last number.

        ``types`` leaves out events of every other type; none means all.
        """
        return await self._store.read(
            lambda tx: reading.list_events(tx, job_id, after, page_size, types)
        )

    async def curve(
        self,
        job_id: str,
        columns: Sequence[str] = ("loss", "lr"),
        max_points: int = 2000,
        *,
        all_sessions: bool = False,
    ) -> CurveView:
        """Return the measured columns (``position`` and ``step`` always), min-max downsampled.

        Of what a session trained beyond the place where a later one resumed, nothing is shown without
        ``all_sessions``.
        """
        return await self._store.read(
            lambda tx: curves.curve(tx, job_id, columns, max_points, all_sessions=all_sessions)
        )

    async def schedule(self, job_id: str) -> tuple[MainLinePiece, ...]:
        """Return the main line so far, oldest piece first."""
        return await self._store.read(lambda tx: reading.main_line(tx, job_id))

    async def export_schedule(self, job_id: str, form: Format) -> str:
        """Return the main line as CSV, or as a Python file that replays it (``torch``, ``hf``). Raises NotFound."""
        return await self._store.read(lambda tx: reading.export(tx, job_id, form))

    async def ledger(self, job_id: str) -> LedgerView:
        """Return what the job has spent."""
        return await self._store.read(lambda tx: reading.ledger(tx, job_id))

    async def tell_studies(self) -> tuple[str, ...]:
        """Tell jobs what their proxies say by now, at once; return those that were told."""
        return await self._teller.tell()

    async def reap(self, now: datetime | None = None) -> tuple[str, ...]:
        """Mark jobs without contact as lost, end trials whose last lease ran out, drop expired idempotency keys.

        Returns the ids of the jobs lost now.
        """
        lost_after = self._options.lost_after_seconds
        lost = await self._store.write(lambda tx: lifecycle.mark_lost(tx, lost_after, now))
        await self.experiments.reap(now)
        await self._store.write(lambda tx: idempotency.expire(tx, now))
        if lost:
            self._recorder.wake()
        return lost

    async def record_curves(self) -> tuple[str, ...]:
        """Make the curves of jobs that have ended; return the jobs that now have one."""
        return await self._recorder.record()

    async def record_trial_curves(self) -> tuple[str, ...]:
        """Make the curves of trials that are done; return the trials that now have one."""
        return await self._recorder.record_trials()

    async def fit_laws(self) -> tuple[str, ...]:
        """Fit the laws whose curves changed, at once; return the ids of the new versions."""
        return await self._law_runner.fit(at_once=True)
