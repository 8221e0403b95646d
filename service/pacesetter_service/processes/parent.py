"""The parent's end of a child process: starts it, talks to it, and starts it again when it died."""

import asyncio
import contextlib
import os
import sys

from pacesetter_service.processes.child import LENGTH, PINNED, READY

START_SECONDS = 120.0
CLOSE_SECONDS = 2.0


class ChildCrashed(Exception):
    """A child process died, or gave no answer in time, while it worked on a request."""


class ChildProcess:
    """One child process, started when it is needed first. One request at a time.

    Args:
        name: What people call it, such as ``the planning process``.
        module: Run with ``python -m``, with this process's id and ``arguments``; it calls :func:`child.serve`.
        arguments: Further arguments.
        timeout_seconds: How long an answer may take.
        environment: Added to that of this process.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: tuple[str, ...],
        timeout_seconds: float,
        environment: dict[str, str],
    ) -> None:
        self.name = name
        self._module = module
        self._arguments = arguments
        self._timeout_seconds = timeout_seconds
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._listens = False

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def start(self) -> None:
        """Start the process if it does not run, and wait until it listens.

        Raises:
            ChildCrashed: It did not come up.
        """
        async with self._starting:
            if self.pid is not None:
                return
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._module),
                *(str(os.getpid()), *self._arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, **PINNED, **self._environment},
                start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
            )
            self._listens = False
            if await self._receive(self._process, START_SECONDS) != READY:
                raise ChildCrashed(f"{self.name} did not greet")
            self._listens = True

    async def ask(self, body: bytes) -> bytes:
        """Return the answer to a message.

        Raises:
            ChildCrashed: The process died or took too long; the next call starts another.
        """
        await self.start()
        process = self._process
        assert process is not None and process.stdin is not None
        self._listens = False
        try:
            process.stdin.write(LENGTH.pack(len(body)) + body)
            await process.stdin.drain()
        except OSError as error:
            await self.stop()
            raise ChildCrashed(f"{self.name} has died") from error
        answer = await self._receive(process, self._timeout_seconds)
        self._listens = True
        return answer

    async def _receive(self, process: asyncio.subprocess.Process, timeout_seconds: float) -> bytes:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(timeout_seconds):
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                return await process.stdout.readexactly(length)
        except TimeoutError:
            await self.stop()
            raise ChildCrashed(f"{self.name} gave no answer within {timeout_seconds:g} s") from None
        except (asyncio.IncompleteReadError, OSError) as error:
            await self.stop()
            raise ChildCrashed(f"{self.name} has died") from error
        except asyncio.CancelledError:
            # Its answer would be taken for that to the next request.
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process: by closing its stdin, by force if it is at work and reads nothing.

        Whoever is cancelled meanwhile waits for its end nevertheless: it would be left half closed.
        """
        process, self._process = self._process, None
        if process is None:
            return
        ending = asyncio.create_task(_end(process, at_work=not self._listens))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending
            raise


async def _end(process: asyncio.subprocess.Process, *, at_work: bool) -> None:
    assert process.stdin is not None
    process.stdin.close()
    if at_work and process.returncode is None:
        process.kill()  # it is busy with its imports or a request; nobody waits for the answer
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
