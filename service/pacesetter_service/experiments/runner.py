"""Asks the strategies of experiments, one after the other: slow ones in a process of their own, others in a thread.

Which experiments are due stands in the database, so what a controller was killed at is asked again at its next start:
same trials, same seed, same plans.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import perf_counter

from pacesetter_service.database.store import Store
from pacesetter_service.errors import ControllerError
from pacesetter_service.experiments import planning
from pacesetter_service.experiments.messages import StudyAnswer, StudyRequest
from pacesetter_service.experiments.questions import Question
from pacesetter_service.experiments.remote import StudyProcess
from pacesetter_service.experiments.strategies import Studies
from pacesetter_service.looking import Looking
from pacesetter_service.processes.parent import ChildCrashed

ATTEMPTS = 2
"""A failure may be the machine's (out of memory), so each question is asked a second time."""

IDLE_ROUNDS = 12
"""Looks that find nothing to plan until the process is ended: its libraries take some hundred megabytes."""

logger = logging.getLogger(__name__)


class StudyRunner(Looking):
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
        super().__init__("experiments to plan", every_seconds)
        self._store = store
        self._studies = studies
        self._process = process
        self._observe = observe
        self._idle = 0
        self._planning = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._failures: dict[tuple[str, int], int] = {}

    async def close(self) -> None:
        """Stop at once: what was not stored is planned again at the next start."""
        await super().close()
        await self._process.stop()

    async def plan(self) -> tuple[str, ...]:
        """Ask the strategies that are due; return their experiments. One that fails holds up no other."""
        async with self._planning:
            due = await self._store.read(planning.due_experiments)
            for experiment in due:
                await self._plan_unless_busy(experiment)
            return due

    async def plan_quickly(self, experiments: Sequence[str]) -> None:
        """Ask those strategies of some experiments that are quick; the others are asked soon.

        What goes wrong is logged, and the experiment stays due: the caller's own work is done by then.
        """
        for experiment in experiments:
            async with self._asking:
                await self._plan_unless_busy(experiment, quickly=True)
        if experiments:
            self.wake()

    async def _plan_unless_busy(self, experiment: str, *, quickly: bool = False) -> None:
        try:
            while await self._plan(experiment, quickly=quickly):
                pass
        except ControllerError as error:
            logger.warning("experiment %s is planned later: %s", experiment, error)
        except Exception:
            logger.exception("planning experiment %s failed", experiment)

    async def _plan(self, experiment: str, *, quickly: bool) -> bool:
        """Ask the strategy of an experiment once; return whether it may have to be asked again at once."""
        question = await self._store.read(
            lambda tx: planning.question_of(tx, experiment, self._studies)
        )
        if question is None:
            await self._store.write(lambda tx: planning.settle(tx, experiment, self._studies))
            return False
        slow = self._studies.type_of(question.strategy).slow
        if slow and quickly:
            return False
        began = perf_counter()
        answer = await (self._ask_process(question) if slow else self._ask_here(question))
        if self._observe is not None:
            self._observe(question.strategy, perf_counter() - began)
        if answer.error is None:
            self._failures.pop((experiment, question.planned), None)
            await self._store.write(
                lambda tx: planning.commit(tx, question, answer.plans, self._studies)
            )
            return True
        return await self._failed(question, answer.error, attempts=ATTEMPTS if slow else 1)

    async def _failed(self, question: Question, problem: str, *, attempts: int) -> bool:
        place = (question.experiment, question.planned)
        self._failures[place] = self._failures.get(place, 0) + 1
        if self._failures[place] < attempts:
            logger.warning(
                "planning experiment %s failed, one more try: %s", question.experiment, problem
            )
            return True
        self._failures.pop(place)
        await self._store.write(lambda tx: planning.fail(tx, question, problem))
        return False

    async def _ask_process(self, question: Question) -> StudyAnswer:
        try:
            return await self._process.plan(StudyRequest.of(question))
        except ChildCrashed as error:
            return StudyAnswer(error=f"ChildCrashed: {error}")

    async def _ask_here(self, question: Question) -> StudyAnswer:
        try:
            # A newer release may refuse parameters that an older one took.
            strategy = self._studies.build(question.strategy, question.parameters)
            # Some milliseconds, and half a second of imports the first time: not on the loop that takes reports.
            return StudyAnswer(plans=await asyncio.to_thread(question.ask, strategy))
        except Exception as error:
            logger.exception("strategy %s failed", question.strategy)
            return StudyAnswer(error=f"{type(error).__name__}: {error}")

    async def _look(self) -> float:
        self._idle = 0 if await self.plan() else self._idle + 1
        if self._idle == IDLE_ROUNDS:
            await self._process.stop()
        return self._every_seconds
