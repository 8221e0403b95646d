"""Keeps states in the host's memory."""

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pacesetter.checkpoints.agreement import Agreement
from pacesetter.checkpoints.budget import check_room, default_memory_bytes
from pacesetter.checkpoints.store import TrainingStore, wait_for_copies
from pacesetter.checkpoints.tensors import byte_count, writable
from pacesetter.checkpoints.training import Training
from pacesetter.checkpoints.trees import Kept, Tree, kept
from pacesetter.errors import SnapshotTooLarge

_Layout: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], torch.dtype, bool]


class HeldTensor(Kept):
    """Values in a buffer on the CPU."""

    def __init__(self, buffer: Tensor, device: torch.device) -> None:
        self._buffer = buffer
        self.device = str(device)
        self.shape = tuple(buffer.shape)
        self.dtype = buffer.dtype

    def values(self) -> Tensor:
        """Return the buffer itself."""
        return self._buffer


@dataclass(slots=True)
class _Snapshot:
    trees: dict[str, Tree]
    position: dict[str, Any]
    buffers: list[Tensor]

    @property
    def bytes(self) -> int:
        return sum(byte_count(buffer) for buffer in self.buffers)


class MemoryStore(TrainingStore):
    """Keeps states in CPU buffers, pinned where the tensors are on CUDA.

    Buffers are used again: those of a state that is replaced, and those of the last one released, so that a run of
    probes allocates nothing after its first.
    """

    def __init__(
        self, training: Training, agreement: Agreement, *, max_snapshot_bytes: int | None = None
    ) -> None:
        super().__init__(training, agreement)
        self.max_snapshot_bytes = (
            default_memory_bytes() if max_snapshot_bytes is None else max_snapshot_bytes
        )
        self._snapshots: dict[str, _Snapshot] = {}
        self._spare: list[Tensor] = []

    def _check_room(self, name: str, needed_bytes: int) -> None:
        others = {key: item for key, item in self._snapshots.items() if key != name}
        held = sum(item.bytes for item in others.values())
        check_room(name, needed_bytes, held, self.max_snapshot_bytes, list(others), on_disk=False)

    def _write(
        self, name: str, view: dict[str, Tree], tensors: Sequence[Tensor], position: dict[str, Any]
    ) -> None:
        self.release(name)
        # Buffers that fit nothing go: they would count against nobody's bound.
        recycled, self._spare = _Buffers(self._spare), []
        held = self._hold(name, tensors, recycled)
        trees = {key: kept(tree, lambda tensor: held[id(tensor)]) for key, tree in view.items()}
        wait_for_copies()
        buffers = [item.values() for item in held.values()]
        self._snapshots[name] = _Snapshot(trees, copy.deepcopy(position), buffers)

    def _hold(
        self, name: str, tensors: Iterable[Tensor], recycled: "_Buffers"
    ) -> dict[int, HeldTensor]:
        held = {}
        try:
            for tensor in tensors:
                values = writable(tensor)
                buffer = recycled.like(values)
                buffer.copy_(values, non_blocking=values.is_cuda)
                held[id(tensor)] = HeldTensor(buffer, tensor.device)
        except (RuntimeError, MemoryError) as error:
            raise SnapshotTooLarge(
                f"the host could not give the memory to keep {name!r} ({error}). Keep states on disk (where='disk'), "
                "or turn rollback off"
            ) from error
        return held

    def _read(self, name: str) -> Mapping[str, Tree]:
        if name not in self._snapshots:
            raise self._missing(name)
        return self._snapshots[name].trees

    def position(self, name: str) -> dict[str, Any]:
        """Return the position kept with ``name``."""
        if name not in self._snapshots:
            raise self._missing(name)
        return copy.deepcopy(self._snapshots[name].position)

    def release(self, name: str) -> None:
        """Forget ``name``; its buffers wait for the next state."""
        snapshot = self._snapshots.pop(name, None)
        if snapshot is not None:
            self._spare = snapshot.buffers

    def names(self) -> tuple[str, ...]:
        """Return the names kept, oldest first."""
        return tuple(self._snapshots)


class _Buffers:
    """Buffers to be used again, by what they can hold."""

    def __init__(self, buffers: Iterable[Tensor]) -> None:
        self._free: dict[_Layout, list[Tensor]] = defaultdict(list)
        for buffer in buffers:
            self._free[_layout(buffer, pinned=buffer.is_pinned())].append(buffer)

    def like(self, tensor: Tensor) -> Tensor:
        """Return a buffer for the tensor's values."""
        pinned = tensor.is_cuda
        # A slice is kept densely, so its buffer's strides are not its own: ask what they would be.
        free = self._free.get(_layout(torch.empty_like(tensor, device="meta"), pinned=pinned))
        if free:
            return free.pop()
        return torch.empty_like(tensor, device="cpu", pin_memory=pinned, requires_grad=False)


def _layout(tensor: Tensor, *, pinned: bool) -> _Layout:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, pinned
