"""What came from the service: segments merged from replies and stream, and where the job stands."""

import threading
from collections import deque
from collections.abc import Iterable

from pacesetter.protocol import JobStatus, Segment
from pacesetter.transport.base import Bell, UnreadableSegment

Arrival = Segment | UnreadableSegment

_OVER: frozenset[JobStatus] = frozenset({"completed", "failed", "cancelled"})
_STEERED: frozenset[JobStatus] = frozenset({"registered", "running", "lost"})


class Inbox:
    """Delivers each ``seq`` once and in order, whichever way it came first."""

    def __init__(self, bell: Bell | None = None) -> None:
        self.bell = bell or Bell()
        self._changed = threading.Condition()
        self._arrived: deque[Arrival] = deque()
        self._status: JobStatus | None = None
        self._ended = False
        self.seen = 0
        """Highest ``seq`` received."""
        self.kept_through: int | None = None
        self.silenced = False

    @property
    def steering(self) -> bool:
        """Whether the job is registered, and neither paused nor over at the service's side."""
        return self._status in _STEERED and not self.silenced

    def begin(
        self,
        carried: Iterable[Segment],
        unreadable: Iterable[UnreadableSegment],
        status: JobStatus,
    ) -> None:
        """Start behind the segments of the registration: it carried the readable ones, the others are delivered."""
        with self._changed:
            self._arrived.extend(unreadable)
            seqs = [arrival.seq for arrival in (*carried, *self._arrived)]
            self.seen = max(seqs, default=0)
            self.bell.rung = True
        self.set_status(status)

    def deliver(self, arrivals: Iterable[Arrival]) -> None:
        """Add what is new of ``arrivals``; the rest came already by the other way."""
        with self._changed:
            if self.silenced:
                return
            for arrival in sorted(arrivals, key=lambda one: one.seq):
                if arrival.seq > self.seen:
                    self.seen = arrival.seq
                    self._arrived.append(arrival)
                    self.bell.rung = True
            self._changed.notify_all()

    def receive(self) -> Arrival | None:
        """Return the next arrival or None, without blocking."""
        if not self._arrived:
            return None
        try:
            return self._arrived.popleft()
        except IndexError:  # silenced between the two lines
            return None

    def wait(self, timeout_seconds: float) -> bool:
        """Block until something arrived; at once False where nothing can come."""
        with self._changed:
            self._changed.wait_for(lambda: self._arrived or self._hopeless(), timeout_seconds)
            return bool(self._arrived)

    @property
    def over(self) -> bool:
        """Whether the job has ended at the service's side, so that hardly anything will come."""
        return self._status in _OVER

    def set_status(self, status: JobStatus) -> None:
        """Take over the job's status as the service last said it."""
        with self._changed:
            self._status = status
            self._changed.notify_all()

    def silence(self) -> None:
        """A newer session has taken over: what has not been taken up yet is not for this one."""
        with self._changed:
            self.silenced = True
            self._arrived.clear()
            self.bell.rung = True
            self._changed.notify_all()

    def end(self) -> None:
        """Release whoever waits: nothing comes any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _hopeless(self) -> bool:
        return self._ended or self.silenced or self._status not in {None, *_STEERED}
