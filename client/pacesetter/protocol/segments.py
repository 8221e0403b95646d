"""Segments: everything the service ever tells a job.

A segment says: start here, follow this policy for so long, measure this, then ask again. Warm-up, a probe, the
stretch that was chosen, a person's "decay now", a rollback after a divergence and the stop are all segments.
"""

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from pacesetter.errors import ScheduleError
from pacesetter.feedback import AnyFeedback
from pacesetter.protocol.base import Incoming, Name
from pacesetter.protocol.clauses import StopClause
from pacesetter.schedules import Schedule
from pacesetter.schedules.horizon import for_budget
from pacesetter.schedules.schedule import EXACT

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
    budget: int | None = Field(default=None, gt=0, le=EXACT)
    """Length of the main line from this main segment on, in the job's clock; None: as it was."""
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

    def for_budget(self, total: int, at: int, *, before: int) -> Self:
        """Return this main segment for a main line that is to end at ``total`` instead of at ``before``.

        One that ran to the end does so again; see :func:`pacesetter.schedules.horizon.for_budget` for its policy.

        Args:
            total: The new budget.
            at: Where the job stands, before ``total``.
            before: The budget that the segment was planned for.

        Raises:
            ScheduleError: Its rate is zero and the main line is to go on, or it would begin behind the new end.
        """
        if self.start >= total:
            raise ScheduleError(
                f"a segment that starts at {self.start:,} is not before the new end at {total:,}"
            )
        end = total if self.end >= before else min(self.end, total)
        policy = for_budget(self.policy, total, at, before=before)
        return self.model_copy(
            update={"budget": total, "length": end - self.start, "policy": policy}
        )

    @model_validator(mode="after")
    def _length_matches_kind(self) -> "SegmentPlan":
        if self.kind != "stop" and self.length == 0:
            raise ValueError(f"a {self.kind} segment needs a length above 0; only a stop has none")
        return self

    @model_validator(mode="after")
    def _only_main_has_a_budget(self) -> "SegmentPlan":
        if self.kind != "main" and self.budget is not None:
            raise ValueError(
                f"a {self.kind} segment cannot change the budget; send it with a main segment"
            )
        return self


class Segment(SegmentPlan):
    """A numbered segment, as it travels to the job."""

    seq: int = Field(ge=1)
    after: int = Field(ge=0)
    """The ``seq`` that it continues; 0 is the base schedule that every job starts on by itself."""
