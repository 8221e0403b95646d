"""Segments: everything the service ever tells a job.

A segment says: start here, follow this policy for so long, measure this, then ask again. Warm-up, a probe, the
stretch that was chosen, a person's "decay now", a rollback after a divergence and the stop are all segments.
"""

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from pacesetter.feedback import AnyFeedback
from pacesetter.protocol.base import Incoming, Name
from pacesetter.protocol.clauses import StopClause
from pacesetter.schedules import Schedule

CURRENT = "current"
"""The main line as it is; during a probe, as it was when the probe left it."""

INITIAL = "initial"
"""The checkpoint that a job with rollback keeps of its very first state."""

PERSON = "person"
"""The ``origin`` of what a person asked for, rather than a strategy."""

GUARD = "guard"
"""The ``origin`` of what brings a main line back from trouble: what a strategy sent, from an earlier state or lower."""

ROLLING = "rolling-"
"""How the names of the snapshots begin that a client keeps by itself (``save_every``); nothing else is called so."""

Kind = Literal["main", "probe", "branch", "stop"]
When = Literal["end", "now"]
DataSource = Literal["continue", "rewind", "hold"]


class Measure(Incoming):
    """What a segment asks the job to measure."""

    report_every: int = Field(default=1, ge=1)
    """A row for every n-th optimizer step of the segment (and always for its last)."""
    validate_at_end: bool = False


class Reason(Incoming):
    """One sentence for people, and the numbers behind it."""

    text: str = Field(max_length=2000)
    numbers: dict[str, JsonValue] = Field(default_factory=dict)


class SegmentPlan(Incoming):
    """A segment as a strategy writes it, before the controller numbers it.

    Positions and lengths are in the job's clock (steps or tokens) on the main line.
    """

    kind: Kind
    when: When = "end"
    source: Name = Field(default=CURRENT, alias="from")
    save_as: Name | None = None
    """Keep the running state under this name, before ``source`` is loaded."""
    save_end_as: Name | None = None
    hand_over: bool = False
    """Whether the training code is handed the state at its end (``on_branch``); a branch always is."""
    save_every: int | None = Field(default=None, ge=1)
    """Clock units between rolling snapshots that the client keeps by itself, two at a time."""
    release: tuple[Name, ...] = ()
    """Checkpoints that nobody will ask for any more."""
    start: int = Field(ge=0)
    length: int = Field(ge=0)
    policy: Schedule
    feedback: AnyFeedback | None = None
    """A rule that runs on the client and multiplies ``policy``, within bounds of its own; None: the policy as it is."""
    controls: Literal["all"] | tuple[Name, ...] = "all"
    data: DataSource = "continue"
    stop_if: tuple[StopClause, ...] = ()
    measure: Measure = Measure()
    reason: Reason
    origin: Name = "strategy"
    """Who decided: the strategy's name, ``person`` or ``guard``. Limits may treat them differently."""

    @property
    def end(self) -> int:
        """Main-line position at which the segment is over."""
        return self.start + self.length

    @model_validator(mode="after")
    def _length_matches_kind(self) -> "SegmentPlan":
        if self.kind != "stop" and self.length == 0:
            raise ValueError(f"a {self.kind} segment needs a length above 0; only a stop has none")
        return self


class Segment(SegmentPlan):
    """A numbered segment, as it travels to the job."""

    seq: int = Field(ge=1)
    after: int = Field(ge=0)
    """The ``seq`` that it continues; 0 is the base schedule that every job starts on by itself."""
