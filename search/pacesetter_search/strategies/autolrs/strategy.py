"""``autolrs``: what each event means.

The algorithm [Jin2021]: training is cut into stages with one learning rate each. Before a stage, short probes from the
same state try ten rates; each probe's curve is extrapolated to the stage's end; the rate with the least predicted loss
is used for the stage. Kept from the paper: stages, probe lengths, ten rates, log-uniform range, the objective (training
loss first, validation loss from the full-length stages on), constant rates. Different, and why:

* The first probe of a stage is the rate in use, so "no change" always competes, and it is known beforehand: it travels
  with the stage before it, and no job waits at the end of a stage.
* Validation costs one evaluation at a probe's end instead of 16 inside it. It sets the level; the training curve
  says how much is still to come.
* Forecasts carry a variance, one surrogate serves the whole job, and the choice is its least posterior mean.
* Divergence ends a probe at once and is a censored observation; rates at and above it are not tried again in the stage.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Finished,
    Measurements,
    SegmentEnded,
)
from pacesetter.schedules import Tier

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
from pacesetter_search.forecasting import Forecast
from pacesetter_search.losses import is_loss
from pacesetter_search.strategies import probing
from pacesetter_search.strategies.autolrs.decision import Decision
from pacesetter_search.strategies.autolrs.memory import Memory, Sent
from pacesetter_search.strategies.autolrs.parameters import PROBES_A_STAGE, AutoLRSParameters
from pacesetter_search.strategies.autolrs.range import search_range
from pacesetter_search.strategies.autolrs.stages import (
    Stage,
    first_stage_start,
    layout,
    reaching,
    shortest_probe,
)
from pacesetter_search.strategies.horizon import Horizon
from pacesetter_search.surrogates.responses import Response

SMALLEST_JUMP = 1.5
"""``max_change_per_step`` below which constant stages make no sense: their rates differ by more than that."""

_LEVEL_DECAY = 0.9


class AutoLRS(Strategy):
    """Stages of constant learning rate, each chosen by probes."""

    name: ClassVar[str] = "autolrs"
    tier: ClassVar[Tier] = "supported"
    needs: ClassVar[str] = probing.NEEDS
    version: ClassVar[int] = 1
    slow: ClassVar[bool] = True
    default_cap: ClassVar[float] = 1.0  # ten probes of a tenth of their stage
    parameters_type: ClassVar[type[Parameters]] = AutoLRSParameters

    @classmethod
    def about(cls) -> str:
        """Return what it does, in one line."""
        return f"{Horizon.about().rstrip('.')} (objective 'horizon'), or stages as published ('stage')."

    @classmethod
    def parameters_schema(cls) -> dict[str, Any]:
        """Return the JSON schemas of both objectives."""
        return {"anyOf": [Horizon.parameters_schema(), super().parameters_schema()]}

    @classmethod
    def from_document(cls, parameters: dict[str, Any]) -> Strategy:
        """Return the strategy with the objective asked for: this one, or the loss at the end of the budget.

        Raises:
            pydantic.ValidationError: A parameter is unknown or out of range.
        """
        if parameters.get("objective") == "horizon":
            return Horizon.from_document(parameters)
        return super().from_document(parameters)

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._parameters = (
            parameters if isinstance(parameters, AutoLRSParameters) else AutoLRSParameters()
        )

    def obstacles(self, job: JobFacts) -> Iterable[str]:
        """Return why this strategy cannot steer ``job``, one sentence each."""
        limits, shortest = job.limits, shortest_probe(job, self._parameters)
        yield from probing.obstacles(job)
        if limits.max_probe_length is not None and limits.max_probe_length < shortest:
            allowed = limits.max_probe_length
            yield f"its shortest probe is {shortest} {job.budget.clock}, and max_probe_length is {allowed}"
        if limits.max_change_per_step is not None and limits.max_change_per_step < SMALLEST_JUMP:
            change = limits.max_change_per_step
            yield f"its stages differ by {SMALLEST_JUMP:g} times or more, and max_change_per_step is {change:g}"
        if search_range(job, self._parameters) is None:
            yield "the limits leave nothing of its range; raise max_multiplier or lower min_multiplier"
        if not layout(job, self._parameters):
            needed = first_stage_start(job) + PROBES_A_STAGE * shortest
            budget = f"{job.budget.total} {job.budget.clock}"
            yield f"a budget of {budget} is too short for its probes; it takes {needed} or more"

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event: the stages are laid out, nothing is sent."""
        return Memory(stages=layout(job, self._parameters)).document()

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Fold in measurements; at the end of a probe, or when a plan failed, decide."""
        memory = Memory.model_validate(state)
        decision = Decision(memory, context, self._parameters)
        self._reduce(event.body, memory, decision)
        return Advance(memory.document(), tuple(decision.segments), tuple(decision.log))

    def _reduce(self, body: Body, memory: Memory, decision: Decision) -> None:
        match body:
            case Measurements():
                _fold(memory, body)
            case Registered():
                decision.go_on(when="now", chained=True)
            case SegmentEnded():
                self._ended(body, memory, decision)
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

    def _ended(self, body: SegmentEnded, memory: Memory, decision: Decision) -> None:
        sent = memory.find(body.segment)
        if sent is None:
            return
        memory.live.remove(sent)
        if sent.kind == "main":
            if not memory.live and body.outcome == "completed":
                decision.replan(body.main_position)
            return
        _account(body, sent, memory)
        if body.outcome == "interrupted":
            memory.untry(sent)
            if body.code != "FINISHED":
                decision.replan(body.main_position)
            return
        self._learn(body, sent, memory, decision)
        decision.go_on()

    def _learn(self, body: SegmentEnded, sent: Sent, memory: Memory, decision: Decision) -> None:
        """Turn the end of a probe into a response."""
        window, x = memory.window, sent.x
        memory.window = None
        if window is None or x is None:
            return
        multiplier = decision.range.multiplier(x)
        numbers = {"stage": sent.stage, "multiplier": multiplier, "rows": window.rows}
        if body.outcome == "stopped" or window.non_finite or _broken(body.validation_loss):
            memory.responses.append(Response(sent.stage, x, status="diverged"))
            decision.note(
                "diverged", f"multiplier {multiplier:.4g} diverged ({body.code})", **numbers
            )
            return
        predicted = window.forecast(float(memory.stages[sent.stage].end))
        if predicted.status == "no_data":
            decision.note("unmeasured", f"multiplier {multiplier:.4g} left no loss", **numbers)
            return
        memory.replans = 0
        mean, variance = _scored(predicted, body.validation_loss)
        memory.responses.append(Response(sent.stage, x, mean, variance))
        sd = variance**0.5
        text = f"multiplier {multiplier:.4g}: loss {mean:.4g} +- {sd:.2g} at the stage's end"
        decision.note("measured", text, forecast=mean, sd=sd, **numbers)


def _scored(predicted: Forecast, validation_loss: float | None) -> tuple[float, float]:
    """Return mean and variance of the loss at the stage's end, by validation loss where there is one."""
    if validation_loss is None:
        return predicted.mean, predicted.variance
    return validation_loss + predicted.change, predicted.change_variance


def _broken(validation_loss: float | None) -> bool:
    if validation_loss is None:
        return False
    return not is_loss(validation_loss)


def _account(body: SegmentEnded, sent: Sent, memory: Memory) -> None:
    """Count what a probe overshot, and move the stage to where the probe really left the main line."""
    over = max(0, body.position - body.main_position - sent.length)
    memory.spent += over
    memory.overshoot = max(memory.overshoot, over)
    stage = memory.stages[sent.stage]
    if stage.start < body.main_position < stage.end:
        moved = Stage(body.main_position, stage.end - body.main_position)
        memory.stages = (*memory.stages[: sent.stage], moved, *memory.stages[sent.stage + 1 :])


def _fold(memory: Memory, body: Measurements) -> None:
    """Fold rows into the running probe's window, or into the level of the main line."""
    losses = body.columns.get("loss")
    if losses is None:
        return
    probe = memory.probe
    if probe is not None and probe.seq == body.segment:
        if memory.window is not None:
            for position, loss in zip(body.columns["position"], losses, strict=True):
                memory.window.add(position, loss)
        return
    for loss in losses:
        if loss is not None and is_loss(loss):
            before = loss if memory.level is None else memory.level
            memory.level = _LEVEL_DECAY * before + (1.0 - _LEVEL_DECAY) * loss
            away = abs(loss - before)
            memory.spread = _LEVEL_DECAY * memory.spread + (1.0 - _LEVEL_DECAY) * away


def _acknowledged(body: Acknowledgement, memory: Memory, decision: Decision) -> None:
    sent = memory.find(body.segment)
    if sent is None or body.status == "unpaired":
        return
    if body.status == "applied":
        # What came before it is over; a refusal, if there was one, is answered.
        memory.live = [one for one in memory.live if one.seq >= sent.seq]
        memory.refusals = 0 if sent.kind == "main" else memory.refusals
        return
    if body.status == "refused":
        _refused(body, sent, memory, decision)
    elif body.code != "FINISHED":
        decision.note(body.status, f"segment {sent.seq} did not run: {body.detail or body.code}")
        decision.replan(body.position, lateness=max(0, body.position - sent.start))


def _refused(body: Acknowledgement, sent: Sent, memory: Memory, decision: Decision) -> None:
    decision.note("refused", f"segment {sent.seq} was refused: {body.code}: {body.detail}")
    memory.live = [one for one in memory.live if one.seq < sent.seq]
    if sent.kind == "main":
        memory.refusals += 1
        memory.incumbent = None
        memory.stage = sent.stage
        # The base schedule was refused too: the job follows it by itself.
        memory.quiet = memory.quiet or memory.refusals > 1
    elif body.code == "ABOVE_LIMIT" and sent.x is not None:
        memory.ceiling = min(memory.ceiling, max(sent.x - 0.02, 0.0))
    elif body.code == "NO_REWIND":
        memory.may_rewind = False
    elif body.code in probing.NEVER_AGAIN:
        memory.may_probe = False
    decision.go_on(
        when="end" if sent.kind == "probe" and memory.live else "now", chained=sent.chained
    )


def _rewound(body: Rewound, memory: Memory, decision: Decision) -> None:
    """The segments of this state are sent again; only a later sibling has no running segment to follow."""
    probe = memory.probe
    if probe is not None and not probe.chained:
        decision.replan(body.position)


def _overridden(body: Overridden, memory: Memory, decision: Decision) -> None:
    memory.aside = body.active
    if body.active:
        memory.void()
    else:
        memory.stages = reaching(memory.stages, decision.job.budget.total)
        decision.replan(body.position)
