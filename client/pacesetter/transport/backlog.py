"""What waits to be sent: on disk where possible, in memory where the disk takes nothing."""

import threading
from collections import deque

from pacesetter.transport.conditions import Conditions
from pacesetter.transport.journal import Entry, Journal

_CHUNK_BYTES = 1 << 20


class Backlog:
    """Entries in the order of their numbers: the journal first, behind it what the disk did not take.

    When memory is over its bound too, the oldest measurements are dropped and counted; never a control record.
    """

    def __init__(self, journal: Journal, conditions: Conditions, memory_bytes: int) -> None:
        self._journal = journal
        self._conditions = conditions
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._memory: deque[Entry] = deque()
        self._acknowledged = 0
        self._in_flight = 0
        self._dropped = 0

    def put(self, entries: list[Entry]) -> None:
        """Keep ``entries``; on disk when this returns, unless the disk takes nothing."""
        with self._lock:
            self._memory.extend(entries)
            try:
                while self._memory:
                    chunk = _first_bytes(self._memory, _CHUNK_BYTES)
                    self._journal.append(chunk)
                    for _ in chunk:
                        self._memory.popleft()
            except OSError as error:
                self.say_disk_failed(error)
                self._shed()
            else:
                self._conditions.end("DISK", "The journal can be written again.")

    def take(self, max_records: int, max_bytes: int) -> list[Entry]:
        """Return the oldest entries that were not acknowledged; they stay until they are."""
        with self._lock:
            while True:
                entries, end = self._journal.read(self._journal.head, max_records, max_bytes)
                needed = [entry for entry in entries if entry.number > self._acknowledged]
                if needed:
                    return needed
                self._journal.advance(end)
                if not entries:
                    break
            taken = _first_bytes(self._memory, max_bytes)[:max_records]
            self._in_flight = taken[-1].number if taken else 0
            return taken

    def acknowledge(self, number: int) -> None:
        """Forget every entry up to ``number``."""
        with self._lock:
            self._acknowledged = max(self._acknowledged, number)
            while self._memory and self._memory[0].number <= self._acknowledged:
                self._memory.popleft()

    def pending(self) -> int:
        """Return how many entries are not acknowledged. Reads the journal: not for the hot path."""
        with self._lock:
            return self._journal.count(self._acknowledged) + len(self._memory)

    def unwritten(self) -> int:
        """Return how many entries are in memory only."""
        return len(self._memory)

    def take_dropped(self) -> int:
        """Return how many measurements were dropped since the last call, once there is room again; else 0."""
        with self._lock:
            if 2 * sum(len(entry.record) for entry in self._memory) > self._memory_bytes:
                return 0
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _shed(self) -> None:
        excess = sum(len(entry.record) for entry in self._memory) - self._memory_bytes
        kept: deque[Entry] = deque()
        for entry in self._memory:
            # What is being sent may have arrived: dropping it would count it as lost.
            if excess > 0 and not entry.control and entry.number > self._in_flight:
                excess -= len(entry.record)
                self._dropped += 1
            else:
                kept.append(entry)
        self._memory = kept

    def say_disk_failed(self, error: OSError) -> None:
        """Say once that records wait in memory."""
        self._conditions.begin(
            "DISK",
            f"The journal in {self._journal.directory} cannot be written ({error}). Records wait in memory, up to "
            f"{self._memory_bytes >> 20} MiB, and are lost if this process is killed. Free space there, or set "
            "PACESETTER_DIR to another folder.",
        )


def _first_bytes(entries: deque[Entry], max_bytes: int) -> list[Entry]:
    """Return the first entries of at most ``max_bytes`` together; at least one if there is any."""
    first: list[Entry] = []
    for entry in entries:
        max_bytes -= len(entry.record)
        if first and max_bytes < 0:
            break
        first.append(entry)
    return first
