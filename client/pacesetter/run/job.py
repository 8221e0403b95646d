"""What a job says of itself, before it knows its data."""

import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

from pacesetter.data.base import RewindCapability
from pacesetter.errors import StateMismatch
from pacesetter.feedback import KNOWN_RULES
from pacesetter.limits import Limits
from pacesetter.protocol import (
    Authority,
    Budget,
    Capabilities,
    JobSpec,
    ParameterGroup,
    ProxySearch,
    Regime,
    Segment,
    StrategyChoice,
    Workload,
)
from pacesetter.run.optimizing import GRADIENT_L2
from pacesetter.schedules import KNOWN_FAMILIES, Schedule

STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Job:
    """A job's description; see :class:`pacesetter.protocol.JobSpec`."""

    name: str
    external_id: str
    resumable: bool
    """Whether ``external_id`` was given, rather than made up."""
    budget: Budget
    base: Schedule
    limits: Limits
    strategy: StrategyChoice
    authority: Authority | None = None
    overhead_cap: float | None = None
    regime: Regime = "other"
    workload: Workload = field(default_factory=Workload)
    recommendation: str | None = None
    """Id of the recommendation that it runs on."""
    proxies: ProxySearch | None = None
    """Proxy runs that it takes its peak from."""
    expected_batch: float | None = None
    """Tokens of a step that its rates are for; None: any."""
    seed: int = 0
    tags: dict[str, JsonValue] = field(default_factory=dict)
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    def spec(self, capabilities: Capabilities, groups: tuple[ParameterGroup, ...]) -> JobSpec:
        """Return the body of the registration."""
        return JobSpec(
            name=self.name,
            external_id=self.external_id,
            nonce=self.nonce,
            budget=self.budget,
            base=self.base,
            groups=groups,
            capabilities=capabilities,
            limits=self.limits,
            authority=self.authority,
            strategy=self.strategy,
            overhead_cap=self.overhead_cap,
            regime=self.regime,
            workload=self.workload,
            recommendation=self.recommendation,
            proxies=self.proxies,
            seed=self.seed,
            tags=self.tags,
        )

    def called(self, external_id: str) -> "Job":
        """Return the same job under another external id."""
        return replace(self, external_id=external_id, resumable=True)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What of a job's capabilities is known when it starts."""

    rollback: str
    rewind: RewindCapability
    validate: bool
    statistics: tuple[str, ...]
    world_size: int
    state_bytes: int
    epoch_batches: int | None = None
    sharded: bool = False
    """Whether parameters are split over ranks."""

    def capabilities(self) -> Capabilities:
        """Return them as the service takes them."""
        return Capabilities.model_validate(
            {
                "rollback": self.rollback,
                # Without checkpoints nothing could be trained on the same batches twice.
                "rewind_batches": 0 if self.rollback == "none" else self.rewind,
                "epoch_batches": self.epoch_batches or None,
                "validate": self.validate,
                "gradient_norms": GRADIENT_L2 in self.statistics,
                "statistics": self.statistics,
                "world_size": self.world_size,
                "state_bytes": self.state_bytes,
                "families": KNOWN_FAMILIES,
                "budget_changes": True,
                "feedback": [rule for rule in KNOWN_RULES if not (self.sharded and rule == "snr")],
            }
        )


@dataclass(frozen=True, slots=True)
class Resumption:
    """A ``run.state_dict()``, read and checked."""

    external_id: str
    position: int
    step: int
    tokens: int
    base_lrs: dict[str, float]
    running: Segment | None
    data: dict[str, Any] | None
    total: int
    """The budget that the run had come to have."""
    registered: int
    """The budget that the training code had given."""
    feedback: dict[str, Any] | None = None
    """What the feedback rule of the running segment knew; None where there was none."""

    @classmethod
    def read(cls, state: Any, job: Job) -> "Resumption":
        """Check a state against the job that resumes from it.

        Raises:
            StateMismatch: It is not such a state, or of another job.
        """
        try:
            if state["version"] != STATE_VERSION:
                raise ValueError(f"version {state['version']!r}")
            running = state["running"]
            resumption = cls(
                external_id=str(state["external_id"]),
                position=int(state["position"]),
                step=int(state["step"]),
                tokens=int(state["tokens"]),
                base_lrs={str(name): float(lr) for name, lr in state["base_lrs"].items()},
                running=None if running is None else Segment.model_validate(running),
                data=state["data"],
                total=int(state["total"]),
                # A state of before budgets could change has one, the training code's.
                registered=int(state.get("registered", state["total"])),
                feedback=state.get("feedback"),
            )
            clock = state["clock"]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise StateMismatch(
                f"this is no state of a run ({type(error).__name__}: {error}); expected what run.state_dict() "
                f"returned, version {STATE_VERSION}"
            ) from error
        _check_budget(resumption, clock, job.budget)
        if job.resumable and job.external_id != resumption.external_id:
            raise StateMismatch(
                f"the state is of job {resumption.external_id!r}, this one is {job.external_id!r}; pass the same "
                "external_id, or none"
            )
        return resumption


def _check_budget(resumption: Resumption, clock: str, budget: Budget) -> None:
    """Check that a job that resumes counts in the same clock, and has something left to train.

    Raises:
        StateMismatch: It does not.
    """
    if clock != budget.clock:
        raise StateMismatch(
            f"the state is of a budget in {clock}, this job has one in {budget.clock}; resume with the same clock, or "
            "start a new external_id"
        )
    if resumption.registered != budget.total and budget.total <= resumption.position:
        raise StateMismatch(
            f"the state stands at {resumption.position} {clock}, and this job has a budget of {budget.total}; resume "
            "with a larger one, or from an earlier state"
        )
