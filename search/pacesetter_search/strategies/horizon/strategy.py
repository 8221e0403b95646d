"""``autolrs`` with ``objective="horizon"``: what each event means.

The base schedule is the anchor. At a few declared positions the strategy first asks whether probes would pay: what they
are expected to save at the end of the budget, what the same steps would bring on the main line, and what effect they
could detect at all. Where they pay, short anneals leave the main line from the same state on the same batches; laws
fitted to the whole job then predict, for every bounded way to go on, the loss **at the end of the budget**. The
schedule changes only if that wins with high probability. Every way ends in the base schedule's own decay or in another
family's; zero probes is the usual outcome.
"""

from collections.abc import Iterable
from typing import ClassVar

from pacesetter.protocol import Acknowledgement, FellBack, Finished, Measurements, SegmentEnded

from pacesetter_search.contract import (
    Advance,
    Body,
    Context,
    Event,
    JobFacts,
    Overridden,
    Parameters,
    Registered,
    Rewound,
    State,
    Strategy,
)
from pacesetter_search.losses import is_loss
from pacesetter_search.strategies import probing
from pacesetter_search.strategies.horizon.decision import Decision
from pacesetter_search.strategies.horizon.memory import Fork, Memory, Sent
from pacesetter_search.strategies.horizon.parameters import HorizonParameters


class Horizon(Strategy):
    """The base schedule, changed where a better end of the budget is likely."""

    name: ClassVar[str] = "autolrs"
    version: ClassVar[int] = 1
    slow: ClassVar[bool] = True
    default_cap: ClassVar[float] = 0.15
    parameters_type: ClassVar[type[Parameters]] = HorizonParameters

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._parameters = (
            parameters if isinstance(parameters, HorizonParameters) else HorizonParameters()
        )

    def obstacles(self, job: JobFacts) -> Iterable[str]:
        """Return why this strategy cannot steer ``job``, one sentence each."""
        return probing.obstacles(job)

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event: the positions to decide at, nothing sent."""
        total = job.budget.total
        warm = job.base.zero + job.base.extent.warmup
        marks = sorted({int(share * total) for share in self._parameters.decide_at})
        inside = tuple(mark for mark in marks if warm < mark < total)
        return Memory(marks=inside, total=total).document()

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Fold in measurements; at a declared position, at the end of a probe, or when a plan failed, decide."""
        memory = Memory.model_validate(state)
        decision = Decision(memory, context, self._parameters)
        reduce(event.body, memory, decision)
        return Advance(memory.document(), tuple(decision.segments), tuple(decision.log))


def reduce(body: Body, memory: Memory, decision: Decision) -> None:
    """Let ``memory`` take in what happened, and ``decision`` decide where that asks for it."""
    match body:
        case Measurements():
            _fold(memory, body)
        case Registered():
            decision.begin()
        case SegmentEnded():
            _ended(body, memory, decision)
        case Acknowledgement():
            _acknowledged(body, memory, decision)
        case FellBack():
            decision.note("fell_back", f"no segment reached the job at {body.position}")
            decision.replan(body.position)
        case Rewound():
            _rewound(body, memory, decision)
        case Overridden():
            _overridden(body, memory, decision)
        case Finished():
            memory.quiet = True
            memory.live.clear()
        case _:
            pass  # a session began, a notice: nothing to decide


def _fold(memory: Memory, body: Measurements) -> None:
    """Fold rows into the running probe's curve, or into the main line's."""
    losses = body.columns.get("loss")
    sent = memory.find(body.segment)
    if losses is None:
        return
    if sent is not None and sent.kind == "main":
        memory.took_up(sent, int(body.columns["position"][0] or 0))
    probe = memory.probe
    of_probe = probe is not None and probe.seq == body.segment
    track = memory.curve if of_probe else memory.track
    if track is not None and (of_probe or not memory.aside):
        for position, loss in zip(body.columns["position"], losses, strict=True):
            track.add(position, loss)


def _ended(body: SegmentEnded, memory: Memory, decision: Decision) -> None:
    sent = memory.find(body.segment)
    if sent is None:
        return
    memory.live.remove(sent)
    if sent.kind == "main":
        memory.took_up(sent, sent.start)
        if not memory.live and body.outcome == "completed":
            decision.consider(body.main_position)
        return
    over = max(0, body.position - body.main_position - sent.length)
    memory.spent += over
    memory.overshoot = max(memory.overshoot, over)
    if body.outcome == "interrupted":
        memory.curve = None
        if body.code != "FINISHED":
            decision.replan(body.main_position)
        return
    _learn(body, sent, memory, decision)
    decision.after_probe(body.main_position)


def _learn(body: SegmentEnded, sent: Sent, memory: Memory, decision: Decision) -> None:
    """Turn the end of a probe into a fork."""
    curve, validation = memory.curve, body.validation_loss
    memory.curve = None
    memory.replans = 0
    places, losses, _ = curve.points() if curve is not None else ([], [], [])
    broken = validation is not None and not is_loss(validation)
    diverged = body.outcome == "stopped" or broken or (curve is not None and curve.non_finite > 0)
    fork = Fork(
        mark=memory.mark,
        start=max(sent.start, body.main_position),
        policy=sent.policy,
        multiplier=sent.multiplier,
        length=sent.length,
        positions=tuple(places),
        losses=tuple(losses),
        validation=validation if is_loss(validation) else None,
        diverged=diverged,
    )
    memory.forks.append(fork)
    text = f"{sent.multiplier:.3g} times the line, annealed over {sent.length}"
    if diverged:
        decision.note("diverged", f"{text}: stopped ({body.code})", multiplier=sent.multiplier)
    elif losses:
        decision.note(
            "measured",
            f"{text}: loss {losses[-1]:.4g}",
            multiplier=sent.multiplier,
            loss=losses[-1],
            validation_loss=fork.validation,
        )


def _acknowledged(body: Acknowledgement, memory: Memory, decision: Decision) -> None:
    sent = memory.find(body.segment)
    if sent is None or body.status == "unpaired":
        return
    if body.status == "applied":
        # What came before it is over; a refusal, if there was one, is answered.
        memory.live = [one for one in memory.live if one.seq >= sent.seq]
        if sent.kind == "main":
            memory.refusals = 0
            memory.took_up(sent, body.position - 1)
        return
    if body.status == "refused":
        _refused(body, sent, memory, decision)
    elif body.code != "FINISHED":
        decision.note(body.status, f"segment {sent.seq} did not run: {body.detail or body.code}")
        late = body.position - sent.start
        decision.replan(body.position, late if sent.kind == "probe" and late > 0 else None)


def _refused(body: Acknowledgement, sent: Sent, memory: Memory, decision: Decision) -> None:
    decision.note("refused", f"segment {sent.seq} was refused: {body.code}: {body.detail}")
    if sent.kind == "main":
        memory.refusals += 1
        # The line as it was is what the job follows by itself when even that is refused.
        memory.quiet = memory.quiet or memory.refusals > 1
    elif body.code == "NO_REWIND":
        memory.may_rewind = False
    elif body.code in probing.NEVER_AGAIN:
        memory.may_probe = False
    decision.replan(body.position)


def _rewound(body: Rewound, memory: Memory, decision: Decision) -> None:
    """The segments of this state are sent again; only a later sibling has no running segment to follow."""
    probe = memory.probe
    if probe is not None and not probe.chained:
        decision.replan(body.position)


def _overridden(body: Overridden, memory: Memory, decision: Decision) -> None:
    memory.aside = body.active
    memory.blind = True
    if body.active:
        memory.void()
    else:
        memory.fit(decision.job.budget.total, body.position, decision.job.base)
        decision.replan(body.position)
