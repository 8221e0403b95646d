"""What is handed out of experiments: frozen values, free of the database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pacesetter.protocol import Cost, ExperimentSpec, TrialStatus, Value
from pacesetter.schedules import Schedule
from pydantic import JsonValue

from pacesetter_service.reports.packing import FloatArray

ExperimentStatus = Literal["running", "completed", "failed", "cancelled"]

PENDING: tuple[TrialStatus, ...] = ("queued", "leased")
ENDED: tuple[TrialStatus, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """How many trials of an experiment are in each status; ``diverged`` ones are ``done`` without a loss."""

    queued: int = 0
    leased: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    diverged: int = 0

    @property
    def pending(self) -> int:
        """Those that have not ended."""
        return self.queued + self.leased


@dataclass(frozen=True, slots=True)
class TrialView:
    """A trial with why it was planned and what came of it."""

    id: str
    experiment: str
    number: int
    status: TrialStatus
    parameters: dict[str, Value]
    """Fixed and planned ones together."""
    seed: int
    why: str
    numbers: dict[str, JsonValue]
    attempts: int
    """Leases that were not handed back."""
    worker: str | None
    """Who holds it, or held it last."""
    step: int
    loss: float | None
    diverged: bool
    metrics: dict[str, float]
    schedule: Schedule | None
    """What it found to run, where it searched for one."""
    error: str
    """Of the last attempt that failed; a trial that was done by a later one keeps it."""
    cost: Cost
    """Of all attempts, as far as they said."""
    job: str | None
    curve: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class ExperimentView:
    """An experiment, where it stands and what it cost."""

    id: str
    project: str
    name: str
    status: ExperimentStatus
    reason: str
    """Why it is over; empty while it runs."""
    strategy: str
    planning: bool
    """Its strategy is being asked."""
    spec: ExperimentSpec
    trials: TrialCounts
    cost: Cost
    """Of all trials."""
    best: TrialView | None
    """With the lowest loss so far."""
    job: str | None
    """The job that it began with, and ends with."""
    coordinates: str | None
    """The experiment that checks its coordinates, once it has begun."""
    created_at: datetime
    ended_at: datetime | None


CheckStatus = Literal["pending", "passed", "failed", "missing"]


@dataclass(frozen=True, slots=True)
class CoordinatesView:
    """Whether activations keep their size over widths, as an experiment's proxy found."""

    status: CheckStatus
    """``missing``: it says nothing, for the reason in ``problem``."""
    widths: tuple[int, ...]
    experiment: str | None = None
    """The one whose trial it is; None before that begins."""
    slopes: dict[str, float] = field(default_factory=dict)
    """By module, log2 of its activations' size over log2 width: the furthest from 0 of the steps that count."""
    problem: str = ""
    flops: float = 0.0
    """What it cost, beside the trials of the experiment."""


@dataclass(frozen=True, slots=True)
class TrialCurve:
    """What a trial measured: ``step``, ``lr`` and ``loss``, missing where it did not."""

    trial: TrialView
    columns: dict[str, FloatArray]
