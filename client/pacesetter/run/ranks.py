"""Several ranks acting as one: rank 0 speaks with the service, and all act on the same step.

An exchange is one float64 sum; documents travel as JSON in uint8 tensors. Both use a gloo group of their own, so they
never meet the training's collectives and never unpickle anything.
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

Finish = Callable[[], tuple[list[int], list[float]]]
"""Waits for an exchange; returns rank 0's numbers and the means over ranks."""


class Ranks:
    """One process: nothing to exchange.

    Attributes:
        world_size: Number of ranks.
        speaks: Whether this rank talks to the service.
        group: The process group of the ranks; None for one process.
    """

    world_size = 1
    speaks = True
    group: Any = None

    def share(self, document: Any) -> Any:
        """Return rank 0's ``document`` on every rank (JSON values only)."""
        return document

    def begin_exchange(self, numbers: list[int], values: list[float]) -> Finish:
        """Send rank 0's ``numbers`` and everybody's ``values`` on their way, without waiting.

        Every rank begins with as many of each, and finishes before it begins again. Numbers stay below ``2**53``.

        Returns:
            What waits for them, and returns rank 0's numbers and the mean over ranks of each value; NaN on one rank
            is NaN everywhere.
        """
        return lambda: (numbers, values)

    def mean(self, values: list[float]) -> list[float]:
        """Return the mean over ranks of each value, the same bits on all. Every rank waits here for all others."""
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
        self._sum = dist.AllreduceOptions()  # a sum, unless told otherwise
        # Kept from one exchange to the next: making one costs 50 us after a long step.
        self._total = torch.empty(0, dtype=torch.float64)
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

    def begin_exchange(self, numbers: list[int], values: list[float]) -> Finish:
        """Send rank 0's ``numbers`` and everybody's ``values`` on their way."""
        count = len(numbers)
        size = count + len(values)
        if self._total.numel() != size:
            self._total = torch.empty(size, dtype=torch.float64)
        total = self._total
        # One sum carries both: a float64 holds the numbers exactly, and the other ranks add nothing to them.
        total.numpy()[:] = (numbers if self.speaks else [0] * count) + values
        # dist.all_reduce does the same, behind checks that cost a quarter as much again after a long step.
        work = self._begun = self.group.allreduce([total], self._sum)

        def finish() -> tuple[list[int], list[float]]:
            work.wait()
            sums: list[float] = total.tolist()
            means = [each / self.world_size for each in sums[count:]]
            return [int(each) for each in sums[:count]], means

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
        # A tensor of its own: what was begun and not finished yet still needs the other one.
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self.group)
        sums: list[float] = (total / self.world_size).tolist()
        return sums

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
