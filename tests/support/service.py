"""A service inside the test: it answers every record at once, by a script."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pacesetter.protocol import (
    JobSpec,
    LedgerTotals,
    Record,
    Registration,
    Segment,
    SegmentEnded,
)
from pacesetter.schedules import Constant, Schedule
from pacesetter.transport import Bell, MakeRecord, Transport, UnreadableSegment

Script = Callable[[Record], Iterable[Segment]]
Kind = TypeVar("Kind")


class ScriptedBell(Bell):
    """Rung as long as there is something to look at, as tests put things straight into the inbox."""

    def __init__(self, transport: "ScriptedTransport") -> None:
        self._transport = transport
        super().__init__()

    @property
    def rung(self) -> bool:
        waiting = bool(self._transport.inbox) and not self._transport.away
        return self._rung or waiting or self._transport.quiet

    @rung.setter
    def rung(self, value: bool) -> None:
        self._rung = value


class ScriptedTransport(Transport):
    """Numbers and keeps the records, and delivers what the script answers to each.

    Attributes:
        away: While true, nothing arrives (records are still kept).
    """

    def __init__(
        self,
        script: Script | None = None,
        segments: Iterable[Segment] = (),
        *,
        session_number: int = 1,
        kept_through: int | None = None,
        void: tuple[int, ...] = (),
    ) -> None:
        self.records: list[Any] = []
        self.ledger: LedgerTotals | None = None
        self.spec: JobSpec | None = None
        self.inbox: deque[Segment | UnreadableSegment] = deque()
        self._bell = ScriptedBell(self)
        self.away = False
        self.quiet = False
        self.waits: list[float] = []
        self.closed = False
        self.late: Registration | None = None
        self.paused = False
        self.kept = kept_through
        self._script = script or _silence
        self._segments = tuple(segments)
        self._session_number = session_number
        self._void = void

    def registration(self) -> Registration:
        return Registration(
            job="job-1",
            session=f"session-{self._session_number}",
            session_number=self._session_number,
            status="running",
            authority="steer",
            strategy="scripted",
            segments=self._segments,
            void=self._void,
        )

    @property
    def bell(self) -> Bell:
        return self._bell

    def register(self, spec: JobSpec, wait_seconds: float) -> Registration | None:
        self.spec = spec
        return None if self.away else self.registration()

    def late_registration(self) -> Registration | None:
        late, self.late = self.late, None
        return late

    def send(self, make_record: MakeRecord, *, ledger: LedgerTotals | None = None) -> None:
        record = make_record(len(self.records) + 1)
        self.records.append(record)
        self.ledger = ledger or self.ledger
        self.inbox.extend(self._script(record))

    def flush(self) -> None:
        pass

    def receive(self) -> Segment | UnreadableSegment | None:
        return self.inbox.popleft() if self.inbox and not self.away else None

    def wait(self, timeout_seconds: float) -> bool:
        self.waits.append(timeout_seconds)
        return bool(self.inbox) and not self.away

    @property
    def kept_through(self) -> int | None:
        return self.kept

    @property
    def silenced(self) -> bool:
        return self.quiet

    @property
    def steering(self) -> bool:
        return not self.paused

    def close(self, timeout_seconds: float) -> int:
        self.closed = True
        return 0

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the records of one type, in order."""
        return [record for record in self.records if isinstance(record, kind)]

    def order(self) -> list[str]:
        """Return the records as short words: ``measurements:0``, ``segment_ended:1``, ..."""
        return [f"{record.type}:{record.segment}" for record in self.records]


def _silence(record: Record) -> Iterable[Segment]:
    del record
    return ()


def after_end(replies: Mapping[int, Segment]) -> Script:
    """Return a script that answers the end of a segment, by its ``seq``."""

    def script(record: Record) -> Iterable[Segment]:
        if isinstance(record, SegmentEnded) and record.segment in replies:
            yield replies[record.segment]

    return script


def segment(seq: int, after: int, **changes: Any) -> Segment:
    """Return a segment: by default a constant main segment over [0, 100)."""
    values: dict[str, Any] = {
        "seq": seq,
        "after": after,
        "kind": "main",
        "start": 0,
        "length": 100,
        "policy": Schedule(length=1_000_000, body=Constant()),
        "reason": {"text": "scripted"},
    }
    return Segment.model_validate({**values, **changes})


def constant(peak: float) -> Schedule:
    """Return a constant multiplier."""
    return Schedule(length=1_000_000, peak=peak, body=Constant())
