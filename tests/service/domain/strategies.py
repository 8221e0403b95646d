"""Strategies for the tests of the controller: small, deterministic, and some of them broken on purpose.

A module with the functions of ``pacesetter_search.strategies``, so that controllers and their planning processes take
it as their registry.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, cast

from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Measure,
    Measurements,
    Reason,
    SegmentEnded,
    SegmentPlan,
)
from pacesetter.schedules import Schedule
from pacesetter_search.contract import (
    Advance,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Overridden,
    Parameters,
    Registered,
    State,
    Strategy,
)
from pacesetter_search.memory import FoundPeak
from pacesetter_search.strategies.fixed import Fixed
from pacesetter_search.strategies.manual import Manual


class LadderParameters(Parameters):
    """Lengths of a ladder, in clock units."""

    stage: int = 20
    probe: int = 4
    probes: int = 2
    data: str = "continue"
    validate_at_end: bool = False
    probe_first: bool = False
    """Ask for a probe before the first stage."""
    crash_once: str = ""
    """A file that remembers that the process has crashed already."""


class Ladder(Strategy):
    """Stages of constant rate; before each, ``probes`` random rates are tried and the best one is kept."""

    name: ClassVar[str] = "ladder"
    default_cap: ClassVar[float] = 1.0
    parameters_type: ClassVar[type[Parameters]] = LadderParameters
    parameters: LadderParameters

    def obstacles(self, job: JobFacts) -> Iterable[str]:
        if job.capabilities.rollback == "none":
            yield "it probes, and the job cannot roll back"

    def initial(self, job: JobFacts) -> State:
        return {
            "stage": 0,
            "seq": 0,
            "rate": 0.5,
            "tried": [],
            "sum": 0.0,
            "rows": 0,
            "away": False,
        }

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        body = event.body
        if isinstance(body, Overridden):
            return Advance({**state, "away": body.active})
        if isinstance(body, Measurements):
            return Advance(self._fold(state, body))
        if state["away"]:
            return Advance(state)
        if isinstance(body, Registered) and self.parameters.probe_first:
            return self._probe(state, context, 0, when="now")
        if isinstance(body, Registered):
            return self._stage(state, context, 0)
        if isinstance(body, FellBack):
            return self._probe(state, context, body.position, when="now")
        if isinstance(body, SegmentEnded) and body.segment == state["seq"]:
            return self._probe_ended(state, body, context)
        if isinstance(body, Acknowledgement) and body.status == "refused":
            return Advance(state, (), (LogEntry("refused", "the job refused it"),))
        return Advance(state)

    def _fold(self, state: State, body: Measurements) -> State:
        if body.segment != state["seq"]:
            return state
        total, rows = cast(float, state["sum"]), cast(int, state["rows"])
        for loss in body.columns["loss"]:
            total, rows = total + (loss or 0.0), rows + 1
        return {**state, "sum": total, "rows": rows}

    def _probe_ended(self, state: State, body: SegmentEnded, context: Context) -> Advance:
        rows = max(cast(int, state["rows"]), 1)
        result = [cast(float, state["sum"]) / rows, cast(float, state["trying"])]
        tried = [*cast(list[list[float]], state["tried"]), result]
        if len(tried) < self.parameters.probes:
            following: State = {**state, "tried": cast(list, tried)}  # type: ignore[type-arg]
            return self._probe(following, context, body.main_position)
        rate = min(tried)[1]
        following = {**state, "rate": rate, "tried": [], "stage": cast(int, state["stage"]) + 1}
        log = LogEntry("chosen", f"rate {rate:.4f}", {"rate": rate})
        step = self._stage(following, context, body.main_position)
        return Advance(step.state, step.segments, (log,))

    def _stage(self, state: State, context: Context, position: int) -> Advance:
        total = context.job.budget.total
        length = min(self.parameters.stage, total - position)
        if length <= 0:
            return Advance(state)
        main = SegmentPlan(
            kind="main",
            when="end" if position else "now",
            start=position,
            length=length,
            policy=Schedule(length=total, peak=cast(float, state["rate"])),
            reason=Reason(text=f"stage at {position}"),
        )
        if position + length >= total:
            return Advance({**state, "seq": 0}, (main,))
        probe = self._probe(state, context, position + length, seq=context.next_seq + 1)
        return Advance(probe.state, (main, *probe.segments))

    def _probe(
        self,
        state: State,
        context: Context,
        position: int,
        *,
        when: str = "end",
        seq: int | None = None,
    ) -> Advance:
        rate = float(context.generator().uniform(0.1, 1.0))
        plan = SegmentPlan.model_validate(
            {
                "kind": "probe",
                "when": when,
                "start": position,
                "length": self.parameters.probe,
                "policy": Schedule(length=context.job.budget.total, peak=rate),
                "data": self.parameters.data,
                "measure": Measure(validate_at_end=self.parameters.validate_at_end),
                "reason": Reason(text=f"probe of {rate:.4f}"),
            }
        )
        state = {**state, "seq": seq or context.next_seq, "trying": rate, "sum": 0.0, "rows": 0}
        return Advance(state, (plan,))


class Finding(Ladder):
    """The same, and says what its probes found, unless they say that it cannot."""

    name: ClassVar[str] = "finding"

    def found_peaks(self, state: State, job: JobFacts) -> tuple[FoundPeak, ...]:
        if not self.parameters.probes:
            raise RuntimeError("a defect of the strategy")
        return (
            FoundPeak(
                share=4 / job.budget.total, log2_lr=-float(cast(int, state["stage"])), sd=0.5
            ),
        )


class Remembering(Fixed):
    """``fixed``, which asks what other jobs of the project taught."""

    name: ClassVar[str] = "remembering"
    remembers: ClassVar[bool] = True


class SlowLadder(Ladder):
    """The same, decided in the planning process."""

    name: ClassVar[str] = "slow_ladder"
    slow: ClassVar[bool] = True


class Threads(SlowLadder):
    """Logs what the planning process' environment says of BLAS, and its process id."""

    name: ClassVar[str] = "threads"

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        if not isinstance(event.body, Registered):
            return Advance(state)
        entry = LogEntry(
            "threads", "threads", {"omp": os.environ.get("OMP_NUM_THREADS"), "pid": os.getpid()}
        )
        return Advance(state, (), (entry,))


class Raising(Ladder):
    """Fails on the first probe."""

    name: ClassVar[str] = "raising"

    def _probe_ended(self, state: State, body: SegmentEnded, context: Context) -> Advance:
        raise RuntimeError("a defect of the strategy")


class SlowRaising(Raising):
    """Fails on the first probe, in the planning process."""

    name: ClassVar[str] = "slow_raising"
    slow: ClassVar[bool] = True


class Deadly(SlowLadder):
    """Kills its process on the first probe: once, if there is a file to remember it in."""

    name: ClassVar[str] = "deadly"

    def _probe_ended(self, state: State, body: SegmentEnded, context: Context) -> Advance:
        memory = self.parameters.crash_once
        if not memory or not Path(memory).exists():
            if memory:
                Path(memory).touch()
            os._exit(9)
        return super()._probe_ended(state, body, context)


class SlowFixed(Fixed):
    """The base schedule, decided in the planning process."""

    name: ClassVar[str] = "slow_fixed"
    slow: ClassVar[bool] = True


class Greedy(Strategy):
    """Sets a budget of its own."""

    name: ClassVar[str] = "greedy"

    def initial(self, job: JobFacts) -> State:
        return {}

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        if not isinstance(event.body, Registered):
            return Advance(state)
        plan = SegmentPlan(
            kind="main",
            start=0,
            length=100,
            budget=200,
            policy=Schedule(length=200),
            reason=Reason(text="twice as long"),
        )
        return Advance(state, (plan,))


class Halving(Strategy):
    """Asks for half the rate, and for half of that wherever the answer is no."""

    name: ClassVar[str] = "halving"

    def initial(self, job: JobFacts) -> State:
        return {"rate": 1.0}

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        body = event.body
        turned_down = isinstance(body, Acknowledgement) and body.status in ("refused", "expired")
        if not isinstance(body, Registered) and not turned_down:
            return Advance(state)
        rate = 0.5 * cast(float, state["rate"])
        start = body.position if isinstance(body, Acknowledgement) else 0
        text = body.detail or "" if isinstance(body, Acknowledgement) else "half the rate"
        length = min(20, context.job.budget.total - start)
        if length <= 0:
            return Advance(state)
        plan = SegmentPlan(
            kind="main",
            when="now",
            start=start,
            length=length,
            policy=Schedule(length=context.job.budget.total, peak=rate),
            reason=Reason(text=text),
        )
        return Advance({"rate": rate}, (plan,))


_ALL: dict[str, type[Strategy]] = {
    kind.name: kind
    for kind in (
        *(Fixed, SlowFixed, Manual, Greedy, Halving, Finding, Remembering, Ladder, SlowLadder),
        *(Threads, Raising, SlowRaising, Deadly),
    )
}


def strategy_names() -> tuple[str, ...]:
    return tuple(sorted(_ALL))


def get_strategy(name: str) -> type[Strategy]:
    return _ALL[name]


def default_strategy(job: JobFacts) -> str:
    return "fixed"
