"""Tells jobs what the trials of their experiments say by now, and ends what began with a job that is over."""

import asyncio
import contextlib
import logging

from pacesetter_service.database.store import Store
from pacesetter_service.errors import ControllerError
from pacesetter_service.experiments import beside
from pacesetter_service.planning.registry import Registry
from pacesetter_service.wakeup import wait_for

logger = logging.getLogger(__name__)


class StudyTeller:
    """Looks for jobs to tell when it is woken, and every few seconds for those of other replicas.

    Which jobs they are stands in the database: the experiment counts the trials that ended, and the job has the count
    that it was told of last.

    Args:
        store: Where jobs and experiments are.
        registry: The strategies of jobs.
        every_seconds: How often to look though nobody woke it.
    """

    def __init__(self, store: Store, registry: Registry, every_seconds: float) -> None:
        self._store = store
        self._registry = registry
        self._every_seconds = every_seconds
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="study-teller")

    async def close(self) -> None:
        """Stop at once: whoever was not told is told at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """Look soon: a trial has ended."""
        self._woken.set()

    async def tell(self) -> tuple[str, ...]:
        """Tell every job that waits; return those that were told. One that fails holds up no other."""
        told = []
        for job in await self._store.read(beside.waiting):
            try:
                if await self._tell(job):
                    told.append(job)
            except ControllerError as error:
                logger.warning("job %s is told of its proxies later: %s", job, error)
            except Exception:
                logger.exception("telling job %s of its proxies failed", job)
        await self._store.write(beside.cancel_orphans)
        return tuple(told)

    async def _tell(self, job: str) -> bool:
        listener = await self._store.read(lambda tx: beside.read_listener(tx, job))
        if listener is None:
            return False
        # A second with many cells: not on the loop that takes reports.
        facts = listener.facts.for_strategy()
        said = await asyncio.to_thread(beside.answer, facts, listener.question)
        return await self._store.write(lambda tx: beside.tell(tx, listener, said, self._registry))

    async def _run(self) -> None:
        while True:
            try:
                await self.tell()
            except ControllerError as error:
                logger.warning("cannot look for jobs to tell of their proxies: %s", error)
            except Exception:
                logger.exception("looking for jobs to tell of their proxies failed")
            await wait_for(self._woken, self._every_seconds)
