"""Keeps states in files."""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor

from pacesetter.checkpoints.agreement import Agreement
from pacesetter.checkpoints.budget import check_room, default_disk_bytes
from pacesetter.checkpoints.codec import decode, encode
from pacesetter.checkpoints.store import TrainingStore
from pacesetter.checkpoints.tensorfile import (
    TensorFile,
    open_tensor_file,
    write_tensor_file,
)
from pacesetter.checkpoints.tensors import writable
from pacesetter.checkpoints.training import Training, unique_tensors
from pacesetter.checkpoints.trees import Kept, Tree, brought_back, kept
from pacesetter.errors import SnapshotError

logger = logging.getLogger(__name__)

FORMAT = 1
_SUFFIX = ".state"


class _NamedTensor(Kept):
    """A tensor on its way into a file."""

    def __init__(self, name: str, tensor: Tensor) -> None:
        self.name = name
        self.device = str(tensor.device)
        self.dtype = tensor.dtype
        self.shape = tuple(writable(tensor).shape)
        self._tensor = tensor

    def values(self) -> Tensor:
        """Return the values as the file holds them: complex numbers as pairs."""
        values = writable(self._tensor.detach()).resolve_conj().resolve_neg()
        return torch.view_as_real(values) if values.is_complex() else values


class _StoredTensor(Kept):
    """A tensor in a file."""

    def __init__(self, file: TensorFile, name: str, device: str) -> None:
        span = file.spans[name]
        self.device = device
        self._file = file
        self._name = name
        self._complex = name.endswith("#complex")
        self.dtype = span.dtype.to_complex() if self._complex else span.dtype
        self.shape = span.shape[:-1] if self._complex else span.shape

    def values(self) -> Tensor:
        """Read the values."""
        values = self._file.read(self._name)
        return torch.view_as_complex(values) if self._complex else values


class DiskStore(TrainingStore):
    """Keeps each state in a file of its own, per rank; the names in the directory are there again after a restart.

    A file appears whole or not at all, and is verified before a restore changes anything.
    """

    def __init__(
        self,
        training: Training,
        agreement: Agreement,
        directory: Path,
        *,
        max_snapshot_bytes: int | None = None,
    ) -> None:
        super().__init__(training, agreement)
        self._directory = directory / f"rank-{agreement.rank:05d}-of-{agreement.size:05d}"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SnapshotError(
                f"{self._directory} cannot be made ({error}); expected a directory to write states to"
            ) from error
        _remove_torn(self._directory)
        self.max_snapshot_bytes = (
            default_disk_bytes(self._directory)
            if max_snapshot_bytes is None
            else max_snapshot_bytes
        )
        files = _readable_files(self._directory)
        common = agreement.common(list(files))
        self._files = {name: files[name] for name in common}
        self._written = max((item.document["number"] for item in self._files.values()), default=0)

    def _check_room(self, name: str, needed_bytes: int) -> None:
        others = {key: item for key, item in self._files.items() if key != name}
        held = sum(_size(item.path) for item in others.values())
        check_room(name, needed_bytes, held, self.max_snapshot_bytes, list(others), on_disk=True)

    def _write(
        self, name: str, view: dict[str, Tree], tensors: Sequence[Tensor], position: dict[str, Any]
    ) -> None:
        everything: dict[str, Tree] = {**view, "position": position}
        # The loader's own state in a position may hold tensors too.
        named = {
            id(tensor): _NamedTensor(f"t{index}" + "#complex" * tensor.is_complex(), tensor)
            for index, tensor in enumerate([*tensors, *unique_tensors({"position": position})])
        }
        trees = {
            key: kept(tree, lambda tensor: named[id(tensor)]) for key, tree in everything.items()
        }
        document = {
            "format": FORMAT,
            "name": name,
            "number": self._written + 1,
            "position": encode(trees.pop("position"), _name_of, "position"),
            "state": {key: encode(tree, _name_of, key) for key, tree in trees.items()},
        }
        path = self._directory / _file_name(name)
        write_tensor_file(path, document, _Values(named.values()))
        self._files.pop(name, None)
        self._files[name] = open_tensor_file(path)
        self._written += 1

    def _read(self, name: str) -> Mapping[str, Tree]:
        file = self._file(name)
        file.verify()
        return {key: _decoded(file, value) for key, value in file.document["state"].items()}

    def position(self, name: str) -> dict[str, Any]:
        """Return the position kept with ``name``."""
        file = self._file(name)
        position: dict[str, Any] = brought_back(_decoded(file, file.document["position"]), None)
        return position

    def release(self, name: str) -> None:
        """Delete the file."""
        file = self._files.pop(name, None)
        if file is not None:
            file.path.unlink(missing_ok=True)

    def names(self) -> tuple[str, ...]:
        """Return the names kept, oldest first."""
        return tuple(self._files)

    def _file(self, name: str) -> TensorFile:
        if name not in self._files:
            raise self._missing(name)
        # Opened again each time: another process may have torn it meanwhile.
        return open_tensor_file(self._files[name].path)


class _Values(Mapping[str, Tensor]):
    """Values by name, made when they are asked for: one tensor at a time is copied from its device."""

    def __init__(self, tensors: Any) -> None:
        self._tensors = {item.name: item for item in tensors}

    def __getitem__(self, name: str) -> Tensor:
        values: Tensor = self._tensors[name].values()
        return values

    def __iter__(self) -> Any:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _name_of(tensor: Kept) -> str:
    assert isinstance(tensor, _NamedTensor)
    return tensor.name


def _decoded(file: TensorFile, value: Any) -> Tree:
    try:
        return decode(value, lambda name, device: _StoredTensor(file, name, device))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise SnapshotError(
            f"the state's file {file.path} cannot be understood ({type(error).__name__}: {error}); expected format "
            f"{FORMAT}. It was written by another version: delete it"
        ) from error


def _file_name(name: str) -> str:
    # The hash keeps long names apart that begin alike, and names that differ in case on disks that do not care.
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{quote(name, safe='')[:80]}-{digest}{_SUFFIX}"


def _readable_files(directory: Path) -> dict[str, TensorFile]:
    found = []
    for path in directory.glob(f"*{_SUFFIX}"):
        try:
            file = open_tensor_file(path)
            if file.document.get("format") != FORMAT:
                raise SnapshotError(f"{path} has format {file.document.get('format')}")
        except SnapshotError as error:
            logger.warning("leaving a state alone that cannot be read: %s", error)
        else:
            found.append(file)
    found.sort(key=lambda file: int(file.document["number"]))
    return {str(file.document["name"]): file for file in found}


def _remove_torn(directory: Path) -> None:
    """Delete what processes of this machine left half written when they died."""
    for path in directory.glob("*.tmp"):
        machine, _, process = path.name.removesuffix(".tmp").rpartition(".")
        if not machine.endswith(f".{os.uname().nodename}") or not process.isdigit():
            continue
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
