"""Replies of the experiment calls."""

from datetime import datetime

from pacesetter.protocol import Cost, ExperimentSpec, TrialStatus, Value
from pacesetter.schedules import Schedule
from pydantic import JsonValue

from pacesetter_service.experiments.views import CheckStatus, ExperimentStatus
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
    schedule: Schedule | None
    """What it found to run, where it searched for one: in learning rates."""
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
    job: str | None
    """The job that it began with, and ends with."""
    coordinates: str | None
    """The experiment that checks its coordinates, once it has begun."""
    created_at: datetime
    ended_at: datetime | None


class CellReply(Reply):
    """Trials that differ in their learning rate alone, and the best one there."""

    width: float
    depth: float
    steps: float
    batch: float
    """These four in the proxy's own units; 1 for what the experiment does not name."""
    tokens: float
    """Of one of its trials."""
    trials: int
    """With a result, diverged ones among them."""
    diverged: int
    lr: float | None
    """The best rate; null where its trials do not say."""
    sd_octaves: float | None
    edge: str | None
    """``low`` or ``high`` where the best trial has no worse one on that side."""
    best_lr: float | None
    """Of the trial that ended best."""
    best_loss: float | None


class CellPlace(Reply):
    """Where a best peak is asked for, in the proxy's own units."""

    width: float
    depth: float
    steps: float
    batch: float


class SlopeReply(Reply):
    """How the best peak follows something, in octaves an octave."""

    mean: float
    sd: float


class CoordinatesReply(Reply):
    """Whether activations keep their size over widths, so that rates carry over them."""

    status: CheckStatus
    """``missing``: it says nothing, for the reason in ``problem``."""
    widths: tuple[int, ...]
    experiment: str | None
    """The one whose trial it is; null before that begins."""
    slopes: dict[str, float]
    """By module, log2 of its size over log2 width, the furthest from 0 of the steps that count; .15 passes."""
    problem: str
    flops: float
    """What it cost, beside the trials of the experiment."""


class StudyReply(Reply):
    """What the trials of an experiment say of the best peak at a target."""

    target: CellPlace
    lr: float
    log2_lr: float
    sd_octaves: float
    lr_50: tuple[float, float]
    lr_90: tuple[float, float]
    dominant_uncertainty: str
    """What widens the interval most."""
    terms: dict[str, float]
    """Of that sd, by what it comes from."""
    slopes: dict[str, SlopeReply]
    """By tokens, batch, width and depth."""
    relative_loss_of_missing: float
    """Expected, because the best peak is known only so far."""
    flops: float
    """Of all trials; 0 where the proxy counts none."""
    share: float | None
    """That over one run of the target."""
    cells: tuple[CellReply, ...]
    coordinates: CoordinatesReply | None
    """Null where the experiment asked for no check."""
    warnings: tuple[str, ...]


class ExperimentPage(Reply):
    """One page of experiments, newest first."""

    experiments: tuple[ExperimentReply, ...]
    next_page_token: str


class TrialPage(Reply):
    """One page of an experiment's trials, by their numbers."""

    trials: tuple[TrialReply, ...]
    next_page_token: str
