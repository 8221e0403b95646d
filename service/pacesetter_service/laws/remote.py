"""The parent's end of the fitting process."""

import asyncio

from pacesetter_service.laws.messages import FitAnswer, FitRequest
from pacesetter_service.processes.parent import ChildProcess


class FittingProcess(ChildProcess):
    """One fitting process, started when it is needed. One request at a time."""

    def __init__(self, timeout_seconds: float, environment: dict[str, str]) -> None:
        super().__init__(
            "the fitting process",
            "pacesetter_service.laws.process",
            (),
            timeout_seconds,
            environment,
        )

    async def fit(self, request: FitRequest) -> FitAnswer:
        """Return the law of some curves, or why there is none.

        Raises:
            ChildCrashed: The process died or took too long; the next call starts another.
        """
        # Some megabytes where there are many curves: not written on the loop that takes reports.
        body = await asyncio.to_thread(lambda: request.model_dump_json().encode())
        return FitAnswer.model_validate_json(await self.ask(body))
