"""Holds on to leases, apart from the processes that train: a trial that hangs cannot stop it, and does not need to."""

import logging
from collections.abc import Callable
from time import monotonic

from pacesetter.leasing.calls import TrialCalls
from pacesetter.leasing.holding import Held, Holdings
from pacesetter.leasing.threads import Talking
from pacesetter.transport.calls import Denied, Rejected

logger = logging.getLogger(__name__)

_BEATS = 4
"""Heartbeats in the life of a lease: three may be lost."""
_LONGEST_PAUSE_SECONDS = 5.0


class Heart(Talking):
    """Sends each lease's heartbeat every quarter of its life, with what the trial measured since the last one."""

    def __init__(self, connect: Callable[[], TrialCalls], holdings: Holdings) -> None:
        super().__init__("heartbeat", connect)
        self._holdings = holdings

    def _round(self, calls: TrialCalls) -> float:
        now = monotonic()
        for held in self._holdings.all():
            if not held.lost and now >= _due(held):
                send_heartbeat(calls, self._holdings, held)
        due = [_due(held) for held in self._holdings.all() if not held.lost]
        return max(0.01, min([_LONGEST_PAUSE_SECONDS, *(at - monotonic() for at in due)]))


def send_heartbeat(calls: TrialCalls, holdings: Holdings, held: Held) -> bool:
    """Send one heartbeat; return whether there are points left for another.

    Raises:
        Away: The controller does not answer: what was to be sent is kept.
    """
    beat, carried = holdings.beat(held)
    try:
        reply = calls.heartbeat(held.trial.id, beat)
    except Rejected as error:
        _lose(held, error)
        return False
    except Denied as error:
        if error.status != 404:
            raise
        _lose(held, error)
        return False
    held.beaten = monotonic()
    if carried:
        holdings.forget_points(held, beat.points[-1].step)
    if reply.cancel:
        held.unwanted = True
    return bool(held.points)


def _due(held: Held) -> float:
    return held.beaten + held.lease.seconds / _BEATS


def _lose(held: Held, error: Exception) -> None:
    held.lost = held.unwanted = True
    # One that has ended may have been delivered while the heartbeat was under way.
    level = logging.DEBUG if held.ended else logging.WARNING
    logger.log(level, "trial %s is not ours any more: %s", held.trial.id, error)
