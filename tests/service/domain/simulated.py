"""A job that follows segments as the client does, in memory: one loss a step, a known landscape, no weights."""

import math
from dataclasses import dataclass, field
from typing import Any

from pacesetter.protocol import (
    Acknowledgement,
    Budget,
    Capabilities,
    FellBack,
    Finished,
    JobSpec,
    LedgerTotals,
    Measurements,
    ParameterGroup,
    Record,
    Report,
    ReportReply,
    Segment,
    SegmentEnded,
    SessionBegan,
)
from pacesetter.schedules import Schedule
from pacesetter_service.controller import Controller

STEERABLE = Capabilities(rollback="memory", rewind_batches=100, validate_=True, budget_changes=True)


def spec(total: int = 100, strategy: str | None = "ladder", **fields: Any) -> JobSpec:
    """Return a spec; ``parameters`` go to the strategy."""
    values: dict[str, Any] = {
        "name": "a job",
        "external_id": "run-1",
        "nonce": "first",
        "budget": Budget(total=total),
        "base": Schedule(length=total),
        "groups": (ParameterGroup(name="all", base_lr=0.1),),
        "capabilities": STEERABLE,
        "strategy": {"name": strategy, "parameters": fields.pop("parameters", {})},
        "seed": 7,
    }
    return JobSpec.model_validate(values | fields)


def loss_at(position: int, multiplier: float) -> float:
    """Return a loss that is lowest at a multiplier of 0.4 and falls along the main line."""
    return 3.0 - 0.01 * position + (math.log(max(multiplier, 1e-9) / 0.4)) ** 2


@dataclass
class SimulatedJob:
    """One session of a job. ``cut`` rows make a record; ``hold`` keeps records back until the segment ends."""

    controller: Controller
    spec: JobSpec
    cut: int = 5
    position: int = 0
    total: int = 0
    """Where the main line ends; 0: as registered."""
    job: str = ""
    session: str = ""
    running: Segment | None = None
    pending: Segment | None = None
    rates: dict[int, float] = field(default_factory=dict)
    """Multiplier of the main line at every position."""
    seen: int = 0
    number: int = 0
    step: int = 0
    kept_through: int | None = None
    received: dict[int, Segment] = field(default_factory=dict)
    sent: list[Report] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=lambda: {"main_steps": 0, "probe_steps": 0})
    patience: float = 60.0
    """Seconds that it waits for an answer by the stream."""

    async def start(self, *, project: str = "default") -> "SimulatedJob":
        """Register, and say where the session begins."""
        self.total = self.total or self.spec.budget.total
        registered = await self.controller.register(self.spec, project=project)
        self.job = registered.registration.job
        self.session = registered.registration.session
        self._receive(registered.registration.segments)
        if not self.received and self.spec.strategy.name in (
            "slow_fixed",
            "slow_ladder",
            "slow_raising",
            "deadly",
        ):
            # A slow strategy on a busy machine: the first segments come by the stream.
            await self.controller.wait_segments(self.job, 0, self.patience, self.session)
            self._receive((await self.controller.segments_after(self.job, self.session)).segments)
        resumed = registered.registration.session_number > 1
        reply = await self.send(
            SessionBegan(number=self._next(), segment=0, position=self.position, resumed=resumed)
        )
        self.kept_through = reply.kept_through
        if resumed:
            self._resume(reply)
        else:
            self._accept_received()
        return self

    def _resume(self, reply: ReportReply) -> None:
        limit = reply.kept_through or 0
        new = {segment.seq for segment in reply.segments}
        kept = [s for s in self.received.values() if s.seq <= limit or s.seq in new]
        # What is superseded is forgotten, or it would be taken up once its turn comes.
        self.received = {segment.seq: segment for segment in kept}
        # What is new is taken up as any other, and acknowledged.
        mains = [s for s in kept if s.kind == "main" and s.start <= self.position]
        mains = [s for s in mains if s.seq not in new]
        self.running = max(mains, key=lambda s: s.seq) if mains else None
        self._take_budget()
        newer = [s for s in kept if s.seq > self.running_seq]
        following = [s for s in newer if self._descends(self.running_seq, s.after)]
        self.pending = following[-1] if following else None

    def _next(self) -> int:
        self.number += 1
        return self.number

    @property
    def running_seq(self) -> int:
        return self.running.seq if self.running else 0

    def _receive(self, segments: tuple[Segment, ...]) -> None:
        for segment in segments:
            self.seen = max(self.seen, segment.seq)
            self.received[segment.seq] = segment

    def _descends(self, seq: int, ancestor: int) -> bool:
        while seq > ancestor:
            seq = self.received[seq].after
        return seq == ancestor

    def _accept_received(self) -> None:
        """Take in what is new: one ``now`` segment at once, one other as pending."""
        for seq in sorted(self.received):
            segment = self.received[seq]
            if self.pending is not None or seq <= self.running_seq:
                continue
            if self._descends(self.running_seq, segment.after):
                self.pending = segment

    async def send(self, *records: Record) -> ReportReply:
        """Send records in a report of their own, and take in the reply."""
        report = Report(
            session=self.session,
            records=records,
            seen=self.seen,
            ledger=LedgerTotals(**self.ledger),
        )
        self.sent.append(report)
        reply = await self.controller.report(self.job, report)
        self._receive(reply.segments)
        return reply

    def rate(self, position: int) -> float:
        policy = self.running.policy if self.running else self.spec.base
        return policy.at(position)

    async def run(self, until: int | None = None) -> None:
        """Train the main line to ``until`` (the budget), through every probe on the way."""
        while self.position < (self.total if until is None else until):
            if self.pending is None:
                await self.poll()
            while self.pending is not None and self.pending.when == "now":
                if self.pending.kind == "probe":
                    await self._probe_while_asked()
                else:
                    await self._enter()
            end = min(self.total if until is None else until, self._main_end())
            await self._train(self.position, end - self.position, "main")
            self.position = end
            if self.running is not None and end == self.running.end:
                await self._end_main()
                await self._probe_while_asked()
        if until is None:
            await self.send(
                Finished(number=self._next(), segment=self.running_seq, position=self.position)
            )

    def _main_end(self) -> int:
        if self.running is not None and self.running.end > self.position:
            return self.running.end
        return self.total

    def _take_budget(self) -> None:
        if self.running is not None and self.running.budget is not None:
            self.total = self.running.budget

    async def poll(self) -> None:
        """Look for segments beside the replies, as the stream would deliver them."""
        page = await self.controller.segments_after(self.job, self.session, self.seen)
        self._receive(page.segments)
        self._accept_received()

    async def _end_main(self) -> None:
        assert self.running is not None
        await self.send(
            SegmentEnded(
                number=self._next(),
                segment=self.running.seq,
                position=self.position,
                kind="main",
                outcome="completed",
                steps=self.running.length,
                main_position=self.position,
            )
        )
        self._accept_received()

    async def _probe_while_asked(self) -> None:
        while self.pending is not None and self.pending.kind == "probe":
            await self._enter()
            assert self.running is not None
            probe = self.running
            await self._train(self.position, probe.length, "probe")
            await self.send(
                SegmentEnded(
                    number=self._next(),
                    segment=probe.seq,
                    position=self.position + probe.length,
                    kind="probe",
                    outcome="completed",
                    steps=probe.length,
                    main_position=self.position,
                )
            )
            self._accept_received()
            await self._wait_for_answer()
        if self.pending is not None:
            await self._enter()

    async def _wait_for_answer(self) -> None:
        if self.pending is None:
            await self.controller.wait_segments(self.job, self.seen, self.patience, self.session)
            await self.poll()
        if self.pending is None:
            mains = [s for s in self.received.values() if s.kind == "main"]
            self.running = max(mains, key=lambda s: s.seq) if mains else None
            await self.send(
                FellBack(
                    number=self._next(),
                    segment=self.running_seq,
                    position=self.position,
                    follows=self.running_seq,
                    waited_seconds=20.0,
                )
            )

    async def _enter(self) -> None:
        assert self.pending is not None
        self.running, self.pending = self.pending, None
        self._take_budget()
        await self.send(
            Acknowledgement(
                number=self._next(),
                segment=self.running.seq,
                position=self.position,
                status="applied",
            )
        )
        self._accept_received()

    async def _train(self, start: int, length: int, kind: str) -> None:
        rates = {position: self.rate(position) for position in range(start, start + length)}
        if kind == "main":
            self.rates |= rates
        self.ledger[f"{kind}_steps"] += length
        for first in range(start, start + length, self.cut):
            positions = range(first, min(first + self.cut, start + length))
            await self.send(self.rows(positions, [rates[p] for p in positions]))

    def rows(self, positions: range, rates: list[float]) -> Measurements:
        """Return a record of one row a position."""
        steps = [float(self.step + 1 + index) for index in range(len(positions))]
        self.step += len(positions)
        losses = [loss_at(p, rate) for p, rate in zip(positions, rates, strict=True)]
        return Measurements(
            number=self._next(),
            segment=self.running_seq,
            position=positions[-1] + 1,
            columns={
                "position": [float(p) for p in positions],
                "step": list(steps),
                "loss": list(losses),
                "lr": [0.1 * rate for rate in rates],
            },
        )
