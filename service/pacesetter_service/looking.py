"""What works in the background: looks when it is woken, and every few seconds for what other replicas left."""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod

from pacesetter_service.errors import ControllerError
from pacesetter_service.wakeup import wait_for

logger = logging.getLogger(__name__)


class Looking(ABC):
    """A task that looks for ever. What is to be done stands in the database, so that nothing is lost with it.

    Args:
        what: It looks for, as its warnings say it.
        every_seconds: How often to look though nobody woke it.
    """

    def __init__(self, what: str, every_seconds: float) -> None:
        self._what = what
        self._every_seconds = every_seconds
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name=self._what)

    async def close(self) -> None:
        """Stop at once: what was not stored is done at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """Look soon."""
        self._woken.set()

    @abstractmethod
    async def _look(self) -> float:
        """Do what there is to do; return how many seconds to wait then, if nobody wakes it."""

    async def _run(self) -> None:
        while True:
            pause = self._every_seconds
            try:
                pause = await self._look()
            except ControllerError as error:
                logger.warning("cannot look for %s: %s", self._what, error)
            except Exception:
                logger.exception("looking for %s failed", self._what)
            await wait_for(self._woken, pause)
