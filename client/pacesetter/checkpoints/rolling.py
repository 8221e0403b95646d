"""Rolling snapshots: the last few states of the main line, kept by the client itself."""

from collections.abc import Callable
from typing import Any

from pacesetter.checkpoints.base import CheckpointStore

Released = Callable[[dict[str, Any]], None]


class RollingSnapshots:
    """Saves under names of its own and keeps the newest ones.

    The oldest is released before the next is saved, so no more than ``keep`` states are ever held, and in memory the
    next one takes over its buffers.
    """

    def __init__(
        self,
        store: CheckpointStore,
        *,
        prefix: str = "rolling",
        keep: int = 2,
        on_release: Released | None = None,
    ) -> None:
        """Continue with what ``store`` holds under ``prefix``, e.g. after a restart.

        Args:
            store: Where the states are kept.
            prefix: First part of the names; nothing else in the store may begin with it.
            keep: How many states to keep.
            on_release: Gets the position of each state that is let go, to release its mark in the data.
        """
        self._store = store
        self._prefix = prefix
        self._keep = keep
        self._on_release = on_release
        self._count = max((self._number(name) for name in self.names()), default=-1) + 1

    def save(self, position: dict[str, Any]) -> str:
        """Keep the state as it is now; return its name.

        Raises:
            SnapshotTooLarge: See ``CheckpointStore.save``.
        """
        self._release_down_to(self._keep - 1)
        name = f"{self._prefix}.{self._count}"
        self._store.save(name, position)
        self._count += 1
        return name

    def names(self) -> tuple[str, ...]:
        """Return the names kept, oldest first."""
        held = [name for name in self._store.names() if name.startswith(f"{self._prefix}.")]
        return tuple(sorted(held, key=self._number))

    def clear(self) -> None:
        """Release all of them."""
        self._release_down_to(0)

    def _release_down_to(self, count: int) -> None:
        names = self.names()
        for name in names[: max(len(names) - count, 0)]:
            position = self._store.position(name)
            self._store.release(name)
            if self._on_release is not None:
                self._on_release(position)

    def _number(self, name: str) -> int:
        return int(name.rpartition(".")[2])
