"""Calls that a person waits for: tried again while the service is away, for as long as the person would."""

import time
from collections.abc import Callable
from typing import TypeVar

from pacesetter.transport.calls import Away
from pacesetter.transport.timing import Backoff, Timing

Reply = TypeVar("Reply")


def insist(
    call: Callable[[], Reply], give_up_seconds: float, timing: Timing | None = None
) -> Reply:
    """Return what ``call`` returns, however often the service is away before.

    Args:
        call: One that may be made twice.
        give_up_seconds: After this the last failure is raised.
        timing: How long to wait between attempts.

    Raises:
        Away: The service did not answer in time.
        ServiceError: It will never take the call as it is.
    """
    timing = timing or Timing()
    backoff = Backoff(timing.backoff, timing.backoff_cap)
    ends = time.monotonic() + give_up_seconds
    while True:
        try:
            return call()
        except Away as away:
            pause = backoff.delay(away.retry_after)
            if time.monotonic() + pause > ends:
                raise
            time.sleep(pause)
