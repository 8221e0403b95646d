"""The parent's end of the planning process: starts it, talks to it, and starts it again when it died."""

import asyncio
import contextlib
import logging
import os
import sys

from pacesetter_service.planning.messages import PlanAnswer, PlanRequest
from pacesetter_service.planning.process import LENGTH, PINNED, READY

START_SECONDS = 120.0
CLOSE_SECONDS = 2.0

logger = logging.getLogger(__name__)


class PlannerCrashed(Exception):
    """The planning process died, or gave no answer in time, while it worked on a request."""


class PlanningProcess:
    """One planning process, started when it is needed first. One request at a time."""

    def __init__(
        self,
        module: str,
        timeout_seconds: float,
        environment: dict[str, str],
        warm: tuple[str, ...] = (),
    ) -> None:
        self._module = module
        self._warm = warm
        self._timeout_seconds = timeout_seconds
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._greeted = False

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def start(self) -> None:
        """Start the process if it does not run, and wait until its imports are done.

        Raises:
            PlannerCrashed: It did not come up.
        """
        async with self._starting:
            if self.pid is not None:
                return
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pacesetter_service.planning.process"),
                *(self._module, str(os.getpid()), *self._warm),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, **PINNED, **self._environment},
                start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
            )
            self._greeted = False
            if await self._receive(self._process, START_SECONDS) != READY:
                raise PlannerCrashed("the planning process did not greet")
            self._greeted = True

    async def plan(self, request: PlanRequest) -> PlanAnswer:
        """Return the strategy's answer.

        Raises:
            PlannerCrashed: The process died or took too long; the next call starts another.
        """
        await self.start()
        process = self._process
        assert process is not None and process.stdin is not None
        body = request.model_dump_json(by_alias=True).encode()
        try:
            process.stdin.write(LENGTH.pack(len(body)) + body)
            await process.stdin.drain()
        except OSError as error:
            await self.stop()
            raise PlannerCrashed("the planning process has died") from error
        answer = await self._receive(process, self._timeout_seconds)
        return PlanAnswer.model_validate_json(answer)

    async def _receive(self, process: asyncio.subprocess.Process, timeout_seconds: float) -> bytes:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(timeout_seconds):
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                return await process.stdout.readexactly(length)
        except TimeoutError:
            await self.stop()
            raise PlannerCrashed(f"no answer within {timeout_seconds:g} s") from None
        except (asyncio.IncompleteReadError, OSError) as error:
            await self.stop()
            raise PlannerCrashed("the planning process has died") from error
        except asyncio.CancelledError:
            # Its answer would be taken for that to the next request.
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process: by closing its stdin, by force if it does not listen."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        if not self._greeted and process.returncode is None:
            process.kill()  # it is busy with its imports and reads nothing yet
        try:
            async with asyncio.timeout(CLOSE_SECONDS if process.returncode is None else 0.1):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        with contextlib.suppress(OSError):
            await process.stdin.wait_closed()
        # The pipe of stdout is freed by its transport only, which asyncio does not hand out.
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()
