"""Asks the slow strategies of experiments, one after the other, in a process of their own.

Which experiments are due stands in the database, so what a controller was killed at is asked again at its next start:
same trials, same seed, same plans.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from time import perf_counter

from pacesetter_service.database.store import Store
from pacesetter_service.errors import ControllerError
from pacesetter_service.experiments import planning, repository
from pacesetter_service.experiments.messages import StudyAnswer, StudyRequest
from pacesetter_service.experiments.planning import Question
from pacesetter_service.experiments.remote import StudyProcess
from pacesetter_service.experiments.strategies import Studies
from pacesetter_service.processes.parent import ChildCrashed
from pacesetter_service.wakeup import wait_for

ATTEMPTS = 2
"""A failure may be the machine's (out of memory), so each question is asked a second time."""

IDLE_ROUNDS = 12
"""Looks that find nothing to plan until the process is ended: its libraries take some hundred megabytes."""

logger = logging.getLogger(__name__)


class StudyRunner:
    """Looks for experiments that are due when it is woken, and every few seconds for those of other replicas.

    Args:
        store: Where experiments are.
        studies: The strategies.
        process: What plans.
        every_seconds: How often to look though nobody woke it.
        observe: Called with the strategy's name and the seconds that it took.
    """

    def __init__(
        self,
        store: Store,
        studies: Studies,
        process: StudyProcess,
        every_seconds: float,
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        self._store = store
        self._studies = studies
        self._process = process
        self._every_seconds = every_seconds
        self._observe = observe
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._planning = asyncio.Lock()
        self._failures: dict[tuple[str, int], int] = {}

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="experiments")

    async def close(self) -> None:
        """Stop at once: what was not stored is planned again at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._process.stop()

    def wake(self) -> None:
        """Look soon: an experiment may be due."""
        self._woken.set()

    async def plan(self) -> tuple[str, ...]:
        """Ask the strategies that are due; return their experiments. One that fails holds up no other."""
        async with self._planning:
            due = await self._store.read(planning.due_experiments)
            for experiment in due:
                try:
                    await self._plan(experiment)
                except ControllerError as error:
                    logger.warning("experiment %s is planned later: %s", experiment, error)
                except Exception:
                    logger.exception("planning experiment %s failed", experiment)
            return due

    async def _plan(self, experiment: str) -> None:
        question = await self._store.read(
            lambda tx: planning.question_of(tx, experiment, self._studies)
        )
        if question is None:
            await self._store.write(
                lambda tx: repository.change_experiment(tx, experiment, due_since=None)
            )
            return
        began = perf_counter()
        answer = await self._ask(question)
        if self._observe is not None:
            self._observe(question.strategy, perf_counter() - began)
        place = (experiment, question.planned)
        if answer.error is None:
            self._failures.pop(place, None)
            await self._store.write(
                lambda tx: planning.commit(tx, question, answer.plans, self._studies)
            )
            return
        self._failures[place] = self._failures.get(place, 0) + 1
        if self._failures[place] < ATTEMPTS:
            logger.warning(
                "planning experiment %s failed, one more try: %s", experiment, answer.error
            )
            self.wake()
            return
        self._failures.pop(place)
        problem = answer.error
        await self._store.write(lambda tx: planning.fail(tx, question, problem))

    async def _ask(self, question: Question) -> StudyAnswer:
        try:
            return await self._process.plan(StudyRequest.of(question))
        except ChildCrashed as error:
            return StudyAnswer(error=f"ChildCrashed: {error}")

    async def _run(self) -> None:
        idle = 0
        while True:
            try:
                idle = 0 if await self.plan() else idle + 1
                if idle == IDLE_ROUNDS:
                    await self._process.stop()
            except ControllerError as error:
                logger.warning("cannot look for experiments to plan: %s", error)
            except Exception:
                logger.exception("looking for experiments to plan failed")
            await wait_for(self._woken, self._every_seconds)
