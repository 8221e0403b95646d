"""Replies of the experiment calls."""

from datetime import datetime

from pacesetter.protocol import Cost, ExperimentSpec, TrialStatus, Value
from pydantic import JsonValue

from pacesetter_service.experiments.views import ExperimentStatus
from pacesetter_service.http.replies import Reply


class TrialReply(Reply):
    """A trial: why it was planned, and what came of it."""

    id: str
    experiment: str
    number: int
    """1, 2, ... in its experiment."""
    status: TrialStatus
    parameters: dict[str, Value]
    """Fixed and planned ones together."""
    seed: int
    why: str
    """The strategy's reason, in a sentence."""
    numbers: dict[str, JsonValue]
    """What the strategy's decision rests on."""
    attempts: int
    """Leases that were not handed back."""
    worker: str | None
    """Who holds it, or held it last."""
    step: int
    """Furthest one that a worker told of."""
    loss: float | None
    """Null while there is none, and where it diverged."""
    diverged: bool
    metrics: dict[str, float]
    error: str
    """Traceback of the last attempt that failed, or why there is no result."""
    cost: Cost
    """Of all its attempts, as far as they said."""
    job: str | None
    """The job that it ran as, where it registered one."""
    curve: str | None
    """The stored curve that its points became."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class TrialWithPoints(TrialReply):
    """A trial with what it measured, downsampled."""

    columns: dict[str, list[float | None]]
    """``step``, ``lr`` and ``loss``: null where none was measured."""


class CountsReply(Reply):
    """How many trials are in each status; ``diverged`` ones are among those ``done``."""

    queued: int
    leased: int
    done: int
    failed: int
    cancelled: int
    diverged: int


class ExperimentReply(Reply):
    """An experiment: where it stands, what it cost, and its best trial so far."""

    id: str
    project: str
    name: str
    status: ExperimentStatus
    reason: str
    """Why it is over; empty while it runs."""
    strategy: str
    planning: bool
    """A slow strategy is being asked for trials."""
    spec: ExperimentSpec
    trials: CountsReply
    cost: Cost
    """Of all trials."""
    best: TrialReply | None
    """With the lowest loss."""
    created_at: datetime
    ended_at: datetime | None


class ExperimentPage(Reply):
    """One page of experiments, newest first."""

    experiments: tuple[ExperimentReply, ...]
    next_page_token: str


class TrialPage(Reply):
    """One page of an experiment's trials, by their numbers."""

    trials: tuple[TrialReply, ...]
    next_page_token: str
