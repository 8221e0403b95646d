"""``refinement``: a schedule from the gradient norms of a run, taken where it measures better than the base schedule.

[Defazio2023, arXiv 2310.07831]. The norms are those of a complete short run of the base schedule from the untrained
model, stretched over the budget, or those of an earlier run of the same job. Then the refined schedule runs as short,
on the same batches at the same peak. The main line follows it only if it ended better beyond what noise explains.

What to expect. A tie with a linear decay; on small convex tasks the refined schedule loses to it. What a short run says
of the shape of a long one is an assumption.
"""

from collections.abc import Iterator
from typing import ClassVar

from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Finished,
    Measurements,
    Notice,
    Reason,
    SegmentEnded,
    SegmentPlan,
)
from pacesetter.schedules import refine
from pacesetter.schedules.refinement import FEWEST, Optimizer
from pydantic import JsonValue

from pacesetter_search.contract import (
    Advance,
    Body,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Overridden,
    Parameters,
    Registered,
    Rewound,
    State,
    Strategy,
)
from pacesetter_search.strategies import probing
from pacesetter_search.strategies.following import main_segment, refusal_of
from pacesetter_search.strategies.refinement import plans
from pacesetter_search.strategies.refinement.comparison import compare
from pacesetter_search.strategies.refinement.memory import USABLE, Memory, ShortRun, Window
from pacesetter_search.strategies.refinement.parameters import RefinementParameters

MOST_SENT = 8
"""Main segments that a job is sent before it is left to follow what it has."""

COLUMNS: dict[Optimizer, str] = {"sgd": "grad_norm", "adam": "grad_norm_l1"}
"""Which reported statistic has the norm."""

KINDS: dict[Optimizer, plans.Kind] = {"sgd": "l2_squared", "adam": "l1"}

OPTIMIZERS: dict[str, Optimizer] = {
    **dict.fromkeys(("sgd",), "sgd"),
    **dict.fromkeys(("adam", "adamw", "nadam", "radam", "adamax"), "adam"),
}


class Refinement(Strategy):
    """Takes the schedule that gradient norms ask for, where a short run shows it to beat the base schedule."""

    name: ClassVar[str] = "refinement"
    needs: ClassVar[str] = f"{probing.NEEDS}, gradient norms"
    default_cap: ClassVar[float] = 0.15
    parameters_type: ClassVar[type[Parameters]] = RefinementParameters

    def obstacles(self, job: JobFacts) -> Iterator[str]:
        """Return why this strategy cannot steer ``job``, one sentence each."""
        parameters = self._parameters
        if parameters.trust and parameters.norms is None:
            yield "trust=True takes the schedule of norms that are given; give norms, or leave trust out"
        kind = self._kind(job)
        if kind is None:
            names = ", ".join(sorted({group.optimizer or "unknown" for group in job.groups}))
            yield (
                f"it cannot tell which gradient norm counts for the optimizer {names}; set optimizer='sgd' (l2) or "
                "'adam' (l1)"
            )
        if job.capabilities.families and "refined" not in job.capabilities.families:
            yield "its client cannot evaluate refined schedules; update the training code's pacesetter"
        if parameters.trust:
            return
        yield from probing.obstacles(job)
        length = self._length(job)
        if job.budget.clock == "steps" and length < plans.SHORTEST:
            yield (
                f"its two short runs would be {length} steps each, and {plans.SHORTEST} are the least; raise the "
                "budget, overhead_cap, share or max_probe_length"
            )
        elif plans.short_copy(job.base, max(length, 2)) is None:
            family = job.base.body.family
            yield f"its base schedule ({family}) cannot be run in short; use one whose shape scales, as linear"
        if probing.data_source(job, length, may_rewind=True) != "rewind":
            yield (
                "its two short runs have to see the same batches; pass data that rewind, such as a loader with batch_at"
            )
        missing = None if kind is None else COLUMNS[kind]
        if parameters.norms is None and missing and missing not in job.capabilities.statistics:
            yield f"the job does not measure {missing}; attach with statistics=({missing!r},)"

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event."""
        return Memory(length=self._length(job)).model_dump(mode="json")

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Send the two short runs, compare them, and send the main line."""
        memory, body = Memory.model_validate(state), event.body
        if isinstance(body, Measurements):
            self._fold(memory, body, context.job)
            return Advance(memory.model_dump(mode="json"))
        log: list[LogEntry] = []
        position = self._understand(memory, body, context.job, log)
        segments: tuple[SegmentPlan, ...] = ()
        if position is not None and not memory.overridden:
            segments = tuple(self._next(memory, context, position, log))
        return Advance(memory.model_dump(mode="json"), segments, tuple(log))

    # -- what an event means --

    def _fold(self, memory: Memory, body: Measurements, job: JobFacts) -> None:
        kind = self._kind(job)
        if memory.window is not None and kind is not None and body.segment == memory.seq:
            memory.window.fold(body, COLUMNS[kind], memory.length)

    def _understand(
        self, memory: Memory, body: Body, job: JobFacts, log: list[LogEntry]
    ) -> int | None:
        """Fold in an event; return the position to plan from, or None."""
        match body:
            case Registered():
                if self._parameters.trust:
                    self._refine(memory, self._parameters.norms or (), job, log)
                    _decide(memory, log, takes=memory.refined is not None, why="norms are trusted")
                return 0 if memory.seq is None else None
            case SegmentEnded():
                return self._ended(memory, body, job, log)
            case Acknowledgement():
                return _acknowledged(memory, body, log)
            case FellBack():
                return None if body.follows == memory.seq else _again(memory, body.position, log)
            case Rewound():
                return _rewound(memory, body, log)
            case Overridden():
                memory.overridden = body.active
                if memory.stage != "main":
                    _decide(memory, log, takes=False, why="a person took over")
                return None if body.active else body.position
            case Finished():
                _decide(memory, [], takes=False, why="it is over")
                memory.sent = MOST_SENT
            case Notice() | _:
                pass
        return None

    def _ended(
        self, memory: Memory, body: SegmentEnded, job: JobFacts, log: list[LogEntry]
    ) -> int | None:
        if body.segment != memory.seq:
            return None
        if memory.stage == "main":
            return None  # the end of the budget, or what ended it says what follows
        window = memory.window or Window()
        memory.void()
        if body.outcome == "interrupted":
            return None if body.code == "FINISHED" else _again(memory, body.main_position, log)
        if body.outcome == "stopped":
            _decide(memory, log, takes=False, why=f"a short run broke ({body.code})")
        elif body.unpaired:
            _decide(memory, log, takes=False, why="a short run did not see the same batches")
        elif body.main_position > 0 and job.capabilities.rewind_batches != "unlimited":
            _decide(memory, log, takes=False, why="the main line moved on under the short runs")
        else:
            self._learn(memory, ShortRun(validation=_finite(body), losses=window.losses), log)
            if memory.stage == "base":
                self._refine(memory, self._parameters.norms or window.norms, job, log)
                if memory.refined is None:
                    _decide(memory, log, takes=False, why="there is no refined schedule")
                else:
                    memory.stage = "refined"
        return body.main_position

    def _learn(self, memory: Memory, run: ShortRun, log: list[LogEntry]) -> None:
        if memory.base is None:
            memory.base = run
            return
        found = compare(memory.base, run)
        memory.base = ShortRun()
        if isinstance(found, str):
            _decide(memory, log, takes=False, why=found)
            return
        gain, least = 100.0 * found.gain, 100.0 * found.detectable
        why = f"the refined schedule ended {gain:.3g} % lower, and {least:.3g} % can be seen"
        _decide(memory, log, takes=found.better, why=why, numbers=found.numbers())

    def _refine(
        self,
        memory: Memory,
        norms: "tuple[float, ...] | list[float]",
        job: JobFacts,
        log: list[LogEntry],
    ) -> None:
        """Make the refined shape, or say why there is none."""
        kind, parameters = self._kind(job), self._parameters
        if kind is None or len(norms) < FEWEST or not any(norms):
            column = "norm" if kind is None else COLUMNS[kind]
            text = f"{len(norms)} usable values of {column} make no shape; {FEWEST} that are not all zero are the least"
            log.append(LogEntry("no_norms", text, {"norms": len(norms)}))
            return
        shape = refine(
            norms,
            optimizer=kind,
            tau=parameters.tau,
            weight_range=parameters.weight_range,
            points=min(len(norms) + 1, 501),
        )
        memory.refined = list(shape.values)
        top = memory.refined.index(max(memory.refined)) / (len(memory.refined) - 1)
        text = f"refined from {len(norms)} norms: the peak lies at {100 * top:.3g} % of the budget"
        log.append(LogEntry("refined", text, {"norms": len(norms), "peak_at": top}))

    # -- what is sent --

    def _next(
        self, memory: Memory, context: Context, position: int, log: list[LogEntry]
    ) -> Iterator[SegmentPlan]:
        job = context.job
        if memory.stage != "main":
            plan = self._short(memory, job, log)
            if plan is not None:
                memory.seq, memory.window = context.next_seq, Window()
                memory.spent += plan.length
                log.append(LogEntry("short_run", plan.reason.text, plan.reason.numbers))
                yield plan
                return
        if position >= job.budget.total or memory.sent >= MOST_SENT:
            return
        plan = self._main(memory, job, position, log)
        memory.seq, memory.sent = context.next_seq, memory.sent + 1
        log.append(LogEntry("main", plan.reason.text, plan.reason.numbers))
        yield plan

    def _short(self, memory: Memory, job: JobFacts, log: list[LogEntry]) -> SegmentPlan | None:
        """Return the short run that is due; None, with the base schedule decided on, where it cannot run."""
        length = memory.length
        room = int(job.overhead_cap * job.budget.total) - memory.spent
        runs = 2 if memory.stage == "base" else 1
        policy = plans.short_copy(job.base, length) if length > 1 else None
        kind = self._kind(job)
        if memory.stage == "refined" and kind is not None:
            policy = plans.refined_schedule(job, memory.shape(), KINDS[kind], length)
        if policy is None:
            why = "its base schedule cannot be run in short"
        elif runs * length > room:
            why = (
                f"{runs} short runs of {length} do not fit into the {room} that are left of the cap"
            )
        else:
            text = f"a complete run of {length} on the {memory.stage} schedule, from the untrained model"
            reason = Reason(text=text, numbers={"length": length, "schedule": memory.stage})
            plan = plans.short_run(job, policy, reason, validates=memory.validates)
            refusal = refusal_of(plan, job)
            if refusal is None:
                return plan
            why = f"a short run would be refused: {refusal.code}: {refusal.detail}"
        _decide(memory, log, takes=False, why=why)
        return None

    def _main(
        self, memory: Memory, job: JobFacts, position: int, log: list[LogEntry]
    ) -> SegmentPlan:
        kind = self._kind(job)
        if memory.takes and kind is not None:
            policy = plans.refined_schedule(job, memory.shape(), KINDS[kind], job.budget.total)
            reason = Reason(text="the refined schedule to the end of the budget")
            plan = main_segment(job, position, policy, reason, self.name)
            refusal = refusal_of(plan, job)
            if refusal is None:
                return plan
            why = f"the limits forbid the refined schedule: {refusal.code}: {refusal.detail}"
            _decide(memory, log, takes=False, why=why)
        reason = Reason(text="the base schedule to the end of the budget")
        return main_segment(job, position, job.base, reason, self.name)

    def _length(self, job: JobFacts) -> int:
        """Return the length of a short run: what the share, the cap and the limits allow."""
        total, limits = job.budget.total, job.limits
        length = min(round(self._parameters.share * total), int(job.overhead_cap * total) // 2)
        return length if limits.max_probe_length is None else min(length, limits.max_probe_length)

    def _kind(self, job: JobFacts) -> Optimizer | None:
        if self._parameters.optimizer != "auto":
            return self._parameters.optimizer
        found = {OPTIMIZERS.get(group.optimizer.lower()) for group in job.groups}
        return found.pop() if len(found) == 1 else None

    @property
    def _parameters(self) -> RefinementParameters:
        parameters = self.parameters
        assert isinstance(parameters, RefinementParameters)
        return parameters


def _decide(
    memory: Memory,
    log: list[LogEntry],
    *,
    takes: bool,
    why: str,
    numbers: dict[str, JsonValue] | None = None,
) -> None:
    memory.void()
    memory.stage, memory.takes = "main", takes
    word = "takes the refined schedule" if takes else "keeps the base schedule"
    code = "takes_refined" if takes else "keeps_base"
    log.append(LogEntry(code, f"{word}: {why}", numbers or {}))


def _acknowledged(memory: Memory, body: Acknowledgement, log: list[LogEntry]) -> int | None:
    if body.segment != memory.seq or body.status == "applied" or body.code == "FINISHED":
        return None
    if body.status == "unpaired":
        return None  # said again at its end
    log.append(
        LogEntry(body.status, f"segment {body.segment} did not run: {body.detail or body.code}")
    )
    if body.status != "refused":
        return _again(memory, body.position, log)
    if memory.stage == "main":
        if not memory.takes:
            return None  # the job follows its base schedule unasked
        _decide(memory, log, takes=False, why="the job refused the refined schedule")
    elif body.code == "NO_VALIDATION" and memory.validates:
        memory.validates = False
        memory.spent -= memory.length
    else:
        _decide(memory, log, takes=False, why="the job refused a short run")
    return body.position


def _again(memory: Memory, position: int, log: list[LogEntry]) -> int | None:
    """Plan anew from ``position``: what was sent is void."""
    memory.void()
    memory.replans += 1
    if memory.replans > probing.MOST_REPLANS:
        return None
    if memory.stage != "main" and memory.replans > 2:
        _decide(memory, log, takes=False, why="the short runs do not get to their ends")
    return position


def _rewound(memory: Memory, body: Rewound, log: list[LogEntry]) -> int | None:
    if memory.stage == "main":
        return None
    if body.position > 0:
        _decide(memory, log, takes=False, why="the untrained model is gone")
        return body.position
    memory.window = Window()
    return None


def _finite(body: SegmentEnded) -> float | None:
    loss = body.validation_loss
    return loss if loss is not None and abs(loss) < USABLE else None
