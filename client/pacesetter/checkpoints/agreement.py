"""Makes ranks fail together or not at all."""

from typing import Any

import torch
import torch.distributed as dist

from pacesetter.errors import SnapshotError, SnapshotTooLarge

_NONE, _ERROR, _TOO_LARGE = range(3)


class Agreement:
    """Exchanges failures between the ranks of a process group; alone without one."""

    def __init__(self, process_group: Any | None) -> None:
        self._group = process_group

    @property
    def rank(self) -> int:
        """Rank within the group."""
        return dist.get_rank(self._group) if self._group is not None else 0

    @property
    def size(self) -> int:
        """Number of ranks."""
        return dist.get_world_size(self._group) if self._group is not None else 1

    def raise_together(self, problem: SnapshotError | None) -> None:
        """Raise ``problem`` if there is one; on the other ranks too, so that none waits for one that gave up.

        Raises:
            SnapshotError: On every rank if there was a problem on any.
        """
        worst = self._worst(problem)
        if problem is not None:
            raise problem
        if worst == _NONE:
            return
        kind = SnapshotTooLarge if worst == _TOO_LARGE else SnapshotError
        raise kind("another rank could not keep or restore the state; its own log says why")

    def common(self, names: list[str]) -> list[str]:
        """Return those of ``names`` that every rank has, in this rank's order."""
        if self._group is None:
            return names
        everywhere: list[Any] = [None] * self.size
        dist.all_gather_object(everywhere, names, group=self._group)
        return [name for name in names if all(name in theirs for theirs in everywhere)]

    def _worst(self, problem: SnapshotError | None) -> int:
        code = _NONE
        if problem is not None:
            code = _TOO_LARGE if isinstance(problem, SnapshotTooLarge) else _ERROR
        if self._group is None:
            return code
        on_device = str(dist.get_backend(self._group)) == "nccl"
        device = torch.device("cuda", torch.cuda.current_device()) if on_device else "cpu"
        shared = torch.tensor(code, device=device)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX, group=self._group)
        return int(shared)
