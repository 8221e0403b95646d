"""The follower: which segment a job runs, and what has to happen between two of them.

A pure state machine: no torch, no clock, no network. It is told of steps taken (:meth:`Follower.advance`) and of
segments that arrived (:meth:`Follower.offer`), and at a step boundary it says what to do (:meth:`Follower.turn`), as
effects which the run loop carries out in order. On several ranks each rank has one, fed alike, so all act alike.

Two lines of movement::

    main line   ----m1-----|--------------------|----m2----->     position goes up by what each step consumes
                           |  p1 (probe)        ^
                           +---->  p2 (probe)   |
                           +-------->-----------+                 the main line comes back as it was left
"""

from pacesetter.protocol import CURRENT, GUARD, INITIAL, PERSON, ROLLING, Reason, Segment
from pacesetter.protocol.records import Outcome
from pacesetter.run.budgets import fitted
from pacesetter.run.effects import (
    Acknowledge,
    Begin,
    Effects,
    End,
    FallBack,
    Finish,
    Keeping,
    Leave,
    Load,
    Release,
    Return,
    Save,
    Wait,
)
from pacesetter.schedules import Schedule

ROLLING_KEPT = 2
"""Rolling snapshots kept at a time: the newest may already hold the divergence that the guard wants to undo."""

MOST_RECOVERIES = 6
"""Times a session goes back to a snapshot by itself: a service that is away must not have a run train in circles."""


def base_segment(base: Schedule, total: int) -> Segment:
    """Return the segment that every job runs by itself: ``seq`` 0, the base schedule to the end of the budget."""
    return Segment.model_construct(
        seq=0,
        after=0,
        kind="main",
        start=0,
        length=total,
        policy=base,
        reason=Reason(text="the base schedule"),
        origin="base",
    )


class Follower:
    """Follows segments.

    Attributes:
        running: The segment that drives the learning rate now.
        main: The newest segment of the main line: what the job falls back to.
        pending: The segment that comes next, if one is known.
        position: Position of the next step, in the job's clock.
        total: Position at which the main line ends; a main segment may change it.
        planned_for: The budget that the training code had given earlier sessions, where it gives another one at this
            start: its own counts, whatever they were sent. None: it is the same.
        boundary: First position at which :meth:`turn` has something to do even if nothing arrives.
        finished: Whether the job is over.
    """

    def __init__(self, base: Segment, *, position: int = 0) -> None:
        self.total = base.end
        self.planned_for: int | None = None
        self._base = self.running = self.main = base
        self.pending: Segment | None = None
        self.position = position
        self.checkpoints: dict[str, int] = {}
        self.finished = False
        self.highest_seen = 0
        self._left_at: int | None = None
        self._lineage: dict[int, int] = {}
        self._rolling: list[str] = []
        self._halted = False
        self._recoveries = 0
        self._restored: str | None = None
        self._begin(base)

    @property
    def on_main_line(self) -> bool:
        """Whether the state in the model is the main line's."""
        return self._left_at is None

    @property
    def main_position(self) -> int:
        """Position of the main line: where it was left, during a probe."""
        return self.position if self._left_at is None else self._left_at

    @property
    def at_end(self) -> bool:
        """Whether the main line has come to the end of its budget, in order."""
        return self.on_main_line and self.position >= self.total and not self._halted

    def prolongs(self, segment: Segment) -> bool:
        """Whether ``segment`` lets a main line at its end go on at once, to a budget that was extended meanwhile."""
        return (segment.budget or 0) > self.position and self._is_due(segment)

    def advance(self, units: int, tokens: int) -> None:
        """Count one optimizer step that consumed ``units`` of the job's clock and ``tokens`` tokens."""
        self.position += units
        self.count(1, tokens)

    def count(self, steps: int, tokens: int) -> None:
        """Count optimizer steps whose positions are known already."""
        self._steps += steps
        self._tokens += tokens

    def adopt(
        self, known: tuple[Segment, ...], void: frozenset[int] = frozenset()
    ) -> Segment | None:
        """Take over where an earlier session of the job was.

        The newest main segment that has started runs, unacknowledged: the earlier session did that. The newest segment
        of all is what the strategy waits for; what lies between the two is over.

        Args:
            known: The segments that still stand, oldest first.
            void: ``seq`` of those that no session ran: they may be offered again, and are never taken for running.

        Returns:
            The segment to offer again, if any; it is accepted whatever it continues.
        """
        for segment in known:
            self._lineage[segment.seq] = segment.after
            self.highest_seen = max(self.highest_seen, segment.seq)
        ran = [each for each in known if each.kind == "main" and each.seq not in void]
        started = [each for each in ran if each.start <= self.position]
        self._run_on(started[-1] if started else self.main)
        waits = bool(known) and known[-1].seq > self.running.seq and self.planned_for is None
        return known[-1] if waits else None

    def put_off(self, segment: Segment) -> None:
        """Make a segment from :meth:`adopt` the pending one."""
        self.pending = segment
        self._find_boundary()

    def fit(self, segment: Segment) -> Segment:
        """Return a main segment of an earlier session as this one follows it, whose budget may be another."""
        if self.planned_for is None or segment.seq == 0:
            return segment
        return fitted(segment, self.total, self.position, self.planned_for, self._base)

    def _run_on(self, segment: Segment) -> None:
        if self.planned_for is None:
            self.total = segment.budget or self.total
        segment = self.fit(segment)
        self.running = self.main = segment
        self._begin(segment)
        self._acknowledged = True
        # A segment whose length was used up before this session was reported as ended by the earlier one.
        self._closed = segment.end <= self.position
        self._find_boundary()

    def ready_for(self, segment: Segment) -> bool:
        """Whether :meth:`offer` can judge ``segment`` now: not while what it continues is itself still pending."""
        return self.pending is None or segment.after != self.pending.seq

    def offer(
        self, segment: Segment, refusal: tuple[str, str] | None = None
    ) -> tuple[Acknowledge, ...]:
        """Take note of a segment that arrived.

        Args:
            segment: What arrived; one that was seen before is ignored.
            refusal: Code and detail of why the job's limits or capabilities forbid it.

        Returns:
            What to acknowledge at once: this segment if it will not run, or the pending one that it replaces.
        """
        if segment.seq <= self.highest_seen:
            return ()
        self.highest_seen = segment.seq
        if not self._continues(segment.after):
            detail = f"segment {self.running.seq} runs, which does not continue {segment.after}"
            return (Acknowledge(segment.seq, "stale", "OUT_OF_ORDER", detail),)
        if self._halted and segment.after < self.running.seq and segment.origin != PERSON:
            detail = f"segment {self.running.seq} was stopped, which it knows nothing of"
            return (Acknowledge(segment.seq, "superseded", "STOPPED", detail),)
        undoes = segment.origin == GUARD and segment.source != CURRENT
        if not self._halted and (undoes or segment.source.startswith(ROLLING)):
            detail = "it answers a stop that the job has recovered from by itself"
            return (Acknowledge(segment.seq, "stale", "RECOVERED", detail),)
        if refusal is not None:
            return (Acknowledge(segment.seq, "refused", *refusal),)
        replaced = self.pending
        if replaced is not None and segment.when != "now":
            detail = f"segment {replaced.seq} is pending already; at most one can be"
            return (Acknowledge(segment.seq, "stale", "ALREADY_PENDING", detail),)
        self.pending = segment
        self._find_boundary()
        return () if replaced is None else (Acknowledge(replaced.seq, "superseded"),)

    def dismiss(self, seq: int, code: str, detail: str) -> tuple[Acknowledge, ...]:
        """Refuse a segment that could not even be read."""
        if seq <= self.highest_seen:
            return ()
        self.highest_seen = seq
        return (Acknowledge(seq, "refused", code, detail),)

    def turn(self, stopped: str | None = None) -> Effects:
        """Yield what to do at this step boundary.

        Args:
            stopped: Code of the stop clause that fired in the running segment.
        """
        verdict = self._verdict(stopped)
        if verdict is not None and not self._closed:
            yield from self._close(*verdict)
            if stopped is not None and self.on_main_line:
                yield from self._halt()
        if self.at_end and not (self.pending is not None and self.prolongs(self.pending)):
            yield from self.finish()
        while self._closed and not self.finished:
            if self.pending is not None and self._is_due(self.pending):
                yield from self._take_up(self.pending)
            elif self.at_end:
                yield from self.finish()
            elif self.on_main_line and not self._halted:
                break  # its policy is defined to the end of the budget
            else:
                yield Wait()
                if self.pending is None or not self._is_due(self.pending):
                    yield from self._go_on_alone()
        yield from self._roll()
        self._find_boundary()

    def leave_probe(self, code: str) -> Effects:
        """Yield what brings the main line back at once, whatever was planned: this process steers nothing any more."""
        self.pending = None
        if not self.on_main_line:
            if not self._closed:
                yield from self._close("interrupted", code)
            yield from self._fall_back()
        self._find_boundary()

    def finish(self, stop: int | None = None) -> Effects:
        """Yield what ends the job: any probe is left, the main line restored, the running segment closed."""
        if self.finished:
            return
        if not self._closed:
            over = self.on_main_line and self.position >= min(self.running.end, self.total)
            yield from self._close(*_OVER) if over else self._close("interrupted", "FINISHED")
        if not self.on_main_line:
            yield from self._come_back()
        if self.pending is not None:
            yield Acknowledge(self.pending.seq, "expired", "FINISHED", "the job ended before it")
            self.pending = None
        self.finished = True
        yield Finish(stop)

    # -- trouble on the main line --

    def _halt(self) -> Effects:
        """Wait with whatever was to follow the running segment: it was planned for a main line in order."""
        self._halted = True
        pending = self.pending
        if pending is not None and pending.origin != PERSON:
            detail = f"segment {self.running.seq}, which it continues, was stopped"
            yield Acknowledge(pending.seq, "superseded", "STOPPED", detail)
            self.pending = None

    def _go_on_alone(self) -> Effects:
        """No segment came: bring the main line back as it was left, or to where it was still in order."""
        if not self.on_main_line:
            yield from self._fall_back()
            return
        self._halted = False
        name = self._snapshot_before_trouble()
        if name is None:
            if self.position >= self.total:
                yield from self.finish()
            return
        self._recoveries += 1
        self._restored = name
        yield from self._restore_main(name, rewind=False)
        self.position = self.checkpoints[name]
        yield FallBack(self.main.seq, restored=name)
        self._begin(self.main)
        self._acknowledged = True
        yield Begin(self.main, again=True)

    def _snapshot_before_trouble(self) -> str | None:
        """Return the newest snapshot that is half an interval old, as trouble is noticed late; else the oldest."""
        every = self.running.save_every
        if every is None or self._recoveries >= MOST_RECOVERIES:
            return None
        names = [INITIAL, *self._rolling]
        if self._restored in self._rolling and self._steps < every:
            names.remove(self._restored)  # it leads to the same trouble
        recent = self.position - 2 * every
        kept = [name for name in names if self.checkpoints.get(name, -1) >= max(recent, 0)]
        old = [name for name in kept if self.position - self.checkpoints[name] >= every / 2]
        return old[-1] if old else next(iter(kept), None)

    def _restore_main(self, name: str, *, rewind: bool) -> Effects:
        """Let the main line go on from a kept state, and forget the snapshots of what came after it."""
        yield Load(name, main=True, rewind=rewind)
        keep = name in self._rolling
        position = self.checkpoints[name]
        gone = [each for each in self._rolling if not keep or self.checkpoints[each] > position]
        if gone:
            self._rolling = [each for each in self._rolling if each not in gone]
            yield from self._release(tuple(gone))

    # -- ends --

    def _verdict(self, stopped: str | None) -> tuple[Outcome, str | None] | None:
        """Return how the running segment ends at this boundary, or None if it goes on."""
        if stopped is not None:
            return "stopped", stopped
        if self.position >= self.running.end:
            return _OVER
        if self.pending is not None and self.pending.when == "now" and self._is_due(self.pending):
            return "interrupted", "REPLACED"
        return None

    def _close(self, outcome: Outcome, code: str | None) -> Effects:
        """Report the running segment as over; one that never made a step is only acknowledged."""
        self._closed = True
        if self._steps == 0:
            if not self._acknowledged and self.running.seq > 0:
                yield Acknowledge(self.running.seq, "superseded", code, "replaced before a step")
            return
        if self.running.save_end_as is not None and (outcome != "stopped" or not self.on_main_line):
            yield from self._save(self.running.save_end_as)
        yield End(
            self.running,
            outcome,
            code,
            self._steps,
            self._tokens,
            self.position,
            self.main_position,
        )

    def _fall_back(self) -> Effects:
        yield from self._come_back()
        yield FallBack(self.main.seq)
        yield Begin(self.main, again=True)

    def _come_back(self) -> Effects:
        """Restore the main line under its newest segment."""
        yield Return(final=True, rewind=True)
        self.position, self._left_at = self.main_position, None
        self.running = self.main
        self._begin(self.main)
        self._acknowledged = True
        self._closed = self.position >= self.main.end

    # -- beginnings --

    def _is_due(self, segment: Segment) -> bool:
        """Whether a pending segment may start, as far as its own start is concerned."""
        return segment.when == "end" or not self.on_main_line or self.main_position >= segment.start

    def _take_up(self, segment: Segment) -> Effects:
        """Start the pending segment, or say why not."""
        self.pending = None
        if segment.kind == "stop":
            yield from self.finish(segment.seq)
            return
        origin = self._origin(segment)
        if origin is None:
            detail = f"no checkpoint {segment.source!r}; kept: {sorted(self.checkpoints)}"
            yield Acknowledge(segment.seq, "refused", "NO_CHECKPOINT", detail)
            return
        if origin >= segment.end:
            detail = f"it ends at {segment.end}, and the job stands at {origin}"
            yield Acknowledge(segment.seq, "stale", "POSITION_PAST", detail)
            return
        failure = yield from self._keep(segment)
        if failure is not None:
            yield Acknowledge(segment.seq, "refused", "SNAPSHOT_FAILED", failure)
            return
        self._halted = False
        yield from self._go_to(segment, origin)
        yield Begin(segment)

    def _origin(self, segment: Segment) -> int | None:
        """Return the position that a segment's source stands at, or None if there is no such checkpoint."""
        if segment.source == CURRENT:
            return self.main_position
        if segment.source == segment.save_as:
            return self.position
        kept = self.checkpoints.get(segment.source)
        if kept is None or segment.kind != "main":
            return kept
        # A main segment may go on at a later place with an older state: then nothing is trained twice.
        return max(kept, min(segment.start, self.main_position))

    def _keep(self, segment: Segment) -> Keeping:
        """Keep what the segment is about to overwrite; return what went wrong."""
        if segment.save_as is not None:
            failure = yield Save(segment.save_as, self.position)
            if failure is not None:
                return failure
            self.checkpoints[segment.save_as] = self.position
        if segment.kind == "main" or not self.on_main_line:
            return None
        failure = yield Leave()
        if failure is None or not self._rolling:
            return failure
        # What a segment needs comes before what is kept in case of trouble.
        yield from self._release(tuple(self._rolling))
        self._rolling = []
        return (yield Leave())

    def _go_to(self, segment: Segment, origin: int) -> Effects:
        """Bring the state that the segment starts from, and make it the running one."""
        main = segment.kind == "main"
        rewind = segment.data == "rewind"
        if segment.source != CURRENT and main:
            yield from self._restore_main(segment.source, rewind=rewind)
        elif segment.source != CURRENT:
            yield Load(segment.source, main, rewind)
        elif not self.on_main_line:
            yield Return(final=main, rewind=main or rewind)
        if segment.release:
            yield from self._release(segment.release)
        if main:
            self.main, self._left_at = segment, None
            self.total = segment.budget or self.total
        else:
            self._left_at = self.main_position
        self.position = origin
        # What was decided at the end of the one before holds too, even if this one was sent earlier.
        self._lineage[segment.seq] = self.running.seq
        self.running = segment
        self._begin(segment)

    def _begin(self, segment: Segment) -> None:
        self._steps = self._tokens = 0
        self._closed = False
        self._acknowledged = segment.seq == 0
        self._next_roll = segment.save_every and self.position + segment.save_every
        self._find_boundary()

    def acknowledged(self) -> None:
        """Note that the running segment was acknowledged as applied."""
        self._acknowledged = True

    # -- checkpoints, order --

    def _save(self, name: str, *, rolling: bool = False) -> Effects:
        """Save under ``name``; a failure is the run loop's to report, and the name then stays unknown."""
        if (yield Save(name, self.position, rolling)) is None:
            self.checkpoints[name] = self.position

    def _release(self, names: tuple[str, ...]) -> Effects:
        for name in names:
            self.checkpoints.pop(name, None)
        yield Release(names)

    def _roll(self) -> Effects:
        """Keep a rolling snapshot where the running segment asks for one."""
        if self._next_roll is None or self.finished or self.position < self._next_roll:
            return
        every = self.running.save_every or 1
        self._next_roll = self.position + every
        name = f"{ROLLING}{self.running.seq}-{self.position}"
        yield from self._save(name, rolling=True)
        if name not in self.checkpoints:
            self._next_roll = None  # it was said once, and would fail again
        elif name not in self._rolling:
            self._rolling.append(name)
        if len(self._rolling) > ROLLING_KEPT:
            yield from self._release((self._rolling.pop(0),))

    def _continues(self, after: int) -> bool:
        """Whether the running segment is ``after`` or descends from it."""
        seq = self.running.seq
        while seq > after and seq in self._lineage:
            seq = self._lineage[seq]
        return seq == after

    def _find_boundary(self) -> None:
        if not self._closed:
            boundary = min(self.running.end, self.total) if self.on_main_line else self.running.end
        else:
            boundary = self.total if self.on_main_line else self.position
        if self.pending is not None and (self.pending.when == "now" or self._closed):
            boundary = min(boundary, max(self.pending.start, self.position))
        if self._next_roll is not None:
            boundary = min(boundary, self._next_roll)
        self.boundary = boundary


_OVER: tuple[Outcome, str | None] = ("completed", None)
