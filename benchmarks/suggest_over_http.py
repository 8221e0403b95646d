"""A job of raw HTTP calls, for the latency of decisions as a job sees it and what the API feels of them meanwhile."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from pacesetter.protocol import (
    Acknowledgement,
    Budget,
    Capabilities,
    JobSpec,
    Measurements,
    Message,
    ParameterGroup,
    Record,
    Report,
    Segment,
    SegmentEnded,
    SessionBegan,
    StrategyChoice,
)
from pacesetter.schedules import Schedule, Warmup

TOTAL = 200_000
ROWS = 100
WAIT_SECONDS = 30


@dataclass
class WireJob:
    """Follows ``autolrs`` over HTTP with made-up losses; what happens between two reports takes no time.

    Attributes:
        latencies: Seconds from the report that ends a probe to the next segment, probe by probe.
    """

    api: httpx.Client
    name: str
    strategy: str = "autolrs"
    latencies: list[float] = field(default_factory=list)
    current: Segment | None = None
    number: int = 0
    step: int = 0
    position: int = 0
    probes: int = 0

    def __post_init__(self) -> None:
        spec = JobSpec(
            name=self.name,
            external_id=self.name,
            nonce=self.name,
            budget=Budget(total=TOTAL),
            base=Schedule(length=TOTAL, warmup=Warmup(length=1000)),
            groups=(ParameterGroup(name="all", base_lr=0.1),),
            capabilities=Capabilities(rollback="memory", rewind_batches="unlimited"),
            strategy=StrategyChoice(name=self.strategy),
        )
        registration = self.post("/v1/jobs", spec)
        self.job, self.session = registration["job"], registration["session"]
        self.segments = [Segment.model_validate(one) for one in registration["segments"]]
        self.seen = max((segment.seq for segment in self.segments), default=0)
        self.send(SessionBegan(**self.place(0)))
        self.random = np.random.default_rng(0)

    def post(self, path: str, body: Message) -> dict[str, Any]:
        """Return the reply to a POST that must succeed."""
        content, kind = body.model_dump_json(by_alias=True), {"Content-Type": "application/json"}
        reply = self.api.post(path, content=content, headers=kind)
        assert reply.is_success, reply.text
        document: dict[str, Any] = reply.json()
        return document

    def place(self, segment: int) -> dict[str, int]:
        """Return number and place of the next record."""
        self.number += 1
        return {"number": self.number, "segment": segment, "position": self.position}

    def send(self, *records: Record) -> None:
        """Report, and take up what the reply carries."""
        report = Report(session=self.session, records=records, seen=self.seen)
        reply = self.post(f"/v1/jobs/{self.job}/reports", report)
        assert not reply["problems"], reply["problems"]
        self.take(reply["segments"])

    def take(self, documents: list[dict[str, Any]]) -> None:
        """Queue the segments that are new."""
        for segment in map(Segment.model_validate, documents):
            if segment.seq > self.seen:
                self.segments.append(segment)
                self.seen = segment.seq

    def next_segment(self) -> Segment:
        """Return the next segment, waiting for it by long poll."""
        while not self.segments:
            query = {"after": self.seen, "wait": WAIT_SECONDS}
            reply = self.api.get(f"/v1/jobs/{self.job}/segments", params=query).raise_for_status()
            self.take(reply.json()["segments"])
        return self.segments.pop(0)

    def rows(self, segment: int, start: int, length: int, level: float) -> Measurements:
        """Return rows of a noisy curve that falls to ``level``."""
        progress = np.linspace(0.0, 1.0, ROWS)
        losses = level + 0.3 * np.exp(-3 * progress) + 0.02 * self.random.standard_normal(ROWS)
        steps = [float(self.step + index + 1) for index in range(ROWS)]
        self.step += ROWS
        positions = [float(int(start + one * (length - 1))) for one in progress]
        columns: dict[str, list[float | None]] = {
            "position": [*positions],
            "step": [*steps],
            "loss": [float(loss) for loss in losses],
        }
        return Measurements(**self.place(segment), columns=columns)

    def advance_to(self, probes: int) -> None:
        """Follow segments until so many probes have ended."""
        if self.current is None:
            self.current = self.next_segment()
            start = self.current.start
            self.send(self.rows(0, 0, start, 3.0), self.ended(0, "main", start, start))
        while self.probes < probes:
            self.current = self.follow(self.current)

    def follow(self, segment: Segment) -> Segment:
        """Run one segment and return the next."""
        start, probe = segment.start, segment.kind == "probe"
        self.position = start
        applied = Acknowledgement(**self.place(segment.seq), status="applied")
        x = float(np.log10(max(segment.policy.at(start), 1e-6)))
        rows = self.rows(segment.seq, start, segment.length, 2.0 + 0.1 * x**2)
        kind, main_position = ("probe", start) if probe else ("main", segment.end)
        ended = self.ended(segment.seq, kind, main_position, segment.end)
        began = time.perf_counter()
        self.send(applied, rows, ended)
        following = self.next_segment()
        if probe:
            self.probes += 1
            self.latencies.append(time.perf_counter() - began)
        return following

    def ended(self, seq: int, kind: str, main_position: int, position: int) -> SegmentEnded:
        """Return the record that ends a segment."""
        self.position = position
        place = self.place(seq)
        outcome = {
            "kind": kind,
            "outcome": "completed",
            "steps": ROWS,
            "main_position": main_position,
        }
        return SegmentEnded.model_validate({**place, **outcome})


@contextlib.contextmanager
def pinging(url: str, name: str, taken: list[float]) -> Iterator[None]:
    """Report to another job every 20 ms; add to ``taken`` the seconds that each report took."""
    stop = threading.Event()

    def ping() -> None:
        with httpx.Client(base_url=url, timeout=60.0) as api:
            job = WireJob(api, name, strategy="fixed")
            while not stop.is_set():
                rows = job.rows(0, 0, ROWS, 2.0)
                began = time.perf_counter()
                job.send(rows)
                taken.append(time.perf_counter() - began)
                stop.wait(0.02)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
