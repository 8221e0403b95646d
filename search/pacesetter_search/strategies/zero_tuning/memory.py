"""The state of ``zero_tuning``: everything it remembers of a job, as one JSON document."""

from typing import Literal

from pacesetter.protocol import SegmentPlan
from pacesetter.schedules import Schedule
from pydantic import BaseModel, ConfigDict

from pacesetter_search.contract import State
from pacesetter_search.losses import is_loss
from pacesetter_search.memory.prior import PeakPrior
from pacesetter_search.strategies.zero_tuning.overfitting import Point
from pacesetter_search.strategies.zero_tuning.scores import Measured

LAST_FIFTH = 0.8
"""Progress from which a rung's training loss counts where nothing can be validated: its decayed end."""

KEPT_ROWS = 1000
"""Rows of a range test that are kept, evenly over its length."""


class Sent(BaseModel):
    """A segment that was sent and of which the end is not known yet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seq: int
    kind: Literal["main", "range", "rung"]
    length: int
    log2_lr: float
    source: str
    end: int = 0
    """Main-line position at which a main segment ends."""
    saves: str | None = None
    """Name of the state at its end; only a piece of a watched main line has one."""


class Tally(BaseModel):
    """Training losses of the piece that runs."""

    model_config = ConfigDict(extra="forbid")

    seq: int
    sum: float = 0.0
    count: int = 0


class Window(BaseModel):
    """What the running probe has measured so far; independent of how its rows are cut into records."""

    model_config = ConfigDict(extra="forbid")

    length: int
    keep_rows: bool
    positions: list[float] = []
    losses: list[float | None] = []
    """Rows of a range test; None where the loss was not finite."""
    tail_sum: float = 0.0
    tail_count: int = 0
    broken: bool = False

    def add(self, position: float, loss: float) -> None:
        """Take in one row."""
        finite = is_loss(loss)
        self.broken = self.broken or not finite
        if finite and position >= LAST_FIFTH * self.length:
            self.tail_sum += loss
            self.tail_count += 1
        due = not self.positions or position >= self.positions[-1] + self.length / KEPT_ROWS
        if self.keep_rows and (due or not finite):
            self.positions.append(position)
            self.losses.append(loss if finite else None)

    @property
    def tail(self) -> float | None:
        """Mean training loss of the last fifth; None if it has no rows."""
        return self.tail_sum / self.tail_count if self.tail_count else None


class Queued(BaseModel):
    """The second rung of a pair, to follow the first one unless that diverges."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: int
    log2_lr: float


class Turn(BaseModel):
    """What the range test found; see ``RangeEvidence``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    log2_lr: float
    sd: float
    turned: bool


class Handover(BaseModel):
    """The horizon objective at work: its state, and the job as it sees it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: Schedule
    """The main line's schedule when it took over."""
    octaves: float
    """How far off that may be: standard deviation of ``log2`` of the best rate."""
    cap: float
    """What is left of the overhead cap."""
    state: State


class Memory(BaseModel):
    """What ``zero_tuning`` remembers."""

    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    remembered: PeakPrior | None = None
    """What other jobs of the project said of the best rate when this one registered."""
    live: list[Sent] = []
    """Segments sent and not yet over, oldest first."""
    window: Window | None = None
    tested: bool = False
    """Whether the range test is behind."""
    trusting: bool = True
    """Whether the range test may stop at a rise above its first loss."""
    turn: Turn | None = None
    start: float | None = None
    """Loss of the untrained model."""
    spread: float = 0.0
    measured: list[Measured] = []
    unread: int = 0
    """Rungs that ran and left no loss."""
    queued: list[Queued] = []
    spent: int = 0
    """Clock units of all probes planned so far, with what they overshot; never given back."""
    overshoot: int = 0
    main_at: int = 0
    """Position of the main line, as far as it was reported."""
    lost: int = 0
    """Clock units of the main line that starting over gave up."""
    highest: float | None = None
    """Highest rate that the client did not refuse; None: no refusal yet."""
    chosen: float | None = None
    """Rate of the main line (``log2``, peak of the main shape); None before it was chosen."""
    plan: int = 0
    """Which of the ways to write the main line comes next; the later ones are more careful."""
    replans: int = 0
    refusals: int = 0
    may_probe: bool = True
    may_rewind: bool = True
    may_validate: bool = True
    may_start_over: bool = True
    """Whether segments may start from the initial state although the main line has moved."""
    goes_on: bool = False
    """Whether the main line goes on from where it stands although it might start again."""
    watch: Literal["watching", "cooling", "cooled", "over", "off"] = "watching"
    """Where the watch for overfitting stands: a cooldown from the best state was sent, has begun, has ended. Nothing is
    watched after it."""
    whole: SegmentPlan | None = None
    """The main segment that is sent in pieces."""
    uncooled: SegmentPlan | None = None
    """What it was before it became the cooldown."""
    curve: list[Point] = []
    tally: Tally | None = None
    shortest: int = 0
    """Clock units that the job has trained until an answer reached it: a shorter piece would be over before."""
    dropped: list[str] = []
    """Kept states that may be released."""
    cooled: str | None = None
    """The state that was cooled down."""
    sent_whole: SegmentPlan | None = None
    """The main line as it was sent last, where it is not sent in pieces and something is to follow it."""
    next: Handover | None = None
    """What took over once the main line had begun; nothing else is decided after that."""
    aside: bool = False
    """A person steers."""
    quiet: bool = False
    """Nothing is planned any more."""

    @property
    def probe(self) -> Sent | None:
        """The probe that runs or will run next, if one was sent."""
        return next((sent for sent in self.live if sent.kind != "main"), None)

    def find(self, seq: int) -> Sent | None:
        """Return the live segment numbered ``seq``."""
        return next((sent for sent in self.live if sent.seq == seq), None)

    def void(self) -> None:
        """Forget every segment that was sent and is not over. What they were to cost stays spent."""
        self.live = []
        self.queued = []
        self.window = None

    def document(self) -> State:
        """Return this as a state document."""
        return self.model_dump(mode="json", by_alias=True)
