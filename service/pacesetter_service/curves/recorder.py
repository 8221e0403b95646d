"""Makes a curve of every job and trial that has ended, away from the path of their reports."""

import asyncio
import logging
from collections.abc import Callable

from pacesetter_service.curves.recording import ended_jobs, keep, make_curve, read_ended
from pacesetter_service.database.store import Store
from pacesetter_service.errors import ControllerError
from pacesetter_service.experiments import curves as trial_curves
from pacesetter_service.looking import Looking
from pacesetter_service.planning.registry import Registry

logger = logging.getLogger(__name__)


class CurveRecorder(Looking):
    """Looks for jobs and trials that have ended when it is woken, and every few seconds for those of other replicas.

    Which jobs they are stands in the database, so what a controller was killed at is done at its next start.

    Args:
        store: Where jobs and curves are.
        registry: The strategies, which may say what their probes found.
        every_seconds: How often to look though nobody woke it.
        kept: Called after a curve was stored.
    """

    def __init__(
        self, store: Store, registry: Registry, every_seconds: float, kept: Callable[[], None]
    ) -> None:
        self._store = store
        self._registry = registry
        self._kept = kept
        super().__init__("what has ended", every_seconds)

    async def record(self) -> tuple[str, ...]:
        """Make the curves that are due; return the jobs that now have one. A job that fails holds up no other."""
        recorded = []
        for job_id in await self._store.read(ended_jobs):
            try:
                if await self._record(job_id):
                    recorded.append(job_id)
            except ControllerError as error:
                logger.warning("the curve of job %s is made later: %s", job_id, error)
            except Exception:
                logger.exception("making the curve of job %s failed", job_id)
        return tuple(recorded)

    async def record_trials(self) -> tuple[str, ...]:
        """Make the curves of trials that are due; return the trials that now have one."""
        recorded = []
        for trial in await self._store.read(trial_curves.ended_trials):
            try:
                if await self._record_trial(trial):
                    recorded.append(trial)
            except ControllerError as error:
                logger.warning("the curve of trial %s is made later: %s", trial, error)
            except Exception:
                logger.exception("making the curve of trial %s failed", trial)
        if recorded:
            self._kept()
        return tuple(recorded)

    async def _record_trial(self, trial: str) -> bool:
        ended = await self._store.read(lambda tx: trial_curves.read_ended(tx, trial))
        if ended is None:
            return False
        curve = await asyncio.to_thread(trial_curves.make_curve, ended)
        return await self._store.write(lambda tx: trial_curves.keep(tx, ended, curve))

    async def _record(self, job_id: str) -> bool:
        job = await self._store.read(lambda tx: read_ended(tx, job_id))
        if job is None:
            return False
        outcome = await asyncio.to_thread(make_curve, job, self._registry)
        stored = await self._store.write(lambda tx: keep(tx, job, outcome))
        if not stored or outcome.curve is None:
            return False
        self._kept()
        return True

    async def _look(self) -> float:
        await self.record()
        await self.record_trials()
        return self._every_seconds
