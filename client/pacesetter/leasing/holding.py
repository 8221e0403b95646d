"""The leases that a worker holds, shared between the thread that runs trials and those that talk to the controller."""

import threading
from collections import deque
from dataclasses import dataclass, field

from pacesetter.protocol import Heartbeat, Lease, Trial, TrialPoint
from pacesetter.protocol.trials import MAX_POINTS

MAX_WAITING_POINTS = 200_000
"""Points of one trial that wait for the controller; the oldest go first. As many steps as a week of proxies has."""


@dataclass(eq=False)
class Held:
    """One lease, from its claim until the controller knows how it ended."""

    lease: Lease
    step: int = 0
    points: deque[TrialPoint] = field(default_factory=lambda: deque(maxlen=MAX_WAITING_POINTS))
    unwanted: bool = False
    """The lease is lost, or the trial cancelled: it is to stop."""
    lost: bool = False
    """The controller said that the token holds no lease: nothing more is to be said of it."""
    ended: bool = False
    """It runs no more, and waits for the controller to know how it ended."""
    beaten: float = 0.0
    """When the lease was last known to hold, monotonic seconds."""

    @property
    def trial(self) -> Trial:
        """The trial."""
        return self.lease.trial


class Holdings:
    """Every lease that a worker holds. All methods are for any thread."""

    def __init__(self) -> None:
        self._held: list[Held] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)

    def add(self, held: Held) -> None:
        """Hold one more."""
        with self._lock:
            self._held.append(held)

    def remove(self, held: Held) -> None:
        """Hold one less."""
        with self._lock:
            self._held.remove(held)

    def all(self) -> list[Held]:
        """Return those that are held now."""
        with self._lock:
            return list(self._held)

    def end(self, held: Held) -> None:
        """Note that a trial runs no more."""
        with self._lock:
            held.ended = True

    def room(self, slots: int, ahead: int) -> int:
        """Return how many trials could be taken: none while many ends wait for a controller that is slow."""
        with self._lock:
            going = sum(not held.ended for held in self._held)
            return min(slots + ahead - going, 2 * slots + ahead - len(self._held))

    def note(self, held: Held, points: tuple[TrialPoint, ...]) -> None:
        """Keep what a trial measured until the controller has it."""
        with self._lock:
            held.points.extend(points)
            held.step = max(held.step, points[-1].step)

    def beat(self, held: Held) -> tuple[Heartbeat, int]:
        """Return the next heartbeat of a lease, and how many points it carries."""
        with self._lock:
            points = tuple(held.points)[:MAX_POINTS]
            beat = Heartbeat(token=held.lease.token, step=held.step, points=points)
            return beat, len(points)

    def forget_points(self, held: Held, through: int) -> None:
        """Drop the points up to a step: the controller has them."""
        with self._lock:
            while held.points and held.points[0].step <= through:
                held.points.popleft()
