"""What the run loop needs of a checkpoint store."""

from abc import ABC, abstractmethod
from typing import Any


class CheckpointStore(ABC):
    """Keeps states of the training under names, and brings them back bit for bit.

    A state is the models' parameters and buffers (persistent or not), the optimizers' states, the GradScaler, every
    extra object with a ``state_dict``, and the random state of Python, NumPy, torch and its devices. ``position`` is a
    JSON document of the run loop's own (counters, data position), kept with it.
    """

    @abstractmethod
    def save(self, name: str, position: dict[str, Any]) -> None:
        """Keep the state as it is now under ``name``, replacing what has that name.

        Raises:
            SnapshotTooLarge: It would exceed ``max_snapshot_bytes`` together with what is kept already.
        """

    @abstractmethod
    def restore(self, name: str) -> dict[str, Any]:
        """Bring back the state called ``name``, in place, and return its ``position``.

        Tensors keep their addresses and dtypes, so captured graphs and compiled optimizers keep working.

        Raises:
            SnapshotError: There is no such name.
        """

    @abstractmethod
    def position(self, name: str) -> dict[str, Any]:
        """Return the ``position`` kept with ``name`` without restoring anything."""

    @abstractmethod
    def release(self, name: str) -> None:
        """Forget ``name``; nothing happens if there is none."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return the names kept, oldest first."""

    @abstractmethod
    def state_bytes(self) -> int:
        """Return how many bytes one state takes on this rank."""

    @abstractmethod
    def part(self) -> None:
        """Save and restore on this rank alone from now on, whatever other ranks do."""
