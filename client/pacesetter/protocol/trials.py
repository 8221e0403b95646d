"""Trials: what a worker claims, what it says while it runs one, and how one ends.

A worker holds a trial by a lease. Its ``token`` is new with every lease: who has lost a lease can change nothing.
"""

from typing import Annotated, Literal

from pydantic import Field

from pacesetter.protocol.base import Incoming, Message, Name
from pacesetter.protocol.experiments import Proxy, Value
from pacesetter.schedules import Schedule

TrialStatus = Literal["queued", "leased", "done", "failed", "cancelled"]

MAX_CLAIM = 64
MAX_POINTS = 10_000
"""Points of one heartbeat."""
MAX_METRICS = 1_000
MAX_ERROR = 20_000
"""Characters of a failure's text: keep the end of a longer traceback, where the exception stands."""

MOST_STEPS, MOST_AMOUNT = 10**15, 1e30
"""What a report may say at most, of one attempt; sums are told up to there."""
StepCount = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Amount = Annotated[float, Field(ge=0, le=MOST_AMOUNT, allow_inf_nan=False)]
LeaseToken = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]


class Trial(Incoming):
    """One proxy run of an experiment, as a worker gets it."""

    id: str
    experiment: str
    number: int
    """1, 2, ... in its experiment."""
    proxy: Proxy
    parameters: dict[Name, Value]
    """Fixed and planned ones together."""
    seed: int
    """Below 2**32; the same at every attempt."""
    attempt: int
    """1, 2, ...: which lease this is, without those that were handed back."""
    progress_seconds: float
    """It is given up where its step has not risen for so long."""


class Claim(Message):
    """The body of ``POST /v1/trials:claim``."""

    worker: Name
    proxies: tuple[Proxy, ...] = Field(min_length=1, max_length=1_000)
    """What the worker's operator allows it to run, each by its exact name."""
    most: int = Field(default=1, ge=1, le=MAX_CLAIM)


class Lease(Incoming):
    """A trial, and the right to run it for a while."""

    trial: Trial
    token: LeaseToken
    """To be shown with everything that is said of the trial."""
    seconds: float
    """How long it holds after the claim and after each heartbeat: send one every quarter of that."""


class Claimed(Incoming):
    """The reply to a claim."""

    leases: tuple[Lease, ...] = ()
    """None: nothing waits that the worker may run."""


class TrialPoint(Message):
    """What a trial measured at a step."""

    step: StepCount
    """Optimizer steps done."""
    lr: float | None = None
    """Learning rate of the first parameter group in the step; None: not known."""
    loss: float


class Heartbeat(Message):
    """The body of ``POST /v1/trials/{id}:heartbeat``: the lease holds on."""

    token: LeaseToken
    step: StepCount = 0
    points: tuple[TrialPoint, ...] = Field(default=(), max_length=MAX_POINTS)
    """Since the last one. A step that is sent again changes nothing."""


class HeartbeatReply(Incoming):
    """The reply to a heartbeat."""

    cancel: bool = False
    """Whether to stop the trial: nobody waits for its result any more."""


class Cost(Message):
    """What an attempt took; the service adds up those of a trial."""

    steps: StepCount = 0
    tokens: Amount = 0.0
    flops: Amount = 0.0
    seconds: Amount = 0.0
    """Of its devices, added up."""

    @classmethod
    def total(cls, steps: float, tokens: float, flops: float, seconds: float) -> "Cost":
        """Return a sum over attempts or trials, which stays at the bound where it is beyond what one report may say."""
        amounts = (min(float(each), MOST_AMOUNT) for each in (tokens, flops, seconds))
        return cls(
            **dict(zip(("tokens", "flops", "seconds"), amounts, strict=True)),
            steps=min(int(steps), MOST_STEPS),
        )


class TrialResult(Message):
    """The body of ``POST /v1/trials/{id}:finish``."""

    token: LeaseToken
    loss: float | None
    """The objective, lower is better. None or no finite number: it diverged, which is a result."""
    metrics: dict[Name, float] = Field(default_factory=dict, max_length=MAX_METRICS)
    cost: Cost = Cost()
    job: Name | None = None
    """Id of the job that it ran as, where it registered one."""
    schedule: Schedule | None = None
    """What it found to run, where it searched for one."""


class TrialFailure(Message):
    """The body of ``POST /v1/trials/{id}:fail``."""

    token: LeaseToken
    error: str = Field(min_length=1, max_length=MAX_ERROR, pattern=r"^[^\x00]*$")
    """The traceback."""
    retry: bool = False
    """Whether another attempt might do better: the machine's fault, not the code's."""
    cost: Cost = Cost()
    """What it took until then."""


class TrialReturn(Message):
    """The body of ``POST /v1/trials/{id}:return``: a worker that stops gives the lease back. No attempt is counted."""

    token: LeaseToken
