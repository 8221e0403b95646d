"""Several ranks acting as one: rank 0 speaks with the service, and all act on the same step.

Control travels as JSON in uint8 tensors over a gloo group of its own, so it never meets the training's collectives and
never unpickles anything.
"""

import json
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

GROUP_TIMEOUT_SECONDS = 600.0
"""Timeout of the control group; every wait for the service stays below half of it."""


class Ranks:
    """One process: nothing to exchange.

    Attributes:
        world_size: Number of ranks.
        speaks: Whether this rank talks to the service.
    """

    world_size = 1
    speaks = True

    def share(self, document: Any) -> Any:
        """Return rank 0's ``document`` on every rank (JSON values only)."""
        return document

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
        self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))

    def share(self, document: Any) -> Any:
        """Return rank 0's ``document`` on every rank."""
        payload = json.dumps(document).encode() if self.speaks else b""
        length = torch.tensor([len(payload)], dtype=torch.int64)
        dist.broadcast(length, src=0, group=self._group)
        if self.speaks:
            body = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
        else:
            body = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(body, src=0, group=self._group)
        return document if self.speaks else json.loads(bytes(body.numpy()))

    def mean(self, values: list[float]) -> list[float]:
        """Return the mean over ranks of each value."""
        if not values:
            return []
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self._group)
        means: list[float] = (total / self.world_size).tolist()
        return means

    def agree(self, failure: str | None) -> str | None:
        """Return what went wrong on any rank."""
        flag = torch.tensor([0 if failure is None else 1], dtype=torch.int64)
        dist.all_reduce(flag, group=self._group)
        if int(flag) == 0:
            return None
        speaker: str | None = self.share(failure)
        return failure or speaker or "it failed on another rank; see that rank's log"


def find_ranks(timeout_seconds: float = GROUP_TIMEOUT_SECONDS) -> Ranks:
    """Return the ranks of this process: one, or those of an initialised ``torch.distributed``."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return GlooRanks(timeout_seconds)
    return Ranks()
