"""Builds a session's records. Whatever needs a tensor's value is left to the transport's thread."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Finished,
    GroupReadback,
    Measurements,
    Notice,
    Segment,
    SegmentEnded,
    SessionBegan,
)
from pacesetter.run.effects import Acknowledge, End
from pacesetter.run.ledger import Ledger
from pacesetter.run.rows import Rows
from pacesetter.run.verification import PendingVerification, Resolution
from pacesetter.transport.base import Transport

Alert = tuple[str, str, dict[str, float | str]]
"""Code, detail and numbers of what a person should know."""

FLUSH_ROWS = 200
FLUSH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class GroupStep:
    """What one parameter group showed around the first step of a segment."""

    name: str
    lr_before: float
    announced: float
    read_back: float
    pending: PendingVerification

    def resolve(self) -> tuple[GroupReadback, Resolution]:
        """Return it as the service takes it; waits for the device."""
        seen = self.pending.resolve(self.announced)
        readback = GroupReadback(
            group=self.name,
            lr_before=self.lr_before,
            lr_announced=self.announced,
            lr_after=self.read_back,
            lr_applied=seen.lr_applied,
            verification=seen.status,
            rounding_bound=seen.rounding_bound,
        )
        return readback, seen


class Reporter:
    """Sends the records of one session, in the order of events in training.

    Args:
        transport: Takes the records.
        ledger: Travels with the reports.
        on_device: Whether scalars stay on their device until a report (see :class:`Rows`).

    Attributes:
        flush_at: When the rows should leave, in terms of ``time.perf_counter()``.
    """

    def __init__(self, transport: Transport, ledger: Ledger, *, on_device: bool) -> None:
        self.rows = Rows(on_device=on_device)
        self.alerts: deque[Alert] = deque()
        self._transport = transport
        self._ledger = ledger
        self._on_device = on_device
        self.flush_at = time.perf_counter() + FLUSH_SECONDS

    def session_began(self, position: int, seq: int, *, resumed: bool, world_size: int) -> None:
        """Say where on the main line this process starts."""
        self._transport.send(
            lambda number: SessionBegan(
                number=number,
                segment=seq,
                position=position,
                resumed=resumed,
                world_size=world_size,
            )
        )
        self._transport.flush()

    def rows_are_due(self, now: float) -> bool:
        """Whether the rows should leave now; ``now`` is ``time.perf_counter()``."""
        return now >= self.flush_at or len(self.rows) >= FLUSH_ROWS

    def flush(self) -> None:
        """Have everything sent now, without waiting for it."""
        self._transport.flush()

    def send_rows(self, seq: int, position: int) -> None:
        """Send the rows collected so far."""
        self.flush_at = time.perf_counter() + FLUSH_SECONDS
        if not self.rows:
            return
        take = self.rows.take()
        self._transport.send(
            lambda number: Measurements(
                number=number, segment=seq, position=position, columns=take()
            ),
            ledger=self._ledger.totals(),
        )

    def segment_ended(self, end: End, validation_loss: float | None, *, unpaired: bool) -> None:
        """Say that a segment is over, and send everything at once."""
        kind = end.segment.kind
        assert kind != "stop"
        self._transport.send(
            lambda number: SegmentEnded(
                number=number,
                segment=end.segment.seq,
                position=end.position,
                kind=kind,
                outcome=end.outcome,
                code=end.code,
                steps=end.steps,
                tokens=end.tokens,
                main_position=end.main_position,
                validation_loss=validation_loss,
                unpaired=unpaired,
            ),
            ledger=self._ledger.totals(),
        )
        self._transport.flush()

    def acknowledge(self, answer: Acknowledge, position: int) -> None:
        """Say what became of a segment that does not run."""
        self._transport.send(
            lambda number: Acknowledgement(
                number=number,
                segment=answer.seq,
                position=position,
                status=answer.status,
                code=answer.code,
                detail=answer.detail,
            )
        )
        self._transport.flush()

    def applied(self, segment: Segment, position: int, groups: tuple[GroupStep, ...]) -> None:
        """Say that a segment made its first step, and what the optimizer showed."""
        resolve = self._resolver(groups)
        if not self._on_device:
            resolved = resolve()

            def resolve() -> tuple[GroupReadback, ...]:
                return resolved

        self._transport.send(
            lambda number: Acknowledgement(
                number=number,
                segment=segment.seq,
                position=position,
                status="applied",
                groups=resolve(),
            )
        )

    def _resolver(self, groups: tuple[GroupStep, ...]) -> Callable[[], tuple[GroupReadback, ...]]:
        def resolve() -> tuple[GroupReadback, ...]:
            readbacks = []
            for group in groups:
                readback, seen = group.resolve()
                readbacks.append(readback)
                if seen.status == "mismatch":
                    self.alerts.append(_not_applied(group, seen))
            return tuple(readbacks)

        return resolve

    def fell_back(self, follows: int, position: int, waited_seconds: float) -> None:
        """Say that nothing came, and what the job follows now."""
        self._transport.send(
            lambda number: FellBack(
                number=number,
                segment=follows,
                position=position,
                follows=follows,
                waited_seconds=waited_seconds,
            ),
            ledger=self._ledger.totals(),
        )
        self._transport.flush()

    def notice(
        self,
        level: str,
        code: str,
        detail: str,
        *,
        seq: int,
        position: int,
        numbers: Mapping[str, float | str] | None = None,
    ) -> None:
        """Tell a person something."""
        self._transport.send(
            lambda number: Notice.model_validate(
                {
                    "number": number,
                    "segment": seq,
                    "position": position,
                    "level": level,
                    "code": code,
                    "detail": detail[:4000],
                    "numbers": dict(numbers or {}),
                }
            )
        )

    def finished(
        self,
        position: int,
        seq: int,
        validation_loss: float | None,
        *,
        completed: bool,
        detail: str | None = None,
    ) -> None:
        """Say that the job is over; ``detail`` says why before its budget."""
        self._transport.send(
            lambda number: Finished(
                number=number,
                segment=seq,
                position=position,
                validation_loss=validation_loss,
                completed=completed,
                detail=detail,
            ),
            ledger=self._ledger.totals(),
        )
        self._transport.flush()


def _not_applied(group: GroupStep, seen: Resolution) -> Alert:
    applied = seen.lr_applied or 0.0
    detail = (
        f"the optimizer stepped group {group.name!r} at {applied:.6g} and not at {group.announced:.6g}, which its "
        "lr says; a captured or compiled step may hold an old value: pass the learning rate as a Tensor"
    )
    return (
        "LR_NOT_APPLIED",
        detail,
        {"group": group.name, "announced": group.announced, "applied": applied},
    )
