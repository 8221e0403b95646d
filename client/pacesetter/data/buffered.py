"""A source over any iterable: it can go back as far as its buffer reaches."""

import logging
import uuid
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from pacesetter.data.base import RewindCapability
from pacesetter.data.holding import HoldingSource
from pacesetter.data.position import DataPosition
from pacesetter.data.random_state import PrivateRandom
from pacesetter.data.walk import EpochWalk

logger = logging.getLogger(__name__)


class _Entry(NamedTuple):
    position: DataPosition
    """Where the stream stood before this batch."""
    batch: Any


class BufferedSource(HoldingSource):
    """Keeps the batches that somebody may come back for, at most ``capacity`` of them.

    Batches are numbered from 0 in the order in which the loader gave them. The buffer holds ``[first, fetched)``; it
    reaches back to the main line and to the oldest mark. A full buffer means: on the main line, the oldest batches go
    and marks before them can no longer be reached exactly; in a probe, the probe gets the buffer's batches again.

    The buffer keeps references: a batch that the training changes in place comes back changed.
    """

    def __init__(
        self, loader: Iterable[Any], random_state: PrivateRandom, *, capacity: int
    ) -> None:
        super().__init__()
        self._walk = EpochWalk(loader, random_state)
        self._capacity = capacity
        # Marks carry it, so that one from an earlier process is not taken for one of this buffer.
        self._source_id = uuid.uuid4().hex
        self._marks_made = 0
        self._start_empty()

    def _start_empty(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._first = 0
        self._cursor = 0
        self._main = 0
        self._origin = 0
        self._marks: dict[int, int] = {}
        self._unpaired = False

    @property
    def rewind_batches(self) -> RewindCapability:
        """The capacity of the buffer."""
        return self._capacity

    @property
    def epoch_batches(self) -> int | None:
        """The loader's length."""
        return self._walk.epoch_batches

    @property
    def unpaired(self) -> bool:
        """Whether the batches since the last mark or rewind were others than on the main line."""
        return self._unpaired

    @property
    def buffered(self) -> int:
        """How many batches are held now."""
        return len(self._entries)

    @property
    def _fetched(self) -> int:
        return self._first + len(self._entries)

    def _take(self, *, probe: bool) -> Any:
        if self._cursor == self._fetched:
            if probe and self._capacity and not self._make_room():
                self._cycle()
            else:
                self._fetch()
        batch = self._entries[self._cursor - self._first].batch
        self._cursor += 1
        if not probe:
            self._main = self._cursor
        self._trim()
        return batch

    def _fetch(self) -> None:
        position = self._walk.position()
        batch = self._walk.fetch()
        if self._walk.batch == 1:
            # It opened an epoch: the position before it is that epoch's start, not the last one's end.
            position = self._start_of_epoch()
        self._entries.append(_Entry(position, batch))

    def _start_of_epoch(self) -> DataPosition:
        now = self._walk.position()
        return DataPosition(now.seed, now.epoch, 0, now.epoch_batches, now.generators)

    def _make_room(self) -> bool:
        """Make room for one more batch in a probe; False if all that is held belongs to the main line or the probe."""
        if len(self._entries) < self._capacity:
            return True
        if self._first < min(self._main, self._origin):
            self._drop_oldest()
            return True
        return False

    def _cycle(self) -> None:
        self._unpaired = True
        self._cursor = self._origin if self._origin < self._fetched else self._first

    def _trim(self) -> None:
        wanted_from = min(self._main, self._cursor, *self._marks.values())
        while self._entries and (self._first < wanted_from or self.buffered > self._capacity):
            self._drop_oldest()
        if not self._capacity and self._cursor > self._main:
            self._unpaired = True

    def _drop_oldest(self) -> None:
        self._entries.popleft()
        self._first += 1

    def mark(self) -> dict[str, Any]:
        """Remember this position and keep the batches that follow it."""
        self._marks_made += 1
        self._marks[self._marks_made] = self._origin = self._cursor
        self._unpaired = False
        return {**self.state_dict(), "source": self._source_id, "mark": self._marks_made}

    def rewind(self, mark: dict[str, Any]) -> None:
        """Return to the mark, or as near to it as the buffer reaches; to one of an earlier process by reading to it.

        Raises:
            StateMismatch: It is not a mark.
        """
        if mark.get("source") != self._source_id or mark.get("mark") not in self._marks:
            self.load_state_dict(mark)
            return
        self._thaw()
        number = self._marks[mark["mark"]]
        self._cursor = self._origin = max(number, self._first)
        self._unpaired = number < self._first
        if self._unpaired and self._capacity:
            logger.warning(
                "the data cannot go back %d batches, the buffer holds %d: going on from its oldest batch",
                self._fetched - number,
                self.buffered,
            )

    def release(self, mark: dict[str, Any]) -> None:
        """Let the batches go that only this mark kept."""
        if mark.get("source") == self._source_id:
            self._marks.pop(mark.get("mark", 0), None)
            self._trim()

    def state_dict(self) -> dict[str, Any]:
        """Return the position: JSON values only."""
        if self._cursor < self._fetched:
            return self._entries[self._cursor - self._first].position.to_document()
        return self._walk.position().to_document()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position by reading the epoch up to it; the buffer and all marks are dropped."""
        position = DataPosition.from_document(state)
        self._thaw()
        self._start_empty()
        self._walk.go_to(position)
