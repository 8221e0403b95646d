"""Daemon threads that outlive their own mistakes."""

import threading
import traceback
from collections.abc import Callable

from pacesetter.transport.conditions import Conditions

_LONGEST_PAUSE = 30.0


class Background:
    """Runs ``body`` in a daemon thread; if it raises, says so once and runs it again."""

    def __init__(
        self,
        name: str,
        body: Callable[[], None],
        stopped: threading.Event,
        conditions: Conditions,
    ) -> None:
        self.name = f"pacesetter-{name}"
        self._body = body
        self._stopped = stopped
        self._conditions = conditions
        self._finished = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread if it does not run; after ``body`` returned, nothing happens."""
        if self._finished or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the end of ``body``; return whether it has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, timeout_seconds))
        return self._finished or self._thread is None

    def _run(self) -> None:
        pause = 0.5
        while not self._finished:
            try:
                self._body()
                self._finished = True
            except Exception:
                self._conditions.begin(
                    self.name,
                    f"{self.name} failed and starts again; training goes on. Please report this:\n"
                    f"{traceback.format_exc()}",
                )
                if self._stopped.wait(pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE)
