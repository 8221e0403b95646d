"""What the stores in memory and on disk share: the order of things when a state is kept or restored."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pacesetter.checkpoints.agreement import Agreement
from pacesetter.checkpoints.base import CheckpointStore
from pacesetter.checkpoints.tensors import byte_count, cuda_in_use
from pacesetter.checkpoints.training import Training, unique_tensors
from pacesetter.checkpoints.trees import Tree
from pacesetter.errors import SnapshotError


class TrainingStore(CheckpointStore):
    """A store over one training; subclasses say where the bytes go.

    Saving and restoring are collective calls if there is a process group: what fails on one rank fails on all, and a
    restore changes nothing on any rank before every rank has found its state in order.
    """

    def __init__(self, training: Training, agreement: Agreement) -> None:
        self._training = training
        self._agreement = agreement

    @abstractmethod
    def _check_room(self, name: str, needed_bytes: int) -> None:
        """Raise SnapshotTooLarge if a state of that size cannot be kept under ``name``; nothing is allocated yet."""

    @abstractmethod
    def _write(
        self, name: str, view: dict[str, Tree], tensors: Sequence[Tensor], position: dict[str, Any]
    ) -> None:
        """Keep the state; raises SnapshotError where that fails."""

    @abstractmethod
    def _read(self, name: str) -> Mapping[str, Tree]:
        """Return the kept tree called ``name``; raises SnapshotError if it is missing or damaged."""

    def save(self, name: str, position: dict[str, Any]) -> None:
        """Keep the state as it is now under ``name``, replacing what has that name."""
        with torch.no_grad():
            view = self._training.view()
            tensors = self._admitted(name, view)
            problem = None
            try:
                self._write(name, view, tensors, position)
            except SnapshotError as error:
                problem = error
        try:
            self._agreement.raise_together(problem)
        except SnapshotError:
            # A name must mean a state on every rank or on none.
            self.release(name)
            raise

    def _admitted(self, name: str, view: dict[str, Tree]) -> list[Tensor]:
        tensors: list[Tensor] = []
        problem = None
        try:
            tensors = unique_tensors(view)
            self._check_room(name, sum(byte_count(tensor) for tensor in tensors))
        except SnapshotError as error:
            problem = error
        self._agreement.raise_together(problem)
        return tensors

    def restore(self, name: str) -> dict[str, Any]:
        """Bring back the state called ``name`` in place, and return its position."""
        saved: Mapping[str, Tree] = {}
        problem = None
        with torch.no_grad():
            try:
                saved = self._read(name)
                self._training.check(saved)
            except SnapshotError as error:
                problem = error
            self._agreement.raise_together(problem)
            self._training.bring_back(saved)
        wait_for_copies()
        return self.position(name)

    def part(self) -> None:
        """Save and restore on this rank alone from now on."""
        self._agreement = Agreement(None)

    def state_bytes(self) -> int:
        """Return the bytes of one state on this rank.

        Before the optimizer's first step its state is estimated from its settings.
        """
        return self._training.expected_bytes()

    def _missing(self, name: str) -> SnapshotError:
        kept_names = ", ".join(self.names()) or "none"
        return SnapshotError(f"there is no state called {name!r}; expected one of: {kept_names}")


def wait_for_copies() -> None:
    """Wait until copies between device and pinned memory are done, so that either side may be reused."""
    if cuda_in_use():
        torch.cuda.synchronize()
