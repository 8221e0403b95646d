"""Asks the controller for trials while there is room for them."""

import logging
import math
import queue
import random
import threading
from collections.abc import Callable
from time import monotonic

from pacesetter.protocol import Claim, Lease
from pacesetter.protocol.trials import MAX_CLAIM

from pacesetter_workers.calls import TrialCalls
from pacesetter_workers.holding import Held, Holdings
from pacesetter_workers.threads import Talking

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between questions while nothing waits."""


class Claiming(Talking):
    """Claims as many trials as there is room for, in one call."""

    def __init__(
        self,
        connect: Callable[[], TrialCalls],
        holdings: Holdings,
        name: str,
        proxies: tuple[str, ...],
    ) -> None:
        super().__init__("claim", connect)
        self._holdings = holdings
        self._name, self._proxies = name, proxies
        self._room = 0
        self._lock = threading.Lock()
        self.claimed: queue.SimpleQueue[Held] = queue.SimpleQueue()

    def want(self, room: int) -> None:
        """Say how many more trials could be taken now."""
        with self._lock:
            more, self._room = room > self._room, room
        if more:
            self.wake()

    def _round(self, calls: TrialCalls) -> float:
        with self._lock:
            room = min(self._room, MAX_CLAIM)
        if room < 1 or self._ending.is_set():
            return POLL_SECONDS
        leases = calls.claim(Claim(worker=self._name, proxies=self._proxies, most=room))
        for lease in leases:
            self._take(lease)
        # Workers that started together do not ask together for ever.
        return 0.0 if len(leases) == room else POLL_SECONDS * random.uniform(0.75, 1.25)

    def _take(self, lease: Lease) -> None:
        held = Held(lease, beaten=monotonic())
        with self._lock:
            self._room -= 1
        self._holdings.add(held)
        self.claimed.put(held)


def ahead(slots: int, seconds_per_trial: float | None) -> int:
    """Return how many trials to hold beyond the free slots: what the slots run in half a second, none of long ones.

    A trial that waits here could run elsewhere; a slot that waits for the network runs nothing.
    """
    if seconds_per_trial is None or seconds_per_trial >= 0.5:
        return 0
    return min(MAX_CLAIM, math.ceil(slots * 0.5 / max(seconds_per_trial, 0.01)))
