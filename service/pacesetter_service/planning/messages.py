"""What a planner is given and what it answers: plain data, so that it may live in another process."""

from typing import Annotated, cast

from pacesetter.limits import Limits
from pacesetter.protocol import (
    Acknowledgement,
    Authority,
    Budget,
    Capabilities,
    FellBack,
    Finished,
    JobSpec,
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
from pacesetter.schedules import Schedule
from pacesetter_search.contract import (
    BudgetChanged,
    JobFacts,
    Overridden,
    Registered,
    Rewound,
    Studied,
)
from pydantic import Field, JsonValue

EventBody = Annotated[
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
    | Finished,
    Field(discriminator="type"),
]


class PlanEvent(Message):
    """An event in the job's order."""

    number: int
    body: EventBody


class Facts(Message):
    """What a strategy may know of its job, as it travels."""

    budget: Budget
    base: Schedule
    groups: tuple[ParameterGroup, ...]
    capabilities: Capabilities
    limits: Limits
    authority: Authority
    overhead_cap: float
    seed: int
    regime: Regime = "other"
    workload: Workload = Workload()
    proxies: ProxySearch | None = None

    @classmethod
    def of(cls, spec: JobSpec, authority: str, overhead_cap: float) -> "Facts":
        """Return the facts of a registered job."""
        return cls(
            budget=spec.budget,
            base=spec.base,
            groups=spec.groups,
            capabilities=spec.capabilities,
            limits=spec.limits,
            authority=cast(Authority, authority),
            overhead_cap=overhead_cap,
            seed=spec.seed,
            regime=spec.regime,
            workload=spec.workload,
            proxies=spec.proxies,
        )

    def for_strategy(self) -> JobFacts:
        """Return them in the strategy contract's form."""
        return JobFacts(
            budget=self.budget,
            base=self.base,
            groups=self.groups,
            capabilities=self.capabilities,
            limits=self.limits,
            authority=self.authority,
            overhead_cap=self.overhead_cap,
            seed=self.seed,
            regime=self.regime,
            workload=self.workload,
            proxies=self.proxies,
        )


class Place(Message):
    """How far the unseen events of a job have been read."""

    number: int
    """The last event that was read whole."""
    within: int = 0
    """Of the ``rewound`` event that follows it: the last earlier event that was replayed for it."""


class PlanRequest(Message):
    """A strategy's state, and the events it has not seen: as many as fit, and where the others follow."""

    job: str
    strategy: str
    parameters: dict[str, JsonValue]
    facts: Facts
    state: dict[str, JsonValue]
    events: tuple[PlanEvent, ...]
    session: str | None
    """Not for the strategy: the answer counts only while this is the job's session."""
    reduced_through: int
    """Number of the last event that ``state`` has seen; the answer counts only while that stands."""
    through: int
    """Number of the last event of the job that this request covers."""
    running: int
    position: int
    next_seq: int
    draws: int
    rest: Place | None = None
    """Where the events go on that did not fit."""


class LogLine(Message):
    """One line of the audit trail."""

    event: int
    code: str
    text: str
    numbers: dict[str, JsonValue] = Field(default_factory=dict)


class PlannedDecision(Message):
    """The segments decided on one event, with the state right after it."""

    event: int
    after: int
    """``seq`` of the segment that ran when it was taken."""
    position: int
    segments: tuple[SegmentPlan, ...]
    state: dict[str, JsonValue]


class PlanAnswer(Message):
    """What came of a request."""

    state: dict[str, JsonValue] = Field(default_factory=dict)
    running: int = 0
    position: int = 0
    decisions: tuple[PlannedDecision, ...] = ()
    log: tuple[LogLine, ...] = ()
    error: str | None = None
    """Set if the strategy raised: nothing else counts then."""

    def then(self, later: "PlanAnswer") -> "PlanAnswer":
        """Return this answer and the one to the events that follow as one."""
        both = {"decisions": self.decisions + later.decisions, "log": self.log + later.log}
        return later.model_copy(update=both)
