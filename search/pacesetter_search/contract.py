"""The strategy contract: a pure reducer from events to segments.

``advance(state, event, context) -> Advance(state', segments, log)``. A strategy has no clock, no HTTP, no database and
no hidden randomness; its whole state is one JSON document. Given the same events and seed it returns the same segments,
however the network cut the rows into reports and however often the controller was killed in between.

Obligations of a strategy:

* ``advance`` never raises for any event, finite or not, in any order. What it cannot use it logs and ignores.
* Every segment it returns keeps to the job's capabilities, limits and overhead cap, and every main segment's policy is
  defined to the end of the budget.
* It decides only on the events for which :meth:`Strategy.decides_on` is true (a segment ended, was refused, a session
  began, ...). Measurements are folded into the state, and how they are cut into records makes no difference.
* Randomness comes from :meth:`Context.generator`, seeded by the job and the place of the decision.
* At most one segment is pending beyond the running one: a decision returns one segment, or a main segment and the
  one that follows it (``when="end"``).
* One that handles budgets answers :class:`BudgetChanged` at once, unless a person steers, with a main segment
  (``when="now"``) that is defined to the new end. The budget itself is not its affair: the controller puts it into
  every main segment that it sends.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from pacesetter.limits import Limits
from pacesetter.protocol import (
    Acknowledgement,
    Authority,
    Budget,
    Capabilities,
    FellBack,
    Finished,
    Measurements,
    Message,
    Notice,
    ParameterGroup,
    ProxySearch,
    Regime,
    SegmentEnded,
    SegmentPlan,
    SessionBegan,
    Workload,
)
from pacesetter.schedules import Schedule, Tier
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pacesetter_search.memory.records import FoundPeak

State: TypeAlias = dict[str, JsonValue]

STUDY = "study"
"""Name among the priors of what the experiment that a job names said when it registered (:class:`Studied`)."""


class Registered(Message):
    """The first event of every job. ``priors`` is what other jobs taught, fixed from here on."""

    type: Literal["registered"] = "registered"
    priors: dict[str, JsonValue] = Field(default_factory=dict)


class Rewound(Message):
    """A new session resumes at ``position``: the state is the one stored at the last decision at or before it.

    Everything later is superseded. The strategy may go on as it is: the segments of that decision are sent again.
    """

    type: Literal["rewound"] = "rewound"
    position: int


class Overridden(Message):
    """A person took over (``active``) with the segments that the controller already sent, or handed back."""

    type: Literal["overridden"] = "overridden"
    active: bool
    seq: int
    position: int


class BudgetChanged(Message):
    """The main line is to end at ``total`` now, and was to end at ``before``; the job stands at ``position``.

    :class:`JobFacts` have the new budget, and the base schedule that belongs to it. Only a strategy that handles
    budgets is told (:attr:`Strategy.handles_budget`). After a session resumed earlier it may be told once more.
    """

    type: Literal["budget_changed"] = "budget_changed"
    total: int
    before: int
    position: int


class Studied(Message):
    """What the proxy runs beside a job say of its best peak by now; only a strategy that listens is told.

    Attributes:
        experiment: Whose trials.
        trials: That have ended, failed ones among them.
        over: Whether no more will come.
        position: Where the job stands, by what it has reported.
        log2_lr: Of the best peak at the job's own place, as the proxies take rates; None: they say nothing of it.
        sd: Of it, in octaves.
        bounded: Whether the best rate of some cell lies between others that were run there.
        share: What they cost over one run of the job, in FLOPs; None where they count none.
        dominant: What widens the interval most, in words.
        warnings: What has to be minded.
        problem: Why there is no answer; empty where there is one.
    """

    type: Literal["studied"] = "studied"
    experiment: str
    trials: int
    over: bool
    position: int
    log2_lr: float | None = Field(default=None, allow_inf_nan=False)
    sd: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    bounded: bool = False
    share: float | None = None
    dominant: str = ""
    warnings: tuple[str, ...] = ()
    problem: str = ""


Body: TypeAlias = (
    Registered
    | Rewound
    | Overridden
    | BudgetChanged
    | Studied
    | Measurements
    | Acknowledgement
    | SegmentEnded
    | SessionBegan
    | FellBack
    | Notice
    | Finished
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job, with its place in the job's order (1, 2, 3, ...)."""

    number: int
    body: Body


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What a strategy may know of its job: fixed at registration, but for budget and base, which may change."""

    budget: Budget
    base: Schedule
    groups: tuple[ParameterGroup, ...]
    capabilities: Capabilities
    limits: Limits
    authority: Authority
    overhead_cap: float
    """Main plus probe steps stay at or below (1 + cap) x budget."""
    seed: int
    regime: Regime = "other"
    workload: Workload = field(default_factory=Workload)
    proxies: ProxySearch | None = None
    """The proxy runs that the job listens to."""


@dataclass(frozen=True, slots=True)
class Context:
    """What ``advance`` may use besides state and event."""

    job: JobFacts
    next_seq: int
    """The ``seq`` that the first returned segment will get; the second gets the next number."""
    draw: int | None = None
    """Place of the decision in the history that is kept; None: ``next_seq``. After a session resumed earlier, ``seq``
    goes on rising and this starts over, so a decision taken again draws the same numbers."""

    def generator(self) -> np.random.Generator:
        """Return the random generator of this decision, the same on every replay."""
        return np.random.default_rng(
            [self.job.seed, self.next_seq if self.draw is None else self.draw]
        )


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the audit trail: what was decided and on which numbers."""

    code: str
    text: str
    numbers: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Advance:
    """What a strategy answers to an event."""

    state: State
    segments: tuple[SegmentPlan, ...] = ()
    log: tuple[LogEntry, ...] = ()


class Parameters(BaseModel):
    """Base of a strategy's parameters, validated at registration."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Strategy(ABC):
    """Decides segments from events. See the module's docstring for what it owes.

    Attributes:
        name: The word users write.
        version: Raised whenever an old state document cannot be read any more; a job with an unknown version is handed
            to ``fixed``.
        slow: True if a decision may take more than a few milliseconds. The controller then plans in a process of its
            own, never in the transaction that stores a report.
        default_cap: Overhead cap where the job names none.
        remembers: Whether it asks what other jobs of the project taught (``Registered.priors``).
        handles_budget: Whether it answers :class:`BudgetChanged`. For one that does not, the controller itself extends
            or shortens what the job follows, and the job counts as overridden until it is handed back.
        listens: Whether it answers :class:`Studied`, which jobs with proxies are told of as trials end. It decides then
            and there: when proxies speak nobody can declare beforehand.
        tier: How well proven it is. One that is ``experimental`` is offered and never chosen by default.
        needs: What a job has to have for it, in a few words.
    """

    name: ClassVar[str]
    tier: ClassVar[Tier] = "experimental"
    needs: ClassVar[str] = "nothing"
    version: ClassVar[int] = 1
    slow: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    default_cap: ClassVar[float] = 0.15
    handles_budget: ClassVar[bool] = False
    listens: ClassVar[bool] = False
    parameters_type: ClassVar[type[Parameters]] = Parameters

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    @classmethod
    def from_document(cls, parameters: dict[str, Any]) -> "Strategy":
        """Return the strategy with validated parameters.

        Raises:
            pydantic.ValidationError: A parameter is unknown or out of range.
        """
        return cls(cls.parameters_type.model_validate(parameters))

    @classmethod
    def about(cls) -> str:
        """Return what it does, in one line."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @classmethod
    def parameters_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of its parameters."""
        return cls.parameters_type.model_json_schema()

    def obstacles(self, job: JobFacts) -> Iterable[str]:
        """Return why this strategy cannot steer ``job``, one sentence each; empty if it can."""
        del job
        return ()

    def decides_on(self, body: Body) -> bool:
        """Whether this event may lead to a decision (measurements never do)."""
        if isinstance(body, Acknowledgement):
            return body.status != "applied"
        return not isinstance(body, Measurements | Notice)

    def found_peaks(self, state: State, job: JobFacts) -> tuple[FoundPeak, ...]:
        """Return what the probes of a job that has ended say of its best peak; empty where none do."""
        del state, job
        return ()

    @abstractmethod
    def initial(self, job: JobFacts) -> State:
        """Return the state before any event."""

    @abstractmethod
    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Return the state after ``event``, the segments decided now, and why."""
