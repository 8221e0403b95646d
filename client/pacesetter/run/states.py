"""Moves the whole training, model and data together, between the states that segments start from."""

from typing import Any

from pacesetter.checkpoints.base import CheckpointStore
from pacesetter.data.base import BatchSource
from pacesetter.errors import SnapshotError
from pacesetter.run.ranks import Ranks

LEFT = "pacesetter:left"
"""Name of the main line's copy while a probe or a branch runs."""


_NO_STORE = "this job keeps no checkpoints"


class States:
    """Keeps and restores states, on all ranks or on none.

    A failure to keep a state is returned, not raised: the segment that asked for it is refused, and training goes on.

    Args:
        store: Where states are kept; None without rollback.
        ranks: The ranks that move together.
    """

    def __init__(self, store: CheckpointStore | None, ranks: Ranks) -> None:
        self.store = store
        self.source: BatchSource | None = None
        self._ranks = ranks
        self._marks: dict[str, dict[str, Any]] = {}

    @property
    def can_rewind(self) -> bool:
        """Whether the batches that a probe took come back to the main line."""
        return self.source is not None and self.source.rewind_batches != 0

    def part(self) -> None:
        """Wait for no other rank from now on: this one leaves by an exception, and the others may not."""
        self._ranks = Ranks()
        if self.store is not None:
            self.store.part()

    def obstacle(self) -> str | None:
        """Return why nothing can be kept, on any rank; None if it can."""
        return self._ranks.agree(_NO_STORE if self.store is None else None)

    def save(self, name: str, document: dict[str, Any]) -> str | None:
        """Keep the state and its place in the data under ``name``; return what went wrong."""
        failure = self._store(name, document)
        # A bounded buffer cannot wait for a named state for ever; only what knows every position marks one.
        if (
            failure is None
            and self.source is not None
            and self.source.rewind_batches == "unlimited"
        ):
            self._mark(name)
        return failure

    def leave(self, document: dict[str, Any]) -> str | None:
        """Keep the main line as it is; return what went wrong."""
        failure = self._store(LEFT, document)
        if failure is None and self.can_rewind:
            self._mark(LEFT)
        return failure

    def come_back(self, *, final: bool, rewind: bool) -> None:
        """Restore the main line as it was left, and its place in the data if ``rewind``."""
        self._restore(LEFT)
        if rewind:
            self._rewind(LEFT)
        if final:
            self.release((LEFT,))

    def load(self, name: str, *, main: bool, rewind: bool) -> dict[str, Any]:
        """Restore the state called ``name``; with ``main`` the main line goes on from it and what was left is dropped.

        Returns the document kept with it.
        """
        document = self._restore(name)
        if rewind and name in self._marks:
            self._rewind(name)
        elif main:
            self._rewind(LEFT)
        if main:
            self.release((LEFT,))
        return document

    def release(self, names: tuple[str, ...]) -> None:
        """Forget states; unknown names do no harm."""
        for name in names:
            if self.store is not None:
                self.store.release(name)
            mark = self._marks.pop(name, None)
            if mark is not None and self.source is not None:
                self.source.release(mark)

    def release_all(self) -> None:
        """Forget every state."""
        if self.store is not None:
            self.release(self.store.names())

    def left_data(self) -> dict[str, Any] | None:
        """Return the main line's place in the data while a probe runs."""
        return self._marks.get(LEFT)

    def _store(self, name: str, document: dict[str, Any]) -> str | None:
        failure = None
        try:
            if self.store is None:
                failure = _NO_STORE
            else:
                self.store.save(name, document)
        except (SnapshotError, OSError, MemoryError) as error:
            failure = f"{type(error).__name__}: {error}"
        return self._ranks.agree(failure)

    def _restore(self, name: str) -> dict[str, Any]:
        document = {} if self.store is None else self.store.restore(name)
        self._ranks.agree(None)
        return document

    def _mark(self, name: str) -> None:
        if self.source is None:
            return
        old = self._marks.pop(name, None)
        if old is not None:
            self.source.release(old)
        self._marks[name] = self.source.mark()

    def _rewind(self, name: str) -> None:
        if self.source is not None and name in self._marks:
            self.source.rewind(self._marks[name])
