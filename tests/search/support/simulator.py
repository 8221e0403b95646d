"""A whole job in memory: the real follower and the real limits, a known landscape, and a small controller.

Nothing is threaded and nothing takes time, so a job is a function of its arguments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pacesetter.feedback import KNOWN_RULES
from pacesetter.judgement import check_segment
from pacesetter.limits import Limits
from pacesetter.protocol import (
    CURRENT,
    INITIAL,
    Acknowledgement,
    Authority,
    Budget,
    Capabilities,
    FellBack,
    Finished,
    Measurements,
    ParameterGroup,
    Segment,
    SegmentEnded,
    SegmentPlan,
    SessionBegan,
)
from pacesetter.run import effects as fx
from pacesetter.run.follower import Follower, base_segment
from pacesetter.run.stopping import Clauses
from pacesetter.schedules import Schedule, Warmup
from pacesetter_search.contract import (
    Body,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Registered,
    State,
    Strategy,
)

from tests.search.support.expected_quadratic import ExpectedQuadratic
from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.lawful import Lawful


def job_facts(total: int = 1500, **changes: Any) -> JobFacts:
    """Return a job that can do everything, with a warm-up of 2 % and a constant base schedule."""
    warmup = Warmup(length=total // 50) if total >= 50 else None
    facts: dict[str, Any] = {
        "budget": Budget(total=total),
        "base": Schedule(length=total, warmup=warmup),
        "groups": (ParameterGroup(name="all", base_lr=0.1),),
        "capabilities": Capabilities.model_validate(
            {
                "rollback": "memory",
                "rewind_batches": "unlimited",
                "validate": True,
                "feedback": KNOWN_RULES,
            }
        ),
        "limits": {},
        "authority": "steer",
        "overhead_cap": 1.0,
        "seed": 0,
    }
    facts.update(changes)
    limits = facts.pop("limits")
    authority: Authority = facts.pop("authority")
    # Above the base peak unless a test says otherwise: most start too low on purpose.
    built = limits if isinstance(limits, Limits) else Limits(**{"max_multiplier": 100.0, **limits})
    return JobFacts(limits=built, authority=authority, **facts)


def _running_after(running: int, body: Body) -> int:
    """Return the segment that runs once ``body`` has happened, as the service reckons it."""
    if isinstance(body, FellBack):
        return body.follows
    if isinstance(body, Acknowledgement):
        return body.segment if body.status == "applied" else running
    return body.segment if isinstance(body, Measurements | SegmentEnded) else running


@dataclass
class Controller:
    """Numbers events and segments for one strategy, as the service does."""

    strategy: Strategy
    facts: JobFacts
    state: State = field(init=False)
    events: list[Event] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    running: int = 0
    budget: int | None = None
    """What every main segment carries once the budget was changed."""

    def __post_init__(self) -> None:
        self.state = self.strategy.initial(self.facts)

    def tell(self, body: Body) -> list[Segment]:
        """Reduce one event and return the segments decided on it."""
        event = Event(len(self.events) + 1, body)
        self.events.append(event)
        if isinstance(body, Measurements | SegmentEnded) or (
            isinstance(body, Acknowledgement) and body.status == "applied"
        ):
            self.running = body.segment
        elif isinstance(body, FellBack):
            self.running = body.follows
        context = Context(self.facts, len(self.segments) + 1)
        step = self.strategy.advance(self.state, event, context)
        self.state = step.state
        self.log += step.log
        after = self.running
        decided = []
        for plan in step.segments:
            decided.append(self.send(plan, after))
            after = decided[-1].seq
        return decided

    def send(self, plan: SegmentPlan, after: int) -> Segment:
        """Number a plan."""
        if plan.kind == "main" and self.budget is not None:
            plan = plan.model_copy(update={"budget": self.budget})
        seq = len(self.segments) + 1
        segment = Segment(**plan.model_dump(by_alias=True), seq=seq, after=after)
        self.segments.append(segment)
        self.states.append(self.state)
        return segment


@dataclass
class SimulatedJob:
    """A job that follows segments on a landscape, step by step, and tells its controller.

    Attributes:
        cut: Rows in a measurements record, given how many were cut so far.
        deaf: Whether the answer to the n-th probe's end is lost, so that the job falls back.
        delay: Steps until a segment arrives; 0: at once.
        units: Clock units of the n-th step: 1 in steps.
        columns: What is reported of a step beside its loss, by name.
        priors: What the job's project remembers, as its first event has it.
        hears: What the service tells the strategy of its own accord after a step; None: nothing.
    """

    strategy: Strategy
    facts: JobFacts = field(default_factory=job_facts)
    landscape: NoisyQuadratic | ExpectedQuadratic | Lawful = field(default_factory=NoisyQuadratic)
    cut: Callable[[int], int] = lambda _: 50
    deaf: Callable[[int], bool] = lambda _: False
    delay: int = 0
    units: Callable[[int], int] = lambda _: 1
    refuse: Callable[[Segment], str | None] = lambda _: None
    columns: Mapping[str, Callable[["SimulatedJob"], float | None]] = field(default_factory=dict)
    priors: dict[str, Any] = field(default_factory=dict)
    hears: Callable[["SimulatedJob"], Body | None] = lambda _: None

    def __post_init__(self) -> None:
        self.controller = Controller(self.strategy, self.facts)
        self.follower = Follower(base_segment(self.facts.base, self.facts.budget.total))
        self.registered = self.facts.budget.total
        self.inbox: list[tuple[int, Segment]] = []
        self.rows: list[tuple[float | None, ...]] = []
        self.main_losses: list[float] = []
        self.main_multipliers: list[float] = []
        self.steps = self.records = self.probes_ended = self.probe_units = 0
        self.number = self.rows_of = 0
        self.clauses = Clauses(())
        self.obeys_clauses = True
        self.left: Any = None
        self.saved: dict[str, Any] = {INITIAL: self.landscape.save()}
        if self.facts.capabilities.rollback != "none":
            self.follower.checkpoints[INITIAL] = 0
        self.new: Segment | None = None

    def run(self) -> "SimulatedJob":
        """Run the job to its end."""
        self._tell(Registered(priors=self.priors))
        self._tell(SessionBegan(**self._place()))
        stopped: str | None = None
        while True:
            self._perform(self.follower.turn(stopped))
            while self._receive():
                self._perform(self.follower.turn())
            if self.follower.finished:
                return self
            stopped = self._step()

    def _step(self) -> str | None:
        follower = self.follower
        segment, position = follower.running, follower.position
        base_lr = self.facts.groups[0].base_lr
        absolute = segment.policy.unit == "absolute"
        multiplier = segment.policy.at(position) / (base_lr if absolute else 1.0)
        loss = self.landscape.step(multiplier * base_lr)
        self.steps += 1
        units = self.units(self.steps)
        if follower.on_main_line:
            self.main_losses.append(loss)
            self.main_multipliers.append(multiplier)
        else:
            self.probe_units += units
        follower.advance(units, units)
        if self.rows_of != segment.seq:
            self._flush()  # a record holds rows of one segment
        self.rows_of = segment.seq
        beside = (column(self) for column in self.columns.values())
        self.rows.append((position, self.steps, loss, *beside))
        if len(self.rows) >= self.cut(self.records):
            self._flush()
        if self.new is segment:
            self.new = None
            follower.acknowledged()
            self._tell(Acknowledgement(**self._place(segment.seq), status="applied"))
        said = self.hears(self)
        if said is not None:
            self._tell(said)
        return self.clauses.judge(loss)

    # -- the wire --

    def _place(self, segment: int | None = None) -> dict[str, int]:
        self.number += 1
        seq = self.follower.running.seq if segment is None else segment
        return {"number": self.number, "segment": seq, "position": self.follower.position}

    def _tell(self, body: Body) -> None:
        if not isinstance(body, Measurements):
            self._flush()
        for segment in self.controller.tell(body):
            self.inbox.append((self.steps + self.delay, segment))

    def _flush(self) -> None:
        if not self.rows:
            return
        self.records += 1
        names = ("position", "step", "loss", *self.columns)
        columns: dict[str, list[float | None]] = {
            name: [row[index] for row in self.rows] for index, name in enumerate(names)
        }
        self.rows = []
        self._tell(Measurements(**self._place(self.rows_of), columns=columns))

    def _receive(self) -> bool:
        """Offer the next segment that has arrived; False if there is none that can be judged now."""
        if not self.inbox or self.inbox[0][0] > self.steps or self.follower.finished:
            return False
        segment = self.inbox[0][1]
        if not self.follower.ready_for(segment):
            return False
        self.inbox.pop(0)
        for answer in self.follower.offer(segment, self._refusal(segment)):
            self._acknowledge(answer)
        return True

    def _refusal(self, segment: Segment) -> tuple[str, str] | None:
        asked = self.refuse(segment)
        if asked is not None:
            return asked, "the test says so"
        facts = self.facts
        refusal = check_segment(
            segment,
            facts.limits,
            current_multiplier=self.follower.main.policy.at(self.follower.main_position),
            budget_total=self.follower.total,
            registered_total=self.registered,
            clock=facts.budget.clock,
            base_schedule=facts.base,
            capabilities=facts.capabilities,
            groups=facts.groups,
            position=self.follower.main_position if segment.source == CURRENT else None,
        )
        return None if refusal is None else (refusal.code, refusal.detail)

    def _acknowledge(self, answer: fx.Acknowledge) -> None:
        self._tell(
            Acknowledgement(
                **self._place(answer.seq),
                status=answer.status,
                code=answer.code,
                detail=answer.detail,
            )
        )

    # -- effects --

    def _perform(self, effects: fx.Effects) -> None:
        for effect in effects:
            self._do(effect)

    def _do(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Acknowledge():
                self._acknowledge(effect)
            case fx.Begin():
                self.clauses = Clauses(effect.segment.stop_if if self.obeys_clauses else ())
                self.new = None if effect.again else effect.segment
                self.landscape.holding = effect.segment.data == "hold"
            case fx.Leave():
                self.left = self.landscape.save()
            case fx.Save():
                self.saved[effect.name] = self.landscape.save()
            case fx.Load():
                self.landscape.restore(self.saved[effect.name], rewind=effect.rewind)
            case fx.Return():
                self.landscape.restore(self.left, rewind=effect.rewind)
            case fx.End():
                self._end(effect)
            case fx.Wait():
                self._wait()
            case fx.FallBack():
                self._tell(FellBack(**self._place(), follows=effect.follows, waited_seconds=30.0))
            case fx.Finish():
                self._tell(Finished(**self._place(), validation_loss=self.landscape.validate()))

    def _wait(self) -> None:
        """Wait for what was decided; it does not come in time where the job is deaf."""
        late = self.deaf(self.probes_ended)
        while not late and self.follower.pending is None and self.inbox:
            self.inbox[0] = (self.steps, self.inbox[0][1])
            self._receive()
        if late:
            self.inbox = [(self.steps + 1 + self.delay, segment) for _, segment in self.inbox]

    def _end(self, effect: fx.End) -> None:
        validates = effect.segment.measure.validate_at_end
        self._flush()
        self.probes_ended += effect.segment.kind == "probe"
        self._tell(
            SegmentEnded(
                number=self._place()["number"],
                segment=effect.segment.seq,
                position=effect.position,
                kind="probe" if effect.segment.kind == "probe" else "main",
                outcome=effect.outcome,
                code=effect.code,
                steps=effect.steps,
                tokens=effect.tokens,
                main_position=effect.main_position,
                validation_loss=self.landscape.validate() if validates else None,
            )
        )
