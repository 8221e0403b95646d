"""The parent's end of the planning process."""

from pacesetter_service.planning.messages import PlanAnswer, PlanRequest
from pacesetter_service.processes.parent import ChildProcess


class PlanningProcess(ChildProcess):
    """One planning process, started when it is needed first. One request at a time."""

    def __init__(
        self,
        module: str,
        timeout_seconds: float,
        environment: dict[str, str],
        warm: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            "the planning process",
            "pacesetter_service.planning.process",
            (module, *warm),
            timeout_seconds,
            environment,
        )

    async def plan(self, request: PlanRequest) -> PlanAnswer:
        """Return the strategy's answer.

        Raises:
            ChildCrashed: The process died or took too long; the next call starts another.
        """
        answer = await self.ask(request.model_dump_json(by_alias=True).encode())
        return PlanAnswer.model_validate_json(answer)
