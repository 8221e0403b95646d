"""The hot path's end of the transport: a queue, and a thread that turns it into numbered records on disk."""

import json
import threading
from collections import deque
from collections.abc import Callable

from pacesetter.protocol import LedgerTotals, Measurements, Notice, Record
from pacesetter.transport.backlog import Backlog
from pacesetter.transport.base import MakeRecord
from pacesetter.transport.conditions import Conditions, logger
from pacesetter.transport.journal import Entry
from pacesetter.transport.timing import Timing

Queued = tuple[MakeRecord, LedgerTotals | None]


class Recorder:
    """Builds records from what the training loop queued, numbers them, and puts them into the backlog.

    Numbers are given here, in the order of the calls of ``send``. Every record is written ahead: to the journal first
    and from there to the service, so it survives the end of this process ``batch_seconds`` after ``send`` at the
    latest, and almost at once after ``flush``. It never waits for the network.
    """

    def __init__(
        self,
        backlog: Backlog,
        conditions: Conditions,
        timing: Timing,
        *,
        first_number: int = 1,
        stored: Callable[[], None] = lambda: None,
    ) -> None:
        self._backlog = backlog
        self._conditions = conditions
        self._timing = timing
        self._stored = stored
        self._queue: deque[Queued] = deque()
        self._append = self._queue.append
        self._wake = threading.Event()
        self._draining = threading.Lock()
        self._built: list[Entry] = []
        self._next_number = first_number
        self._last: Record | None = None
        self._lost = 0

    def send(self, make_record: MakeRecord, ledger: LedgerTotals | None) -> None:
        """Queue a record: an append, no lock, no system call unless the batch is full."""
        queued = len(self._queue)
        if queued < self._timing.batch_records:
            self._append((make_record, ledger))
        elif queued < self._timing.queue_records:
            self._append((make_record, ledger))
            if not self._wake.is_set():
                self._wake.set()
        else:
            self._lost += 1

    def flush(self) -> None:
        """Have the queue written and sent now."""
        self._wake.set()

    def abandon(self) -> None:
        """Drop everything from now on, at no cost: after the end, or in a forked child, whose parent keeps the job."""
        self._queue = deque(maxlen=0)
        self._append = self._queue.append

    def run(self, closing: threading.Event) -> None:
        """Drain until ``closing`` is set, and once more then; the body of the thread."""
        while not closing.is_set():
            self._wake.wait(self._timing.batch_seconds)
            self._wake.clear()
            self.drain()
        self.drain()

    def drain(self) -> None:
        """Write everything that is queued now into the backlog."""
        with self._draining:
            for _ in range(len(self._queue)):
                self._build(*self._queue.popleft())
            self._report_dropped()
            if self._built:
                self._backlog.put(self._built)
                self._built = []
                self._stored()

    def _build(self, make_record: MakeRecord, ledger: LedgerTotals | None) -> None:
        try:
            record = make_record(self._next_number)
            text = record.model_dump_json().encode()
        except Exception:
            logger.exception("A record could not be built and is left out; training goes on.")
            return
        totals = b"null" if ledger is None else ledger.model_dump_json().encode()
        self._built.append(
            Entry(self._next_number, text, totals, not isinstance(record, Measurements))
        )
        self._next_number += 1
        self._last = record

    def _report_dropped(self) -> None:
        lost, self._lost = self._lost, 0
        dropped = self._backlog.take_dropped() + lost
        if dropped == 0 or self._last is None:
            return
        segment, position = self._last.segment, self._last.position
        self._build(lambda number: _dropped_notice(number, segment, position, dropped), None)
        logger.warning("%d records were dropped: neither disk nor memory could hold them.", dropped)


def _dropped_notice(number: int, segment: int, position: int, dropped: int) -> Notice:
    return Notice(
        number=number,
        segment=segment,
        position=position,
        level="warning",
        code="RECORDS_DROPPED",
        detail=f"{dropped} measurement records were dropped: neither disk nor memory could hold them.",
        numbers={"records": dropped},
    )


def report_body(session: str, entries: list[Entry], seen: int) -> bytes:
    """Return the body of a report from records that are JSON already."""
    ledger = next((e.ledger for e in reversed(entries) if e.ledger != b"null"), b"null")
    return b'{"session":%b,"records":[%b],"ledger":%b,"seen":%d}' % (
        json.dumps(session).encode(),
        b",".join(entry.record for entry in entries),
        ledger,
        seen,
    )
