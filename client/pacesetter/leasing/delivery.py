"""Brings the ends of trials to the controller, and keeps them until it has them."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pacesetter.leasing.calls import LEASE_LOST, Last, TrialCalls
from pacesetter.leasing.heart import send_heartbeat
from pacesetter.leasing.holding import Held, Holdings
from pacesetter.leasing.texts import bounded
from pacesetter.leasing.threads import Talking
from pacesetter.protocol import TrialFailure, TrialResult
from pacesetter.transport.calls import Denied, Rejected

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parcel:
    """How a lease ended."""

    held: Held
    last: Last


class Delivery(Talking):
    """Sends what trials measured last, then how they ended, in order. Until then their leases are held on to."""

    def __init__(self, connect: Callable[[], TrialCalls], holdings: Holdings) -> None:
        super().__init__("delivery", connect)
        self._holdings = holdings
        self._parcels: deque[Parcel] = deque()
        self.delivered = 0

    def __len__(self) -> int:
        return len(self._parcels)

    def put(self, held: Held, last: Last) -> None:
        """Take the end of a trial."""
        self._parcels.append(Parcel(held, last))
        self.wake()

    def _is_over(self) -> bool:
        return not self._parcels

    def _round(self, calls: TrialCalls) -> float:
        while self._parcels:
            parcel = self._parcels[0]
            self._deliver(calls, parcel)
            self._parcels.popleft()
            self._holdings.remove(parcel.held)
        return 3600.0

    def _deliver(self, calls: TrialCalls, parcel: Parcel) -> None:
        held = parcel.held
        while held.points and not held.lost and send_heartbeat(calls, self._holdings, held):
            pass
        if held.lost:
            return
        try:
            calls.end(held.trial.id, parcel.last)
        except Rejected as error:
            self._refused(calls, parcel, error)
        except Denied as error:
            if error.status != 404:
                raise
            logger.warning("trial %s is gone: %s", held.trial.id, error)
        else:
            self.delivered += 1

    def _refused(self, calls: TrialCalls, parcel: Parcel, error: Rejected) -> None:
        """Say that a result was refused, as the trial's failure: silence would have it run again to the same end."""
        held = parcel.held
        logger.warning("trial %s: its end was refused: %s", held.trial.id, error)
        if error.code == LEASE_LOST or not isinstance(parcel.last, TrialResult):
            return
        failure = TrialFailure(
            token=held.lease.token,
            error=bounded(f"The controller refused the trial's result: {error}"),
            cost=parcel.last.cost,
        )
        try:
            calls.end(held.trial.id, failure)
        except Rejected as again:
            logger.warning("trial %s: its failure was refused too: %s", held.trial.id, again)
