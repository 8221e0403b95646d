"""Asks the controller for trials while there is room for them."""

import logging
import math
import queue
import random
from collections.abc import Callable
from time import monotonic

from pacesetter.leasing.calls import TrialCalls
from pacesetter.leasing.holding import Held, Holdings
from pacesetter.leasing.threads import Talking
from pacesetter.protocol import Claim, Lease
from pacesetter.protocol.trials import MAX_CLAIM

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Between questions while there is no room, or where the controller does not wait."""
WAIT_SECONDS = 1.0
"""For the controller to find a trial. Whoever stops waits as long: the answer may hold leases to be given back."""
AHEAD_SECONDS, MOST_AHEAD = 0.25, 16
"""Of work to hold in advance, and of trials: every one of them needs its heartbeats."""
LONG_SECONDS = 2.0
"""Trials that take as long are claimed when they can begin: the milliseconds between two of them count for little."""


class Claiming(Talking):
    """Claims as many trials as there is room for, in one call.

    Args:
        connect: See :class:`Talking`.
        holdings: Where leases go.
        name: Of the worker.
        proxies: What it may run.
        slots: Trials that run at a time.
        is_held_up: Returns whether results wait for a controller that does not answer.
        tell: Called when there are new leases, whose heartbeats may be due before anybody looks.
    """

    def __init__(
        self,
        connect: Callable[[], TrialCalls],
        holdings: Holdings,
        name: str,
        proxies: tuple[str, ...],
        slots: int,
        is_held_up: Callable[[], bool],
        tell: Callable[[], None],
    ) -> None:
        super().__init__("claim", connect)
        self._holdings = holdings
        self._claim = Claim(worker=name, proxies=proxies)
        self._slots, self._is_held_up, self._tell = slots, is_held_up, tell
        self._ahead = 0
        self.claimed: queue.SimpleQueue[Held] = queue.SimpleQueue()

    def reach(self, ahead: int) -> None:
        """Say how many trials to hold beyond the slots, and look whether there is room now."""
        self._ahead = ahead
        self.wake()

    def _round(self, calls: TrialCalls) -> float:
        room = min(self._holdings.room(self._slots, self._ahead), MAX_CLAIM)
        # A result that the controller has not taken yet may be of a trial whose lease ran out meanwhile: claimed now,
        # it would run once more.
        if room < 1 or self._ending.is_set() or self._is_held_up():
            return POLL_SECONDS
        asked = monotonic()
        leases = calls.claim(self._claim.model_copy(update={"most": room}), WAIT_SECONDS)
        for lease in leases:
            self._take(lease)
        if leases:
            self._tell()
        if leases or monotonic() - asked >= 0.5 * WAIT_SECONDS:
            return 0.0
        # A controller that does not wait. Workers that started together do not ask together for ever.
        return POLL_SECONDS * random.uniform(0.75, 1.25)

    def _take(self, lease: Lease) -> None:
        held = Held(lease, beaten=monotonic())
        self._holdings.add(held)
        self.claimed.put(held)


def ahead(slots: int, seconds_per_trial: float) -> int:
    """Return how many to hold beyond the slots: what they run in a quarter of a second, one at least; no long ones.

    A trial that waits here could run elsewhere; a slot that waits for the network runs nothing.
    """
    if seconds_per_trial >= LONG_SECONDS:
        return 0
    return min(MOST_AHEAD, math.ceil(slots * AHEAD_SECONDS / max(seconds_per_trial, 1e-3)))
