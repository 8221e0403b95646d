"""Experiments as the controller hands them out, and trials as workers take them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from time import monotonic

from pacesetter.protocol import (
    Claim,
    Claimed,
    ExperimentSpec,
    Heartbeat,
    HeartbeatReply,
    Lease,
    TrialFailure,
    TrialResult,
    TrialReturn,
    TrialStatus,
)
from pacesetter_search.studies import Place, StudyStrategy

from pacesetter_service.database.store import Store, Transaction
from pacesetter_service.errors import ControllerError
from pacesetter_service.experiments import leases, planning, points, repository
from pacesetter_service.experiments.leases import Ended
from pacesetter_service.experiments.reading import read_study
from pacesetter_service.experiments.runner import StudyRunner
from pacesetter_service.experiments.strategies import Studies
from pacesetter_service.experiments.study import Answer, answer
from pacesetter_service.experiments.views import (
    ExperimentStatus,
    ExperimentView,
    TrialCurve,
    TrialView,
)
from pacesetter_service.views import Page
from pacesetter_service.wakeup import Wakeups, wait_for

POLL_SECONDS = 1.0
"""Between looks of a claim that waits: nobody is woken when a lease runs out."""

logger = logging.getLogger(__name__)


class Experiments:
    """The experiments of a controller.

    Args:
        store: Where they are.
        studies: The strategies.
        runner: Asks slow strategies.
        lease_seconds: How long a lease holds without a heartbeat.
        ended: Called after a trial has ended.
        wakeups: Where claims wait.
    """

    def __init__(
        self,
        store: Store,
        studies: Studies,
        runner: StudyRunner,
        lease_seconds: float,
        ended: Callable[[], None],
        wakeups: Wakeups,
    ) -> None:
        self._store = store
        self._studying = asyncio.Lock()
        self._studies = studies
        self._runner = runner
        self._lease_seconds = lease_seconds
        self._ended = ended
        self._wakeups = wakeups

    def strategies(self) -> tuple[type[StudyStrategy], ...]:
        """Return every strategy that experiments may choose, by name."""
        return self._studies.types()

    async def create(self, spec: ExperimentSpec, project: str) -> ExperimentView:
        """Begin an experiment. Raises StrategyRefused where its strategy cannot plan it."""
        choice = self._studies.choose(spec)

        def work(tx: Transaction) -> str:
            experiment = repository.insert_experiment(tx, spec, choice, project)
            self._advance(tx, experiment)
            return experiment

        experiment = await self._store.write(work)
        await self._runner.plan_quickly([experiment])
        return await self.get(experiment, project)

    async def get(self, experiment: str, project: str | None = None) -> ExperimentView:
        """Return an experiment, of any project where none is named. Raises NotFound."""
        return await self._store.read(lambda tx: repository.get_experiment(tx, experiment, project))

    async def page(
        self,
        project: str | None = None,
        status: ExperimentStatus | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> Page[ExperimentView]:
        """Return a page of experiments, newest first. Raises Refused (``BAD_PAGE_TOKEN``)."""
        return await self._store.read(
            lambda tx: repository.list_experiments(tx, project, status, page_size, page_token)
        )

    async def cancel(
        self, experiment: str, project: str | None = None, by: str = "person"
    ) -> ExperimentView:
        """Cancel an experiment; one that is over stays as it is. Raises NotFound."""
        await self.get(experiment, project)
        await self._store.write(lambda tx: planning.cancel(tx, experiment, by))
        return await self.get(experiment, project)

    async def trials(
        self,
        experiment: str,
        project: str | None = None,
        status: TrialStatus | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> Page[TrialView]:
        """Return a page of an experiment's trials by their numbers. Raises NotFound, or Refused."""
        await self.get(experiment, project)
        return await self._store.read(
            lambda tx: repository.list_trials(tx, experiment, status, page_size, page_token)
        )

    async def trial(self, trial: str, project: str | None = None) -> TrialCurve:
        """Return a trial with what it measured. Raises NotFound."""
        return await self._store.read(
            lambda tx: TrialCurve(repository.get_trial(tx, trial, project), points.read(tx, trial))
        )

    async def study(
        self, experiment: str, project: str | None = None, target: Place | None = None
    ) -> Answer:
        """Return what the trials say of the best peak at a target. Raises NotFound, or Refused (``NO_STUDY``)."""
        results, check = await self._store.read(lambda tx: read_study(tx, experiment, project))
        # Seconds with many cells: not on the loop that takes reports, nor in all threads that there are.
        async with self._studying:
            return await asyncio.to_thread(answer, results, check, target)

    async def claim(
        self,
        wish: Claim,
        project: str,
        wait_seconds: float = 0.0,
        is_gone: Callable[[], Awaitable[bool]] | None = None,
    ) -> Claimed:
        """Lease trials to a worker, and have planned what the experiments lack then.

        Args:
            wish: Who asks, what it may run, how many it wants.
            project: Whose trials.
            wait_seconds: How long to wait for the first trial where there is none.
            is_gone: Returns whether nobody waits for the answer any more: what it leased would run nowhere.
        """
        ends_at = monotonic() + wait_seconds
        queue = repository.queue_of(project)
        queued = self._wakeups.subscribe(queue)
        try:
            while True:
                claimed = await self._claim(wish, project)
                left = ends_at - monotonic()
                if claimed.leases or left <= 0.0:
                    return claimed
                woken = await wait_for(queued, min(left, POLL_SECONDS))
                if not woken and left <= POLL_SECONDS:
                    return claimed  # whoever asks again has looked by then
                if self._wakeups.closed or (is_gone is not None and await is_gone()):
                    return claimed
        finally:
            self._wakeups.unsubscribe(queue, queued)

    async def _claim(self, wish: Claim, project: str) -> Claimed:
        first = await self._take(wish, project)
        missing = wish.most - len(first)
        try:
            second = await self._plan_and_take(wish, project, missing)
        except ControllerError as error:
            # What was leased is on its way to the worker, whatever comes of the rest.
            logger.warning("what worker %s claimed is planned on later: %s", wish.worker, error)
            second = ()
        return Claimed(leases=first + second)

    async def heartbeat(
        self, trial: str, beat: Heartbeat, project: str | None = None
    ) -> HeartbeatReply:
        """Let a lease hold on. Raises NotFound, or Conflict (``LEASE_LOST``)."""
        return await self._store.write(
            lambda tx: leases.heartbeat(tx, trial, beat, project, self._lease_seconds)
        )

    async def finish(
        self, trial: str, result: TrialResult, project: str | None = None
    ) -> TrialView:
        """Store a trial's result. Raises NotFound, or Conflict (``LEASE_LOST``)."""
        return await self._end(trial, lambda tx: leases.finish(tx, trial, result, project))

    async def fail(
        self, trial: str, failure: TrialFailure, project: str | None = None
    ) -> TrialView:
        """Note that an attempt failed. Raises NotFound, or Conflict (``LEASE_LOST``)."""
        return await self._end(trial, lambda tx: leases.fail(tx, trial, failure, project))

    async def give_back(
        self, trial: str, back: TrialReturn, project: str | None = None
    ) -> TrialView:
        """Let a trial wait anew. Raises NotFound, or Conflict (``LEASE_LOST``)."""
        return await self._end(trial, lambda tx: leases.give_back(tx, trial, back, project))

    async def reap(self, now: datetime | None = None) -> tuple[str, ...]:
        """End the trials whose last lease ran out; return their experiments."""

        def work(tx: Transaction) -> tuple[list[str], tuple[str, ...]]:
            experiments = leases.reap(tx, now)
            return [one for one in experiments if self._advance(tx, one, ended=1)], experiments

        due, experiments = await self._store.write(work)
        await self._runner.plan_quickly(due)
        return experiments

    async def plan(self) -> tuple[str, ...]:
        """Ask the strategies that are due, at once; return their experiments."""
        return await self._runner.plan()

    def _advance(
        self, tx: Transaction, experiment: str, *, ended: int = 0, missing: int = 0
    ) -> bool:
        return planning.advance(tx, experiment, self._studies, ended=ended, missing=missing)

    async def _take(self, wish: Claim, project: str) -> tuple[Lease, ...]:
        return await self._store.write(
            lambda tx: leases.claim(tx, wish, project, self._lease_seconds)
        )

    async def _plan_and_take(self, wish: Claim, project: str, missing: int) -> tuple[Lease, ...]:
        """Ask for what experiments lack; return what of it a worker gets that wanted more than there was."""
        hungry = await self._store.read(
            lambda tx: planning.hungry(tx, project, self._studies, wish.proxies, missing)
        )
        if not hungry:
            return ()

        def ask(tx: Transaction) -> list[str]:
            return [one for one in hungry if self._advance(tx, one, missing=missing)]

        await self._runner.plan_quickly(await self._store.write(ask))
        if missing == 0:
            return ()
        return await self._take(wish.model_copy(update={"most": missing}), project)

    async def _end(self, trial: str, end: Callable[[Transaction], Ended | None]) -> TrialView:
        """End a lease, and let the experiment go on."""

        def work(tx: Transaction) -> list[str]:
            ended = end(tx)
            if ended is None or not self._advance(tx, ended.experiment, ended=ended.trials):
                return []
            return [ended.experiment]

        await self._runner.plan_quickly(await self._store.write(work))
        self._ended()
        return await self._store.read(lambda tx: repository.get_trial(tx, trial))
