"""A strategy with the guard under it.

The guard adds stop clauses and rolling snapshots to the strategy's main segments. When one stops, the guard sends a
segment that continues it, from an earlier state or lower, and sends again what was planned behind it. These carry new
numbers; events about them reach the strategy under the numbers it gave, so to the strategy its segment took a little
longer and nothing else happened. It plans on as it would have.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pacesetter.protocol import (
    CURRENT,
    Acknowledgement,
    FellBack,
    Measurements,
    Notice,
    SegmentEnded,
    SegmentPlan,
)
from pydantic import ValidationError

from pacesetter_search.contract import (
    Advance,
    Body,
    BudgetChanged,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Overridden,
    Registered,
    Rewound,
    State,
    Strategy,
    Studied,
)
from pacesetter_search.guard.memory import GuardMemory, Held
from pacesetter_search.guard.parameters import GuardParameters
from pacesetter_search.guard.recovery import WORDS, Recovery
from pacesetter_search.guard.watching import watched
from pacesetter_search.memory.records import FoundPeak


class Guarded(Strategy):
    """Behaves as ``strategy`` does, and brings its main line back from trouble.

    Name, version, speed and cap are the strategy's own. The state is ``{"guard": ..., "strategy": ...}``; one without
    a guard, or with one of another version, is taken over with a guard that begins there.

    Args:
        strategy: Decides everything else.
        parameters: Of the guard.
    """

    def __init__(self, strategy: Strategy, parameters: GuardParameters | None = None) -> None:
        super().__init__(strategy.parameters)
        self.strategy = strategy
        self.guard = parameters or GuardParameters()
        # What is a class's own elsewhere is here that of the strategy inside.
        own = (
            "name",
            "version",
            "slow",
            "remembers",
            "default_cap",
            "handles_budget",
            "listens",
            "parameters_type",
        )
        for attribute in own:
            object.__setattr__(self, attribute, getattr(strategy, attribute))

    def obstacles(self, job: JobFacts) -> Iterable[str]:
        """Return why the strategy cannot steer ``job``; the guard makes do with what the job can."""
        return self.strategy.obstacles(job)

    def decides_on(self, body: Body) -> bool:
        """Whether this event may lead to a decision, of the strategy or of the guard."""
        return isinstance(body, SegmentEnded) or self.strategy.decides_on(body)

    def found_peaks(self, state: State, job: JobFacts) -> tuple[FoundPeak, ...]:
        """Return what the strategy's probes say."""
        return self.strategy.found_peaks(_opened(state)[1], job)

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event."""
        return {"guard": GuardMemory().document(), "strategy": self.strategy.initial(job)}

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Let the guard look at the event, then the strategy, unless it is the guard's own affair."""
        memory, inner = _opened(state)
        recovery = Recovery(memory, context, self.guard)
        body = self._guard(event.body, memory, recovery)
        if body is None:
            return Advance(_closed(memory, inner), tuple(recovery.segments), tuple(recovery.log))
        answer = self.strategy.advance(inner, Event(event.number, body), _inside(context, memory))
        segments = tuple(
            self._take(plan, context.next_seq + index, memory, context.job)
            for index, plan in enumerate(answer.segments)
        )
        log: tuple[LogEntry, ...] = (*recovery.log, *answer.log)
        return Advance(_closed(memory, answer.state), segments, log)

    def _take(self, plan: SegmentPlan, seq: int, memory: GuardMemory, job: JobFacts) -> SegmentPlan:
        """Remember what the strategy sends, and return it as it travels."""
        if plan.kind == "probe":
            memory.probes += plan.length
        if plan.kind == "main" and plan.source != CURRENT:
            memory.restarted += max(0, memory.main_at - plan.start)
        if plan.kind != "stop":
            memory.held.append(Held(seq=seq, known=seq, plan=plan))
        return watched(plan, job, memory, self.guard)

    # -- what an event means to the guard --

    def _guard(self, body: Body, memory: GuardMemory, recovery: Recovery) -> Body | None:
        """Return the event as the strategy is to see it; None where it is the guard's own affair."""
        match body:
            case Registered():
                memory.initial = recovery.job.capabilities.rollback != "none"
            case Rewound():
                # Another process: the states that the earlier one kept are gone with it.
                memory.initial, memory.snapshots = False, []
            case Overridden():
                memory.aside = body.active
                memory.held, memory.retired = [], []
            case BudgetChanged():
                memory.fit(body)
            case Notice():
                memory.note(body)
            case Measurements():
                memory.fold(body)
            case FellBack():
                return _fell_back(body, memory)
            case SegmentEnded():
                memory.main_at = body.main_position
                return _ended(body, memory, recovery)
            case Acknowledgement():
                return _acknowledged(body, memory, recovery)
            case _:
                pass
        return _renamed(body, memory)


def _ended(body: SegmentEnded, memory: GuardMemory, recovery: Recovery) -> Body | None:
    held = memory.find(body.segment)
    stopped = body.outcome == "stopped" and body.kind == "main" and body.code in WORDS
    if held is not None and stopped and body.code is not None and not memory.sealed:
        recovery.answer(body.code, held, body.main_position)
        if recovery.segments:
            return None
    renamed = _renamed(body, memory)
    if held is not None and body.kind != "main":
        memory.drop(body.segment)
    return renamed


def _acknowledged(body: Acknowledgement, memory: GuardMemory, recovery: Recovery) -> Body | None:
    held = memory.find(body.segment)
    if held is None:
        return None if body.segment in memory.retired else body
    if body.status == "applied":
        memory.begun(held)
        return None if held.renewed else _renamed(body, memory)
    if held.renewed and memory.sealed:
        return None  # not even going on as before: the job does that by itself
    if held.renewed and body.status == "refused":
        memory.snapshots = (
            memory.snapshots[:-1] if body.code == "NO_CHECKPOINT" else memory.snapshots
        )
        recovery.answer_anew(held)
        return None
    if held.renewed and body.code == "RECOVERED":
        return None  # said by the job before: it fell back to what it ran
    renamed = _renamed(body, memory)
    memory.drop(body.segment)
    return renamed


def _fell_back(body: FellBack, memory: GuardMemory) -> Body:
    """The job goes on by itself: with the segment that was stopped, if the guard's answer never came."""
    memory.forget_after(body.position)
    trouble = memory.trouble
    if body.follows in memory.retired and trouble is not None and trouble.seq == body.follows:
        memory.retired.remove(body.follows)
        memory.undone += max(0, trouble.position - body.position) - trouble.undone
        trouble.undone = max(0, trouble.position - body.position)
        memory.held = [
            each.model_copy(update={"seq": body.follows}) if each.renewed else each
            for each in memory.held
        ]
    known = memory.known(body.follows)
    return body.model_copy(update={"segment": memory.known(body.segment), "follows": known})


def _renamed(body: Body, memory: GuardMemory) -> Body:
    """Return the body with the number that the strategy knows its segment by."""
    if isinstance(body, Registered | Rewound | Overridden | BudgetChanged | Studied):
        return body
    known = memory.known(body.segment)
    return body if known == body.segment else body.model_copy(update={"segment": known})


def _inside(context: Context, memory: GuardMemory) -> Context:
    """Return the context that the strategy decides in: what was trained twice is no longer there to be spent."""
    if memory.undone <= 0:
        return context
    job = context.job
    cap = max(0.0, job.overhead_cap - memory.undone / job.budget.total)
    return replace(context, job=replace(job, overhead_cap=cap))


def _opened(state: State) -> tuple[GuardMemory, State]:
    """Return both states out of one document."""
    if state.keys() != {"guard", "strategy"} or not isinstance(state["strategy"], dict):
        return GuardMemory(), state
    inner = state["strategy"]
    try:
        return GuardMemory.model_validate(state["guard"]), inner
    except (
        ValidationError
    ):  # of another version: what the guard knew is no loss, what the strategy knows would be
        return GuardMemory(), inner


def _closed(memory: GuardMemory, inner: State) -> State:
    document: dict[str, Any] = {"guard": memory.document(), "strategy": inner}
    return document
