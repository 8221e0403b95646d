"""Specs, records and segments for the transport's tests, and a way to wait for a condition."""

import time
from collections.abc import Callable
from typing import TypeVar

from pacesetter.protocol import (
    Budget,
    JobSpec,
    Measurements,
    Notice,
    ParameterGroup,
    Reason,
    Record,
    Segment,
    SegmentEnded,
)
from pacesetter.schedules import Schedule
from pacesetter.transport import MakeRecord, Timing

QUICK = Timing(
    batch_seconds=0.02,
    connect_timeout=2.0,
    reply_timeout=3.0,
    stream_idle_timeout=10.0,
    backoff=0.01,
    backoff_cap=0.05,
    slow_retry=0.05,
    long_poll=0.2,
    poll_for=0.5,
)
"""The real thing, a little faster."""

Value = TypeVar("Value")


def eventually(read: Callable[[], Value], seconds: float = 60.0) -> Value:
    """Return the first true value of ``read``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = read()
        if value:
            return value
        time.sleep(0.003)
    raise AssertionError(f"waited {seconds} s in vain; last value: {read()!r}")


def make_spec(nonce: str = "nonce-1", external_id: str = "run/7", **fields: object) -> JobSpec:
    document: dict[str, object] = {
        "name": "a job",
        "external_id": external_id,
        "nonce": nonce,
        "budget": Budget(total=1000),
        "base": Schedule(length=1000),
        "groups": (ParameterGroup(name="all", base_lr=1e-3),),
    }
    return JobSpec.model_validate(document | fields)


def make_segment(seq: int, after: int | None = None) -> Segment:
    return Segment(
        seq=seq,
        after=seq - 1 if after is None else after,
        kind="main",
        start=0,
        length=10,
        policy=Schedule(length=1000),
        reason=Reason(text="because"),
    )


def measured(loss: float = 1.0, rows: int = 1) -> MakeRecord:
    def make(number: int) -> Record:
        steps = [float(number * rows + row) for row in range(rows)]
        columns: dict[str, list[float | None]] = {
            "position": list(steps),
            "step": list(steps),
            "loss": [loss] * rows,
        }
        return Measurements(number=number, segment=0, position=number, columns=columns)

    return make


def ended(number: int) -> Record:
    return SegmentEnded(
        number=number,
        segment=1,
        position=number,
        kind="main",
        outcome="completed",
        steps=1,
        main_position=number,
    )


def noticed(text: str) -> MakeRecord:
    def make(number: int) -> Record:
        return Notice(number=number, segment=0, position=0, level="info", code="TEST", detail=text)

    return make


def impossible(number: int) -> Record:
    raise ZeroDivisionError(f"record {number} cannot be built")
