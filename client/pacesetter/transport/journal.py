"""The journal: records on disk until the service has stored them.

One line of JSON a record, checked by its length and CRC-32, in files that are only ever appended to::

    {"crc":"5e2f0a91","length":93,"number":7,"ledger":null,"record":{"number":7,...}}

A file is closed at ``rotate_bytes`` and deleted once all of it is acknowledged; the one being written is truncated
when nothing in it is needed any more. Each append is one unbuffered write, so killing the process loses no line that
was appended, and forked children hold no buffer that they could write a second time. There is no fsync: a power
failure may lose what the operating system had not written yet. A line torn by a crash is skipped.
"""

import os
import re
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_HEADER = re.compile(rb'\{"crc":"([0-9a-f]{8})","length":(\d+),"number":(\d+),"ledger":')
_CHECKED_FROM = len(b'{"crc":"00000000",')
_FILE = re.compile(r"journal-(\d{6,})\.jsonl")


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it travels: its number, its JSON, and the ledger that was current when it was made."""

    number: int
    record: bytes
    ledger: bytes = b"null"
    control: bool = True
    """False for measurements, which may be dropped when nothing can hold them. Not kept on disk."""


class Cursor(NamedTuple):
    """A place in the journal."""

    file: int
    offset: int


def encode(entry: Entry) -> bytes:
    """Return the journal line of ``entry``."""
    checked = b'"length":%d,"number":%d,"ledger":%b,"record":%b}' % (
        len(entry.record),
        entry.number,
        entry.ledger,
        entry.record,
    )
    return b'{"crc":"%08x",%b\n' % (zlib.crc32(checked), checked)


def decode(line: bytes) -> Entry | None:
    """Return the entry in ``line``, or None where the line is torn or damaged."""
    header = _HEADER.match(line)
    if header is None or not line.endswith(b"}\n"):
        return None
    if zlib.crc32(line[_CHECKED_FROM:-1]) != int(header[1], 16):
        return None
    record_from = len(line) - 2 - int(header[2])
    ledger = line[header.end() : record_from - len(b',"record":')]
    return Entry(int(header[3]), line[record_from:-2], ledger)


class Journal:
    """The files of one session, appended to by one thread and read by another."""

    def __init__(self, directory: Path, rotate_bytes: int = 1 << 20) -> None:
        self.directory = directory
        self._rotate_bytes = rotate_bytes
        self._lock = threading.Lock()
        self._sealed = _indexes(directory)
        # A file found here may end in a torn line, so it is never appended to.
        self._current = max(self._sealed, default=0) + 1
        self._descriptor: int | None = None
        self._size = 0
        self._head = Cursor(min(self._sealed, default=self._current), 0)

    @property
    def head(self) -> Cursor:
        """The place of the first entry that is still needed."""
        return self._head

    def append(self, entries: Iterable[Entry]) -> None:
        """Write ``entries`` in one piece: all of them, or none.

        Raises:
            OSError: The disk took less than all of it.
        """
        lines = b"".join(map(encode, entries))
        with self._lock:
            if self._size >= self._rotate_bytes:
                self._rotate()
            descriptor = self._descriptor if self._descriptor is not None else self._open()
            try:
                self._size += _write_all(descriptor, lines)
            except OSError:
                os.ftruncate(descriptor, self._size)
                raise

    def read(self, start: Cursor, max_records: int, max_bytes: int) -> tuple[list[Entry], Cursor]:
        """Return the entries from ``start`` on, at least one if there is any, and the place after them."""
        entries: list[Entry] = []
        taken = 0
        with self._lock:
            end = start
            for entry, after in self._scan(start):
                if entries and (
                    len(entries) == max_records or taken + len(entry.record) > max_bytes
                ):
                    return entries, end
                entries.append(entry)
                taken += len(entry.record)
                end = after
            return entries, Cursor(self._current, self._size)

    def advance(self, head: Cursor) -> None:
        """Forget everything before ``head``."""
        with self._lock:
            self._head = head
            for index in [index for index in self._sealed if index < head.file]:
                self._path(index).unlink(missing_ok=True)
                self._sealed.remove(index)
            if self._descriptor is not None and head == (self._current, self._size):
                os.ftruncate(self._descriptor, 0)
                self._size = 0
                self._head = Cursor(self._current, 0)

    def count(self, after: int) -> int:
        """Return how many entries have a number above ``after``; reads all files."""
        with self._lock:
            return sum(entry.number > after for entry, _ in self._scan(self._head))

    def last_number(self) -> int:
        """Return the highest number in the files, 0 if there is none; reads all files."""
        with self._lock:
            return max((entry.number for entry, _ in self._scan(self._head)), default=0)

    def close(self, *, delete: bool = False) -> None:
        """Close the file; with ``delete``, remove all of them."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
                self._sealed.append(self._current)
                self._current, self._size = self._current + 1, 0
            for index in self._sealed if delete else ():
                self._path(index).unlink(missing_ok=True)
            if delete:
                self._sealed.clear()

    def _path(self, index: int) -> Path:
        return self.directory / f"journal-{index:06d}.jsonl"

    def _open(self) -> int:
        self.directory.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._descriptor = os.open(self._path(self._current), flags, 0o644)
        return self._descriptor

    def _rotate(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._sealed.append(self._current)
        self._current, self._descriptor, self._size = self._current + 1, None, 0

    def _scan(self, start: Cursor) -> Iterator[tuple[Entry, Cursor]]:
        indexes = [*self._sealed, self._current]
        for index in [index for index in indexes if index >= start.file]:
            offset = start.offset if index == start.file else 0
            for line in _lines(self._path(index), offset):
                offset += len(line)
                entry = decode(line)
                if entry is not None:
                    yield entry, Cursor(index, offset)


def _indexes(directory: Path) -> list[int]:
    try:
        names = os.listdir(directory)
    except OSError:
        return []  # not there yet, or unusable: the first append says so
    matches = (_FILE.fullmatch(name) for name in names)
    return sorted(int(match[1]) for match in matches if match is not None)


def _lines(path: Path, offset: int) -> Iterator[bytes]:
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        yield from file


def _write_all(descriptor: int, data: bytes) -> int:
    """Write ``data`` and return its length; a full disk may take a part before it refuses the rest."""
    written = 0
    while written < len(data):
        written += os.write(descriptor, data[written:])
    return written
