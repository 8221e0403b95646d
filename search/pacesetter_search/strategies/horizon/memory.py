"""The state of the horizon objective: everything it remembers of a job, as one JSON document."""

from typing import Literal

from pacesetter.errors import ScheduleError
from pacesetter.schedules import Schedule
from pacesetter.schedules.horizon import for_budget
from pydantic import BaseModel, ConfigDict

from pacesetter_search.contract import State
from pacesetter_search.strategies.horizon.track import Track


class Sent(BaseModel):
    """A segment that was sent and of which the end is not known yet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seq: int
    kind: Literal["main", "probe"]
    start: int
    length: int
    policy: Schedule
    multiplier: float = 1.0
    """Of a probe: what it begins with, over the main line's."""
    chained: bool = True
    """Whether it continues a segment of the main line, so that a resumed session finds its way into it."""


class Stretch(BaseModel):
    """A policy of the main line, from ``start`` to the start of the next one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int
    policy: Schedule


class Fork(BaseModel):
    """A probe that ran: its curve, and what it ran at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mark: int
    start: int
    policy: Schedule
    multiplier: float
    length: int
    positions: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    validation: float | None = None
    diverged: bool = False


class Memory(BaseModel):
    """What the horizon objective remembers."""

    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    marks: tuple[int, ...] = ()
    total: int = 0
    """The budget that was planned for; 0 in a state of before budgets could change."""
    mark: int = 0
    """Index of the next position to decide at; ``len(marks)`` once all are past."""
    line: list[Stretch] = []
    """The policies that the main line really followed."""
    track: Track = Track()
    """The main line's loss curve."""
    forks: list[Fork] = []
    curve: Track | None = None
    """The curve of the probe that runs."""
    live: list[Sent] = []
    """Segments sent and not yet over, oldest first."""
    changes: int = 0
    """How often the schedule was changed."""
    spent: int = 0
    """Clock units of all probes planned so far, with what they overshot; never given back."""
    overshoot: int = 0
    lead: int = 0
    """How far ahead of the job a probe is planned: it trains on while a segment travels, and the last one was late."""
    refusals: int = 0
    replans: int = 0
    may_probe: bool = True
    may_rewind: bool = True
    aside: bool = False
    """A person steers."""
    blind: bool = False
    """A person steered: what the main line followed is not known any more, so nothing is decided."""
    quiet: bool = False
    """Nothing is planned any more: the job ended, or planning kept failing."""

    def find(self, seq: int) -> Sent | None:
        """Return the live segment numbered ``seq``."""
        return next((sent for sent in self.live if sent.seq == seq), None)

    @property
    def probe(self) -> Sent | None:
        """The probe that runs or will run next, if one was sent."""
        return next((sent for sent in self.live if sent.kind == "probe"), None)

    def policy(self, base: Schedule) -> Schedule:
        """Return what the main line follows."""
        return self.line[-1].policy if self.line else base

    def took_up(self, sent: Sent, position: int) -> None:
        """Note that the job follows ``sent``, a main segment, since ``position``."""
        if not self.line or self.line[-1].policy != sent.policy:
            start = max(sent.start, position)
            self.line = [one for one in self.line if one.start < start]
            self.line.append(Stretch(start=start, policy=sent.policy))

    def fit(self, total: int, position: int, base: Schedule) -> None:
        """Note that the main line, which a person steered to another budget, is to be followed from ``position``."""
        # A state of before budgets could change does not say its own: main lines were defined to the end of it.
        before, self.total = self.total or self.policy(base).end, total
        if before == total:
            return
        self.marks = tuple(mark for mark in self.marks if mark < total)
        if not self.line:
            return  # it follows the base schedule, which is that of the new budget already
        try:
            policy = for_budget(self.policy(base), total, position, before=before)
        except ScheduleError:
            policy = base  # it has run out, and leads nowhere
        self.line = [one for one in self.line if one.start < position]
        self.line.append(Stretch(start=position, policy=policy))

    def void(self) -> None:
        """Forget every segment that was sent and is not over. What they were to cost stays spent."""
        self.live = []
        self.curve = None

    def document(self) -> State:
        """Return this as a state document."""
        return self.model_dump(mode="json")
