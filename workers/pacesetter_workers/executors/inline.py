"""Runs trials in the worker's own process, one at a time: for debugging, and where a trial is its own parallelism."""

import logging
import queue
import threading
from collections.abc import Sequence

from pacesetter.protocol import Trial, TrialPoint

from pacesetter_workers.conduct import conduct
from pacesetter_workers.executors.base import (
    Alive,
    Ended,
    Event,
    Executor,
    Handle,
    Reported,
    Started,
)
from pacesetter_workers.outcome import Stopped
from pacesetter_workers.site import Site

logger = logging.getLogger(__name__)


class _ThreadChannel:
    """Points go into the queue of events; what an abandoned trial still says is dropped."""

    def __init__(self, handle: Handle, events: "queue.SimpleQueue[Event]") -> None:
        self.handle = handle
        self.cancelled = threading.Event()
        self.abandoned = False
        self._events = events

    def send(self, point: TrialPoint) -> None:
        self.put(Reported(self.handle, (point,)))

    def alive(self) -> None:
        self.put(Alive(self.handle))

    def is_cancelled(self) -> bool:
        return self.cancelled.is_set()

    def put(self, event: Event) -> None:
        if not self.abandoned:
            self._events.put(event)


class InlineExecutor(Executor):
    """One slot: a thread of this process. Trials share its random generators, so there cannot be two."""

    def __init__(self, site: Site) -> None:
        super().__init__(1)
        self._site = site
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._running: _ThreadChannel | None = None
        self._handles = 0

    @property
    def free(self) -> int:
        """1 or 0."""
        return 0 if self._running else 1

    def submit(self, trial: Trial) -> Handle:
        """Start a thread for the trial."""
        self._handles += 1
        channel = _ThreadChannel(self._handles, self._events)
        self._running = channel
        # A thread of its own, so that a trial that hangs in one does not hold up the next.
        threading.Thread(
            target=self._run, args=(trial, channel), name=f"trial-{trial.id}", daemon=True
        ).start()
        return channel.handle

    def poll(self, seconds: float) -> Sequence[Event]:
        """Return what happened, in order."""
        events: list[Event] = []
        try:
            events.append(
                self._events.get(timeout=seconds) if seconds else self._events.get_nowait()
            )
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            pass
        # What came before a trial was abandoned may still have waited in the queue.
        current = self._running
        kept = [event for event in events if current is None or event.handle == current.handle]
        if any(isinstance(event, Ended) for event in kept):
            self._running = None
        return kept

    def cancel(self, handle: Handle) -> None:
        """Ask the trial to stop."""
        if self._running and self._running.handle == handle:
            self._running.cancelled.set()

    def kill(self, handle: Handle) -> None:
        """Abandon the trial: a thread cannot be killed, and ends at its next report, if there is one."""
        channel = self._running
        if channel is None or channel.handle != handle:
            return
        logger.warning(
            "a trial that does not answer goes on in a thread until its next report; "
            "the executors `process` and `ray` can end one"
        )
        channel.cancelled.set()
        channel.abandoned = True
        self._events.put(Ended(handle, Stopped()))

    def close(self) -> None:
        """Ask the trial to stop; its thread ends with the process at the latest."""
        if self._running:
            self._running.cancelled.set()
            self._running.abandoned = True

    def _run(self, trial: Trial, channel: _ThreadChannel) -> None:
        channel.put(Started(channel.handle))
        channel.put(Ended(channel.handle, conduct(trial, self._site, channel)))
