"""``snr``: the rate follows the signal-to-noise ratio of the gradient on the base schedule; the batch is judged.

[Huang2025, arXiv 2511.23310, in principle; McCandlish2018, arXiv 1812.06162]. The base schedule runs under the client's
rule ``snr``, in equal pieces; after each one the noise scale that was measured says whether the batch fits.

What to expect. The signal falls during training, so the rule anneals about as the squared gradient does, and takes the
schedule's own decay once more. It never replaces the schedule, and it does not know the horizon.
"""

from typing import Annotated, Any, ClassVar

from pacesetter.feedback import SignalToNoise
from pacesetter.noise import NoiseScale, advise_batch
from pacesetter.protocol import (
    Acknowledgement,
    Finished,
    Measurements,
    Reason,
    SegmentEnded,
    SegmentPlan,
)
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pacesetter_search.contract import (
    Advance,
    Body,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Overridden,
    Parameters,
    State,
    Strategy,
)
from pacesetter_search.strategies.following import (
    has_left,
    main_segment,
    position_of,
    refusal_of,
    room_above,
)

RULE, STATISTIC = "snr", "gradient_noise"
MICRO_SQUARE, BATCH_SQUARE, MICRO_BATCHES = "micro_square", "batch_square", "micro_batches"
"""Columns of the statistic ``gradient_noise``."""

FEWEST = 20
"""Steps of two micro-batches or more before the batch is judged."""

SPARE = 8
"""Main segments beyond the pieces that a job is sent before it is left to follow what it has."""

CHANGES = (1.1, 1.05, 1.01, 1.001)
"""Changes of the multiplier per step to try, where the limits on change leave no room for the first."""


class SNRParameters(Parameters):
    """What a user may set."""

    lowest: float = Field(default=0.1, gt=0.0, le=1.0)
    highest: float = Field(default=1.0, ge=1.0, le=100.0)
    """Bounds of the multiplier; what the limits allow holds where that is less."""
    horizon: float = Field(default=100.0, ge=10.0, le=1e6)
    """Steps that count in the running means of the rule; it moves nothing before."""
    relative: bool = True
    """Whether the signal's share counts as a ratio to what it was after the first ``horizon`` steps."""
    micro_batch: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    """Samples of one backward pass on one rank. Without it the batch is judged in micro-batches."""
    pieces: int = Field(default=4, ge=1, le=50)
    """How often the batch is judged."""


class _Memory(BaseModel):
    """The state: a JSON document."""

    model_config = ConfigDict(extra="forbid")

    seq: int | None = None
    sent: int = 0
    ruled: bool = True
    overridden: bool = False
    micro_batches: float = 0.0
    noise: dict[str, Any] = Field(default_factory=lambda: NoiseScale().state_dict())


class SNR(Strategy):
    """Follows the gradient's signal-to-noise ratio on top of the base schedule, and says whether the batch fits."""

    name: ClassVar[str] = "snr"
    needs: ClassVar[str] = "statistics=('gradient_noise',), two micro-batches or ranks a step"
    default_cap: ClassVar[float] = 0.0
    parameters_type: ClassVar[type[Parameters]] = SNRParameters

    def obstacles(self, job: JobFacts) -> list[str]:
        """Return why this strategy cannot steer ``job``, one sentence each."""
        found = []
        if RULE not in job.capabilities.feedback:
            found.append(
                "its client cannot run the feedback rule 'snr': parameters are split over ranks, or the training "
                "code's pacesetter is too old"
            )
        if STATISTIC not in job.capabilities.statistics:
            found.append(
                f"the job does not measure {STATISTIC}; attach with statistics=({STATISTIC!r},), and split each batch "
                "into two backward passes or more, or over ranks"
            )
        return found

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event."""
        del job
        return _Memory().model_dump(mode="json")

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Send the base schedule under the rule, piece by piece, and judge the batch between them."""
        memory, body = _Memory.model_validate(state), event.body
        if isinstance(body, Measurements):
            _fold(memory, body)
            return Advance(memory.model_dump(mode="json"))
        log: list[LogEntry] = []
        segments: tuple[SegmentPlan, ...] = ()
        if isinstance(body, Overridden):
            memory.overridden = body.active
        ended = _ends_piece(memory, body)
        if ended or isinstance(body, Finished):
            log.append(self._judge(memory))
        if not memory.overridden and self.decides_on(body) and not isinstance(body, Finished):
            refused = _refuses(memory, body, log)
            if ended or refused or has_left(memory.seq, body):
                segments = tuple(self._plans(memory, context, position_of(body), log))
        return Advance(memory.model_dump(mode="json"), segments, tuple(log))

    def _plans(
        self, memory: _Memory, context: Context, position: int, log: list[LogEntry]
    ) -> list[SegmentPlan]:
        job, parameters = context.job, self._parameters
        if position >= job.budget.total or memory.sent >= parameters.pieces + SPARE:
            return []
        plan = self._regulated(job, position) if memory.ruled else None
        if memory.ruled and plan is None:
            memory.ruled = False
            log.append(LogEntry("no_room", "the limits leave the rule no room"))
        if plan is None:
            text = "the base schedule to the end of the budget"
            plan = main_segment(job, position, job.base, Reason(text=text), self.name)
        memory.seq, memory.sent = context.next_seq, memory.sent + 1
        log.append(LogEntry("planned", plan.reason.text, plan.reason.numbers))
        return [plan]

    def _regulated(self, job: JobFacts, position: int) -> SegmentPlan | None:
        """Return the base schedule under the rule to the end of the piece; None where the limits leave no room."""
        wanted = self._parameters
        highest = min(wanted.highest, room_above(job, self.name))
        if highest < 1.0:
            return None
        ends = (round(job.budget.total * (n + 1) / wanted.pieces) for n in range(wanted.pieces))
        end = next(each for each in ends if each > position)
        for lowest in dict.fromkeys((wanted.lowest, 1.0)):
            for change in CHANGES:
                rule = SignalToNoise(
                    lowest=lowest,
                    highest=highest,
                    max_change_per_step=change,
                    horizon=wanted.horizon,
                    relative=wanted.relative,
                )
                plan = main_segment(
                    job, position, job.base, _why(rule), self.name, end=end, feedback=rule
                )
                if lowest < highest and refusal_of(plan, job) is None:
                    return plan
        return None

    def _judge(self, memory: _Memory) -> LogEntry:
        """Return what the noise scale says of the batch."""
        noise = NoiseScale()
        noise.load_state_dict(memory.noise)
        value, error, unit = noise.value, noise.standard_error, self._parameters.micro_batch or 1.0
        if noise.steps < FEWEST or value is None or error is None:
            text = (
                f"the noise scale is not known: {noise.steps} steps had two micro-batches or more, and {FEWEST} with a "
                "gradient that stands out of the noise are the least; accumulate over two backward passes"
            )
            return LogEntry("no_noise_scale", text, {"steps": noise.steps})
        batch = memory.micro_batches * unit
        advice = advise_batch(value * unit, batch, error * unit)
        numbers: dict[str, JsonValue] = {
            "noise_scale": value * unit,
            "standard_error": error * unit,
            "batch": batch,
            "signal_share": 1.0 / (1.0 + value / memory.micro_batches),
            "steps": noise.steps,
        }
        words = "samples" if self._parameters.micro_batch else "micro-batches"
        return LogEntry("batch_advice", f"{advice.text} (in {words})", numbers)

    @property
    def _parameters(self) -> SNRParameters:
        parameters = self.parameters
        assert isinstance(parameters, SNRParameters)
        return parameters


def _why(rule: SignalToNoise) -> Reason:
    text = (
        "the base schedule, multiplied by the signal's share of the squared gradient, between "
        f"{rule.lowest:g} and {rule.highest:g}"
    )
    return Reason(text=text, numbers=rule.model_dump())


def _ends_piece(memory: _Memory, body: Body) -> bool:
    return (
        isinstance(body, SegmentEnded)
        and body.segment == memory.seq
        and body.outcome == "completed"
        and body.kind == "main"
    )


def _refuses(memory: _Memory, body: Body, log: list[LogEntry]) -> bool:
    """Whether the job refused the rule: then the base schedule goes on without it."""
    if not (isinstance(body, Acknowledgement) and body.status == "refused"):
        return False
    if body.segment != memory.seq or not memory.ruled:
        return False
    memory.ruled = False
    log.append(LogEntry("refused", f"the job refused the rule ({body.code}: {body.detail})"))
    return True


def _fold(memory: _Memory, body: Measurements) -> None:
    """Take in the rows one by one: how they were cut into records makes no difference."""
    names = (MICRO_SQUARE, BATCH_SQUARE, MICRO_BATCHES)
    if any(name not in body.columns for name in names):
        return
    noise = NoiseScale()
    noise.load_state_dict(memory.noise)
    for row in zip(*(body.columns[name] for name in names), strict=True):
        small, big, count = row
        if small is None or big is None or count is None or not 1.0 < count < 1e9:
            continue
        noise.update(small, big, 1.0, count)
        memory.micro_batches = count
    memory.noise = noise.state_dict()
