"""Registration: what a job says of itself, and what it gets back."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from pacesetter.limits import Limits
from pacesetter.protocol.base import Clock, Incoming, Message, Name
from pacesetter.protocol.choices import StrategyChoice, Tags
from pacesetter.protocol.proxies import ProxySearch
from pacesetter.protocol.segments import Segment
from pacesetter.protocol.workloads import Regime, Workload
from pacesetter.schedules import Schedule

Authority = Literal["observe", "advise", "approve", "steer"]
JobStatus = Literal["registered", "running", "paused", "completed", "failed", "cancelled", "lost"]
UNLIMITED: Literal["unlimited"] = "unlimited"


class Budget(Message):
    """How long the main line is, and in which unit every position of the job is counted."""

    clock: Clock = "steps"
    total: int = Field(gt=0)


class Capabilities(Message):
    """What a job can do. The service never sends what the job cannot execute."""

    rollback: Literal["none", "memory", "disk"] = "none"
    rewind_batches: Annotated[int, Field(ge=0)] | Literal["unlimited"] = 0
    validate_: bool = Field(default=False, alias="validate")
    gradient_norms: bool = False
    world_size: int = Field(default=1, ge=1)
    state_bytes: int = Field(default=0, ge=0)
    epoch_batches: Annotated[int, Field(gt=0)] | None = None
    """Batches in one pass over the training data; None where the data do not say, or never repeat."""
    families: tuple[Name, ...] = ()
    """Schedule families this client can evaluate; empty means those of protocol version 1."""
    feedback: tuple[Name, ...] = ()
    """Feedback rules this client can run."""
    statistics: tuple[Name, ...] = ()
    """Columns that are measured at every step beside the loss, such as ``grad_norm_l1``."""
    budget_changes: bool = False
    """Whether a main segment may change the budget while the job runs."""


class ParameterGroup(Message):
    """One parameter group of one optimizer, under a name that is stable across restarts."""

    name: Name
    base_lr: float = Field(gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    momentum: float = Field(default=0.0, ge=0, lt=1, allow_inf_nan=False)
    """Of SGD's buffer: the rate acts as one ``1 / (1 - momentum)`` times as large."""
    parameters: int = Field(default=0, ge=0)
    """Number of scalars in the group."""
    control: Name = "all"
    optimizer: str = ""


class JobSpec(Message):
    """The body of ``POST /v1/jobs``."""

    name: Name
    external_id: Name
    """Stable across restarts of the same training run."""
    nonce: Name
    """Random per process start: the same nonce is the same session, another one opens a new session."""
    budget: Budget
    base: Schedule
    """The schedule that the job follows when nobody says otherwise; defined to the end of the budget."""
    groups: tuple[ParameterGroup, ...] = Field(min_length=1, max_length=10_000)
    capabilities: Capabilities = Capabilities()
    limits: Limits = Limits()
    authority: Authority | None = None
    """None: ``steer`` up to 8 ranks, ``advise`` above."""
    strategy: StrategyChoice = StrategyChoice()
    overhead_cap: float | None = Field(default=None, ge=0, le=10)
    """Main plus probe steps stay at or below (1 + cap) times the budget. None: the strategy's own default."""
    regime: Regime = "other"
    workload: Workload = Workload()
    recommendation: Name | None = None
    """Id of the recommendation that its base schedule and rates come from."""
    proxies: ProxySearch | None = None
    """Proxy runs beside it that it takes its peak learning rate from."""
    weight_decay_coupling: Literal["torch", "independent"] = "torch"
    seed: int = Field(default=0, ge=0, lt=2**63)
    tags: Tags = Field(default_factory=dict)

    @model_validator(mode="after")
    def _group_names_differ(self) -> "JobSpec":
        names = [group.name for group in self.groups]
        if len(set(names)) != len(names):
            raise ValueError("parameter groups share a name; give each one its own")
        return self

    @model_validator(mode="after")
    def _base_counts_in_the_clock(self) -> "JobSpec":
        required = self.base.body.required_clock()
        if required not in (None, self.budget.clock):
            raise ValueError(
                f"the base schedule's {self.base.body.family} counts {required}, and the budget {self.budget.clock}; "
                "give both the same clock"
            )
        return self


class Registration(Incoming):
    """The reply to ``POST /v1/jobs``."""

    job: str
    session: str
    session_number: int
    token: str | None = None
    """A job-scoped token; None where the service runs without tokens."""
    status: JobStatus
    authority: Authority
    strategy: str
    segments: tuple[Segment, ...] = ()
    """Every segment so far that is not superseded, oldest first."""
    void: tuple[int, ...] = ()
    """``seq`` of those that no session ran: refused, stale or expired. What continues a job goes on without them."""


class RecordProblem(Incoming):
    """A record that was stored but could not be used, or could not be stored; the others were not held up."""

    number: int
    code: str
    detail: str
    hint: str = ""


class ReportReply(Incoming):
    """The reply to a report."""

    last_record: int
    """Everything up to this record number is safely stored: the journal may forget it."""
    segments: tuple[Segment, ...] = ()
    status: JobStatus = "running"
    session_current: bool = True
    """False: a newer session of the same job exists, and this one is not steered any more."""
    problems: tuple[RecordProblem, ...] = ()
    kept_through: int | None = None
    """In the reply to ``SessionBegan``: segments with a higher ``seq`` that came before it are superseded."""


class SegmentPage(Incoming):
    """The reply of the long poll ``GET /v1/jobs/{id}/segments?after=&wait=``."""

    segments: tuple[Segment, ...] = ()
    status: JobStatus = "running"


class Problem(Incoming):
    """An RFC 9457 problem document, with a stable ``code`` and a ``hint`` of what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str
    hint: str = ""
    errors: tuple[dict[str, JsonValue], ...] = ()
