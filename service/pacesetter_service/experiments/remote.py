"""The parent's end of the process of slow strategies."""

import asyncio

from pacesetter_service.experiments.messages import StudyAnswer, StudyRequest
from pacesetter_service.processes.parent import ChildProcess


class StudyProcess(ChildProcess):
    """One process that plans experiments, started when it is needed. One request at a time."""

    def __init__(self, module: str, timeout_seconds: float, environment: dict[str, str]) -> None:
        super().__init__(
            "the process that plans experiments",
            "pacesetter_service.experiments.process",
            (module,),
            timeout_seconds,
            environment,
        )

    async def plan(self, request: StudyRequest) -> StudyAnswer:
        """Return a strategy's answer.

        Raises:
            ChildCrashed: The process died or took too long; the next call starts another.
        """
        # A megabyte where there are thousands of trials: not written on the loop that takes reports.
        body = await asyncio.to_thread(lambda: request.model_dump_json(exclude_unset=True).encode())
        return StudyAnswer.model_validate_json(await self.ask(body))
