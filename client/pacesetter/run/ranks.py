"""Several ranks acting as one: rank 0 speaks with the service, and all act on the same step.

Control travels as JSON in uint8 tensors over a gloo group of its own, so it never meets the training's collectives and
never unpickles anything.
"""

import atexit
import json
import logging
import struct
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

logger = logging.getLogger("pacesetter")

GROUP_TIMEOUT_SECONDS = 600.0
"""Timeout of the control group; every wait for the service stays below half of it."""

EXIT_SECONDS = 2.0
"""Longest wait for the other ranks where the process ends amid an exchange."""

FIRST_BYTES = 248
"""What travels with the length in one message: all there is in an exchange without news."""

_LENGTH = struct.Struct("<q")


class Ranks:
    """One process: nothing to exchange.

    Attributes:
        world_size: Number of ranks.
        speaks: Whether this rank talks to the service.
        group: The process group of the ranks; None for one process.
    """

    world_size = 1
    speaks = True
    group: Any | None = None

    def share(self, document: Any) -> Any:
        """Return rank 0's ``document`` on every rank (JSON values only)."""
        return document

    def begin_sharing(self, numbers: list[int]) -> Callable[[], list[int]]:
        """Send rank 0's ``numbers`` on their way, without waiting; what is returned waits for them.

        Every rank begins with as many numbers.
        """
        return lambda: numbers

    def mean(self, values: list[float]) -> list[float]:
        """Return the mean over ranks of each value; NaN on one rank is NaN everywhere."""
        return values

    def agree(self, failure: str | None) -> str | None:
        """Return what went wrong on any rank. Every rank waits here for all others."""
        return failure


class GlooRanks(Ranks):
    """The ranks of ``torch.distributed``, over a gloo group of their own. Made on all ranks at the same time."""

    def __init__(self, timeout_seconds: float = GROUP_TIMEOUT_SECONDS) -> None:
        self.world_size = dist.get_world_size()
        self.speaks = dist.get_rank() == 0
        self.group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))
        self._begun: dist.Work | None = None
        atexit.register(self._settle)  # the run itself may be gone by then

    def share(self, document: Any) -> Any:
        """Return rank 0's ``document`` on every rank."""
        payload = json.dumps(document).encode() if self.speaks else b""
        first = bytearray(_LENGTH.pack(len(payload)) + payload[:FIRST_BYTES])
        first.extend(bytes(_LENGTH.size + FIRST_BYTES - len(first)))
        self._broadcast(first)
        (length,) = _LENGTH.unpack_from(first)
        rest = bytearray(max(0, length - FIRST_BYTES))
        if self.speaks:
            rest[:] = payload[FIRST_BYTES:]
        if rest:
            self._broadcast(rest)
        if self.speaks:
            return document
        return json.loads((first[_LENGTH.size :] + rest)[:length])

    def _broadcast(self, payload: bytearray) -> None:
        """Overwrite ``payload`` with rank 0's, which is as long."""
        shared = torch.frombuffer(payload, dtype=torch.uint8)
        dist.broadcast(shared, src=0, group=self.group)

    def begin_sharing(self, numbers: list[int]) -> Callable[[], list[int]]:
        """Send rank 0's ``numbers`` on their way."""
        shared = torch.tensor(numbers, dtype=torch.int64)
        work = self._begun = dist.broadcast(shared, src=0, group=self.group, async_op=True)

        def finish() -> list[int]:
            work.wait()
            arrived: list[int] = shared.tolist()
            return arrived

        return finish

    def _settle(self) -> None:
        """Wait a little for what was begun: an interpreter that ends amid a collective call may abort."""
        if self._begun is None or self._begun.is_completed():
            return
        try:
            self._begun.wait(timedelta(seconds=EXIT_SECONDS))
        except RuntimeError as error:
            logger.info("an exchange with the other ranks was still under way at exit: %s", error)

    def mean(self, values: list[float]) -> list[float]:
        """Return the mean over ranks of each value."""
        if not values:
            return []
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self.group)
        means: list[float] = (total / self.world_size).tolist()
        return means

    def agree(self, failure: str | None) -> str | None:
        """Return what went wrong on any rank."""
        flag = torch.tensor([0 if failure is None else 1], dtype=torch.int64)
        dist.all_reduce(flag, group=self.group)
        if int(flag) == 0:
            return None
        speaker: str | None = self.share(failure)
        return failure or speaker or "it failed on another rank; see that rank's log"


def find_ranks(timeout_seconds: float = GROUP_TIMEOUT_SECONDS) -> Ranks:
    """Return the ranks of this process: one, or those of an initialised ``torch.distributed``."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return GlooRanks(timeout_seconds)
    return Ranks()
