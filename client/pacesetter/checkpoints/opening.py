"""Opens the store that the training code asked for."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer

from pacesetter.checkpoints.agreement import Agreement
from pacesetter.checkpoints.base import CheckpointStore
from pacesetter.checkpoints.disk import DiskStore
from pacesetter.checkpoints.memory import MemoryStore
from pacesetter.checkpoints.training import Training
from pacesetter.errors import ConfigurationError, SnapshotError

_Item = TypeVar("_Item")


def open_store(
    models: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module],
    optimizers: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer],
    *,
    scaler: Any | None = None,
    extras: Mapping[str, Any] | None = None,
    where: str = "memory",
    directory: str | Path | None = None,
    max_snapshot_bytes: int | None = None,
    process_group: Any | None = None,
) -> CheckpointStore:
    """Return a store over the state of a training.

    Args:
        models: What is trained; compiled, DDP and ``fully_shard`` models too.
        optimizers: Their optimizers; those that these wrap are found.
        scaler: The GradScaler.
        extras: Other objects by name: an EMA, anything with ``state_dict``, a random generator of the training's own.
        where: ``"memory"`` (CPU buffers, pinned where CUDA) or ``"disk"``.
        directory: For ``"disk"`` only: where the files go; a temporary one, gone with the store, if None.
        max_snapshot_bytes: Bound on all states kept together on this rank. None: 0.4 of the memory (disk: of the free
            space) that is available now, divided by the ranks on this machine.
        process_group: Ranks that train together; ``save`` and ``restore`` are then collective calls.

    Raises:
        ConfigurationError: An argument cannot work.
        SnapshotError: The training has a part whose state cannot be restored in place: turn rollback off.
    """
    if max_snapshot_bytes is not None and max_snapshot_bytes <= 0:
        raise ConfigurationError(
            f"max_snapshot_bytes is {max_snapshot_bytes}; expected a positive number of bytes, or None"
        )
    if where not in ("memory", "disk"):
        raise ConfigurationError(f"where is {where!r}; expected 'memory' or 'disk'")
    agreement = Agreement(process_group)
    try:
        training = Training(
            [models] if isinstance(models, nn.Module) else _items(models),
            [optimizers] if isinstance(optimizers, Optimizer) else _items(optimizers),
            scaler,
            extras or {},
        )
    except SnapshotError as problem:
        agreement.raise_together(problem)
        raise
    agreement.raise_together(None)
    if where == "memory":
        return MemoryStore(training, agreement, max_snapshot_bytes=max_snapshot_bytes)
    return _open_on_disk(training, agreement, directory, max_snapshot_bytes)


def _items(several: Sequence[_Item] | Mapping[str, _Item]) -> list[_Item]:
    return list(several.values() if isinstance(several, Mapping) else several)


def _open_on_disk(
    training: Training,
    agreement: Agreement,
    directory: str | Path | None,
    max_snapshot_bytes: int | None,
) -> DiskStore:
    if directory is not None:
        path = Path(directory)
        return DiskStore(training, agreement, path, max_snapshot_bytes=max_snapshot_bytes)
    path = Path(tempfile.mkdtemp(prefix="pacesetter-"))
    store = DiskStore(training, agreement, path, max_snapshot_bytes=max_snapshot_bytes)
    weakref.finalize(store, shutil.rmtree, path, ignore_errors=True)
    return store
