"""What threads that talk to the controller about trials have in common: patience, and ending when they are told."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from pacesetter.errors import ServiceError
from pacesetter.leasing.calls import TrialCalls
from pacesetter.transport.calls import Away
from pacesetter.transport.timing import Backoff

logger = logging.getLogger(__name__)

RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 5.0
"""Below a quarter of the usual lease of a minute, so that none runs out for the waiting between attempts."""


class Talking(ABC):
    """A daemon thread with a connection of its own. Nothing that the controller answers ends it.

    Args:
        what: What it does, for its name and its log.
        connect: Opens a connection; closed by the thread.
    """

    def __init__(self, what: str, connect: Callable[[], TrialCalls]) -> None:
        self._what = what
        self._connect = connect
        self.away = False
        """Whether the last round failed: the controller did not answer, or not as it should."""
        self._broken: Exception | None = None
        self._wake = threading.Event()
        self._ending = threading.Event()
        # The prefix keeps httpx's line for every request out of the log.
        self._thread = threading.Thread(target=self._run, name=f"pacesetter-{what}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the thread, if it was a mistake of ours: without it no lease is held on to."""
        if self._broken is not None:
            raise self._broken

    def wake(self) -> None:
        """Have it look now."""
        self._wake.set()

    def stop(self, seconds: float) -> bool:
        """End it within ``seconds``; return whether it has ended."""
        self._ending.set()
        self._wake.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @abstractmethod
    def _round(self, calls: TrialCalls) -> float:
        """Do what there is to do; return the seconds until the next round, if nobody wakes it."""

    def _is_over(self) -> bool:
        """Return whether the thread may end, having been told to."""
        return True

    def _run(self) -> None:
        calls = self._connect()
        backoff = Backoff(RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        try:
            while not (self._ending.is_set() and self._is_over()):
                self._wake.clear()
                try:
                    pause = self._round(calls)
                except ServiceError as error:
                    if not self.away:
                        logger.warning("%s: the controller: %s; trying again", self._what, error)
                    self.away = True
                    pause = backoff.delay(error.retry_after if isinstance(error, Away) else None)
                    # Not where there is news, but when it is time; where it is to end, as often as it is told.
                    (self._wake if self._ending.is_set() else self._ending).wait(pause)
                    continue
                if self.away:
                    logger.info("%s: the controller is back", self._what)
                self.away = False
                backoff.reset()
                if pause > 0.0 and not self._ending.is_set():
                    self._wake.wait(pause)
        except Exception as error:
            self._broken = error
        finally:
            calls.close()
