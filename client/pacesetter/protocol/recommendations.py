"""What to run: the question, and the answer with what it rests on."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pacesetter.protocol.base import Incoming, Message, Name
from pacesetter.protocol.workloads import Count, Family, Ratio, Regime, Target
from pacesetter.schedules import Schedule

Rate = Annotated[float, Field(ge=1e-12, le=1e4, allow_inf_nan=False)]
Value = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Range = tuple[float, float]
"""Lower and upper end."""

MAX_EVIDENCE, MAX_SWEEPS, MAX_RUNS = 200, 20, 50


class Measured(Message):
    """Where something was measured in the target's family: one size, one budget, one batch."""

    parameters: Count
    """Without embeddings."""
    tokens: Count
    batch_tokens: Count
    width_ratio: Ratio = 1.0
    depth_ratio: Ratio = 1.0
    regime: Regime | None = None
    """None: the target's."""
    schedule: Schedule | None = None
    """That its runs followed; None: one that falls to zero over the whole run, as a linear decay or a cosine. The best
    peak of a long plateau is lower."""
    name: Family = ""
    experiment: Name | None = None
    """Whose trials tell it. What these say on record of best peaks is left out then: it would be heard twice."""

    @model_validator(mode="after")
    def _batch_fits(self) -> "Measured":
        check_batch(self.batch_tokens, self.tokens)
        return self


class Evidence(Measured):
    """A best peak that was measured, by a sweep."""

    lr: Rate
    sd_octaves: Annotated[float, Field(ge=0, le=10)] = 0.15
    """How well it is known."""


class SweptRun(Message):
    """A complete run of a sweep."""

    lr: Rate
    """Its peak."""
    loss: Value | None
    """What it ended with, in the target's objective; None: it diverged."""
    sd: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Relative sd of that, beyond seeds."""


class Sweep(Measured):
    """Complete runs that differ in their peak alone: the best one is worked out from them."""

    runs: tuple[SweptRun, ...] = Field(min_length=2, max_length=MAX_RUNS)


class Question(Target):
    """The body of ``POST /v1/recommendations``: a target, with what was measured for its family."""

    evidence: tuple[Evidence, ...] = Field(default=(), max_length=MAX_EVIDENCE)
    sweeps: tuple[Sweep, ...] = Field(default=(), max_length=MAX_SWEEPS)
    """Runs whose best peak is not known yet."""

    @property
    def experiments(self) -> tuple[str, ...]:
        """Return the experiments whose trials tell what was measured, each once, sorted."""
        named = {one.experiment for one in (*self.evidence, *self.sweeps)}
        return tuple(sorted(one for one in named if one is not None))

    def target(self) -> Target:
        """Return what is asked for, without what was measured."""
        return Target(**{name: getattr(self, name) for name in Target.model_fields})


def check_batch(batch: float, tokens: float) -> None:
    """Raise ValueError if a step would take more than the whole budget: the two are in different units."""
    if batch > tokens:
        raise ValueError(
            f"a batch of {batch:g} tokens is larger than the budget of {tokens:g}; give both in tokens"
        )


About = Literal["peak", "batch", "weight_decay", "loss", "schedule"]


class Source(Incoming):
    """Something that the answer rests on, or is compared with."""

    kind: Literal["law", "optimum", "run", "curve", "fitted_law"]
    """A published law, a best peak or sweep of the question, a run or curve on record, a law fitted to curves."""
    name: str
    id: str | None = None
    """Of a run, curve or fitted law on record."""
    about: About = "peak"
    lr: float | None = None
    """What it says of the peak by itself."""
    value: float | None = None
    """What it says by itself of what it is about, where that is not the peak: tokens, a timescale, nats."""
    covers: bool = True
    """Whether the target lies inside of what it is about."""
    weight: float = 0.0
    """Octaves that the peak moves when this one moves by one: 0 for what it is only compared with."""
    loss_weight: float = 0.0
    """Share by which the expected loss moves when this one's loss moves by a share."""
    trust: str | None = None
    """Of a published law: ``measured``, ``first_hand``, ``second_hand`` or ``memory``."""
    holds: str | None = None
    """Of a published law: what has to be as it was there."""


class ExpectedLoss(Incoming):
    """What the run should end with."""

    mean: float
    interval_50: Range
    interval_90: Range
    basis: Literal["published", "finals", "curves"]
    """A published law in size and tokens; the same fitted to the family's final losses; a law of this very workload's
    loss curves."""


class Alternative(Incoming):
    """Another schedule, in its place."""

    name: str
    rank: int
    """1 is best."""
    schedule: Schedule
    lr: float
    """Its own best peak, as that of a long plateau is lower; where a law compares them, the law's."""
    loss: float | None = None
    """Expected, where a law of the family's curves tells it."""
    loss_90: Range | None = None
    gain: float | None = None
    """Relative gain over ``over`` that is likely: less than a law promises. Below zero it is a loss."""
    gain_range: Range | None = None
    """Of that gain as published, where no law of the family's own tells it."""
    over: str
    """What gains are measured against, by its name."""
    basis: Literal["curves", "published", "none"]
    """``none``: nobody has measured it against the others."""


class Study(Incoming):
    """The cheapest runs that would give evidence."""

    runs: int
    """How many."""
    multiples: tuple[float, ...]
    """Peaks of the runs, over the one that you would have taken."""
    parameters: float
    tokens: float
    """Of each run."""
    batch_tokens: float
    total_tokens: float
    share: float
    """Of the target's compute."""
    text: str


def _known(value: Any) -> Any:
    """Drop what a newer service has learned to ask."""
    if isinstance(value, dict):
        return {name: each for name, each in value.items() if name in Target.model_fields}
    return value


class Recommendation(Incoming):
    """The answer: peak, batch, weight decay, warm-up, schedule and loss for a target, with what they rest on."""

    id: str | None = None
    """Under which the service keeps it; None: it does not."""
    status: Literal["ok", "no_evidence"]
    target: Annotated[Target, BeforeValidator(_known)]
    """What was asked for."""
    lr: float | None = None
    """Peak of ``schedule``, on the safe side of the best one."""
    lr_50: Range | None = None
    lr_90: Range | None = None
    """Between which its best peak lies."""
    sd_octaves: float | None = None
    dominant_uncertainty: str | None = None
    batch_tokens: float | None = None
    batch_90: Range | None = None
    """Of the best batch; None where it was given."""
    critical_batch_tokens: Range | None = None
    """Between which published laws see the batch above which steps are hardly saved."""
    timescale: float | None = None
    """Share of the run until a weight is forgotten, ``batch / (lr weight_decay tokens)``: what transfers of decay."""
    weight_decay: float | None = None
    """For decoupled decay that is multiplied by the learning rate, as torch's AdamW; of matrices."""
    weight_decay_90: Range | None = None
    weight_decay_hidden: float | None = None
    """Of hidden matrices under muP, whose rate is divided by the width; None elsewhere."""
    beta2: float | None = None
    steps: int | None = None
    warmup_steps: int | None = None
    schedule: Schedule | None = None
    """In steps, ready to be a job's base: relative to ``lr``, or in learning rates where its family is a law in
    them."""
    schedule_name: str | None = None
    schedule_rank: int | None = None
    """Its place among ``alternatives``: it is not the first where nothing of the family's own shows a clear win."""
    loss: ExpectedLoss | None = None
    relative_loss_of_missing: float | None = None
    """Expected, because the best peak is known only so far."""
    loss_of_missing: float | None = None
    """The same in the unit of the loss."""
    alternatives: tuple[Alternative, ...] = ()
    evidence: tuple[Source, ...] = ()
    warnings: tuple[str, ...] = ()
    study: Study | None = None
    """What to measure, where there is no evidence."""
