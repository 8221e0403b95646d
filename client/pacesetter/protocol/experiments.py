"""Experiments: what is searched, by which strategy, and for how much."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from pacesetter.protocol.base import Message, Name
from pacesetter.protocol.choices import StrategyChoice, Tags
from pacesetter.protocol.coordinates import MOST_WIDTHS, PARAMETER, check_widths
from pacesetter.protocol.workloads import Regime, Workload

MAX_TRIALS = 10_000
MAX_PARAMETERS = 100
MAX_CHOICES = 1_000
MAX_TEXT = 1_000
"""Characters of a value that is a text."""

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
Value = bool | Whole | Real | Text
"""What a parameter of a trial can be. Numbers are finite."""

Bound = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]

Proxy = Annotated[
    str, Field(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_.]*)?$")
]
"""A built-in proxy by its name (``byte_lm``), or an entry point ``module:function``."""


class _Parameter(Message):
    """What ranges and choices have in common."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        # Written also where only what was given is: it is read again by its kind.
        self.model_fields_set.add("kind")
        return self


class Range(_Parameter):
    """Every number between two ends, both included."""

    kind: Literal["range"] = "range"
    low: Bound
    high: Bound
    scale: Literal["linear", "log2"] = "log2"
    """On which equal distances count the same: learning rates, batches and widths differ in octaves."""
    integer: bool = False
    """Whether only whole numbers are tried."""

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.low >= self.high:
            raise ValueError(
                f"low {self.low:g} is not below high {self.high:g}; swap them, or put the one value into `fixed`"
            )
        if self.scale == "log2" and self.low <= 0:
            raise ValueError(
                f'low {self.low:g} has no logarithm; start above 0, or give scale "linear"'
            )
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(
                f"{self.low:g} to {self.high:g} is a range of whole numbers; give whole ends"
            )
        return self


class Choice(_Parameter):
    """One of some values, in no order that would count."""

    kind: Literal["choice"] = "choice"
    values: tuple[Value, ...] = Field(min_length=1, max_length=MAX_CHOICES)

    @model_validator(mode="after")
    def _differ(self) -> Self:
        # True equals 1 in Python, and is another value to whoever trains with it.
        if len({(isinstance(value, bool), value) for value in self.values}) != len(self.values):
            raise ValueError("a value is among the choices twice; give each one once")
        return self


Parameter = Annotated[Range | Choice, Field(discriminator="kind")]


class ExperimentSpec(Message):
    """The body of ``POST /v1/experiments``: a search over proxy runs."""

    name: Name
    proxy: Proxy
    """What a worker runs for every trial, where its operator allows it."""
    space: dict[Name, Parameter] = Field(default_factory=dict, max_length=MAX_PARAMETERS)
    """What is searched, such as ``{"lr": Range(low=2**-10, high=2**-3)}``."""
    fixed: dict[Name, Value] = Field(default_factory=dict, max_length=MAX_PARAMETERS)
    """What every trial is given as it is, such as ``{"width": 32, "steps": 300}``."""
    strategy: StrategyChoice = StrategyChoice()
    max_trials: int = Field(ge=1, le=MAX_TRIALS)
    max_flops: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Nothing more is planned once the trials have cost so much; None: trials alone are counted."""
    max_attempts: int = Field(default=3, ge=1, le=10)
    """Leases that a trial may lose before it fails."""
    progress_seconds: float = Field(default=300.0, gt=0, le=604_800)
    """A trial whose step does not rise for so long is given up by its worker."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    regime: Regime = "other"
    workload: Workload = Workload()
    """Of the trials, as far as they have it in common."""
    coordinates: tuple[Annotated[int, Field(strict=True)], ...] = Field(
        default=(), max_length=MOST_WIDTHS
    )
    """Widths, rising, over which the proxy compares activations at the parameters of the best trial once they ended:
    whether rates carry over them. Empty: it does not."""
    tags: Tags = Field(default_factory=dict)

    @model_validator(mode="after")
    def _searched_or_fixed(self) -> Self:
        both = sorted(self.space.keys() & self.fixed.keys())
        if both:
            raise ValueError(
                f"{', '.join(both)} is in `space` and in `fixed`; search it or fix it, not both"
            )
        return self

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        if not self.coordinates:
            return self
        check_widths(self.coordinates)
        names = self.space.keys() | self.fixed.keys()
        if PARAMETER in names:
            raise ValueError(
                f"{PARAMETER!r} is a parameter of the trials and asked of the experiment; leave one of them out"
            )
        if len(names) >= MAX_PARAMETERS:
            raise ValueError(
                f"trials have {len(names)} parameters, and a check of coordinates takes one more than they; expected "
                f"{MAX_PARAMETERS - 1} or fewer"
            )
        return self


class TrialPlan(Message):
    """A trial that a strategy asks for."""

    parameters: dict[Name, Value]
    """Of the space, one value for each name."""
    why: str = Field(default="", max_length=2_000)
    """One sentence for people."""
    numbers: dict[str, JsonValue] = Field(default_factory=dict)
    """What the decision rests on."""
