"""Plan the jobs that are due, one after the other, away from the API's event loop and from its transactions.

Which jobs are due stands in the database, so a controller that was killed in the middle of a decision takes it up by
itself when it starts again: same events, same seed, same segments.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter

from sqlalchemy import select

from pacesetter_service.database.models import JobRow
from pacesetter_service.database.store import Store, Transaction
from pacesetter_service.errors import ControllerError, NotFound
from pacesetter_service.jobs.open_job import ENDED, lock_job, open_job
from pacesetter_service.planning.commit import (
    apply_answer,
    hand_over,
    plan_now,
    slow_request,
    still_stands,
)
from pacesetter_service.planning.messages import PlanAnswer, PlanRequest
from pacesetter_service.planning.registry import Registry
from pacesetter_service.planning.remote import PlanningProcess
from pacesetter_service.planning.requests import next_request
from pacesetter_service.processes.parent import ChildCrashed

ATTEMPTS = 2
"""A failure may be the machine's (out of memory), so each decision has a second try."""
POLL_SECONDS = 5.0
WARM_AFTER_SECONDS = 1.0

logger = logging.getLogger(__name__)


class PlanningLoop:
    """Takes due jobs from a queue, and from the database every few seconds."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        process: PlanningProcess,
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        self._store = store
        self._observe = observe
        self._registry = registry
        self._process = process
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._failures: dict[str, int] = {}
        self._settled: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def process(self) -> PlanningProcess:
        """The process that plans."""
        return self._process

    def start(self) -> None:
        """Begin to plan."""
        self._tasks = [
            asyncio.create_task(self._work(), name="planning"),
            asyncio.create_task(self._poll(), name="planning-poll"),
            asyncio.create_task(self._warm(), name="planning-warm-up"),
        ]

    async def close(self) -> None:
        """Stop at once: what was not committed is planned again at the next start."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for event in self._settled.values():
            event.set()
        await self._process.stop()

    def add(self, job: str) -> None:
        """Plan ``job`` soon."""
        if job not in self._queued:
            self._queued.add(job)
            self._queue.put_nowait(job)

    async def settle(self, job: str, timeout_seconds: float) -> None:
        """Wait until ``job`` has been planned, or until time is up."""
        if job not in self._queued:
            return
        event = self._settled.setdefault(job, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await event.wait()

    async def _warm(self) -> None:
        """Have the process ready before it is needed, once the service itself has come up."""
        if not any(self._registry.type_of(name).slow for name in self._registry.names()):
            return
        await asyncio.sleep(WARM_AFTER_SECONDS)
        try:
            await self._process.start()
        except ChildCrashed as error:
            logger.warning("%s", error)

    async def _poll(self) -> None:
        """Find what another replica left, or what this one did before it was killed."""
        while True:
            try:
                for job in await self._store.read(due_jobs):
                    self.add(job)
            except ControllerError as error:
                logger.warning("cannot look for jobs to plan: %s", error)
            await asyncio.sleep(POLL_SECONDS)

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            # Taken off first: an event that comes from here on queues the job once more.
            self._queued.discard(job)
            try:
                await self._plan(job)
            except ControllerError as error:
                logger.warning("job %s is planned later: %s", job, error)
            except Exception:
                logger.exception("planning job %s failed", job)
            if job not in self._queued and (event := self._settled.pop(job, None)) is not None:
                event.set()

    async def _plan(self, job: str) -> None:
        registry = self._registry

        def plan_fast(tx: Transaction) -> None:
            opened = lock_job(tx, job)
            plan_now(opened, registry)
            opened.save()

        try:
            # Reading does not hold up whoever reports: the answer counts only while what was read still stands.
            request = await self._store.read(lambda tx: slow_request(open_job(tx, job), registry))
            if request is None:
                await self._store.write(plan_fast)
                return
        except NotFound:
            return
        began = perf_counter()
        try:
            answer = await self._ask(request)
        except ChildCrashed as error:
            answer = PlanAnswer(error=f"ChildCrashed: {error}")
        if self._observe is not None:
            self._observe(request.strategy, perf_counter() - began)
        if answer.error is not None and self._failed(job) < ATTEMPTS:
            logger.warning("planning job %s failed, one more try: %s", job, answer.error)
            self.add(job)
            return
        self._failures.pop(job, None)
        await self._store.write(lambda tx: self._commit(tx, request, answer))

    async def _ask(self, request: PlanRequest) -> PlanAnswer:
        """Return the answer to all events, request by request where they do not fit into one."""
        answer = whole = await self._process.plan(request)
        while answer.error is None and request.rest is not None:
            follow = partial(next_request, request=request, answer=answer)
            request = await self._store.read(follow)
            answer = await self._process.plan(request)
            whole = whole.then(answer)
        return whole

    def _failed(self, job: str) -> int:
        self._failures[job] = self._failures.get(job, 0) + 1
        return self._failures[job]

    def _commit(self, tx: Transaction, request: PlanRequest, answer: PlanAnswer) -> None:
        job = lock_job(tx, request.job)
        if still_stands(job, request):
            if answer.error is None:
                apply_answer(job, request, answer, self._registry)
            else:
                reason = f"strategy {job.strategy!r} failed {ATTEMPTS} times: {answer.error}"
                hand_over(job, reason, self._registry)
        job.save()


def due_jobs(tx: Transaction) -> tuple[str, ...]:
    """Return the jobs with an event that waits for their strategy, longest waiting first."""
    rows = tx.execute(
        select(JobRow.id)
        .where(
            JobRow.due_since.is_not(None),
            JobRow.due_event > JobRow.reduced_through,
            JobRow.status.not_in((*ENDED, "paused")),
        )
        .order_by(JobRow.due_since)
        .limit(1000)
    )
    return tuple(row.id for row in rows)
