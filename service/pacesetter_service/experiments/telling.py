"""Tells jobs what the trials of their experiments say by now, and ends what began with a job that is over."""

import asyncio
import logging
from functools import partial

from pacesetter_service.database.store import Store
from pacesetter_service.errors import ControllerError
from pacesetter_service.experiments import beside
from pacesetter_service.looking import Looking
from pacesetter_service.planning.registry import Registry

logger = logging.getLogger(__name__)


class StudyTeller(Looking):
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
        super().__init__("jobs to tell of their proxies", every_seconds)

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
        for experiment in await self._store.read(beside.orphans):
            await self._store.write(partial(beside.cancel_orphan, experiment=experiment))
        return tuple(told)

    async def _tell(self, job: str) -> bool:
        listener = await self._store.read(lambda tx: beside.read_listener(tx, job))
        if listener is None:
            return False
        # A second with many cells: not on the loop that takes reports.
        facts = listener.facts.for_strategy()
        said = await asyncio.to_thread(beside.answer, facts, listener.question)
        return await self._store.write(lambda tx: beside.tell(tx, listener, said, self._registry))

    async def _look(self) -> float:
        await self.tell()
        return self._every_seconds
