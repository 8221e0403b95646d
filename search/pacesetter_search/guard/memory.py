"""What the guard remembers of a job, as one JSON document beside the strategy's own."""

from math import isfinite
from typing import Literal

import numpy as np
from pacesetter.errors import ScheduleError
from pacesetter.protocol import INITIAL, Measurements, Notice, SegmentPlan
from pydantic import BaseModel, ConfigDict, JsonValue

from pacesetter_search.contract import BudgetChanged

VERSION = 1
"""Raised when an old document cannot be read any more; the guard then begins anew, and the strategy goes on."""

KEPT = 2
"""Rolling snapshots that a client keeps at a time."""

RETIRED_KEPT = 20


class Held(BaseModel):
    """A strategy's segment that runs or is to run: what the guard repeats when the main line is in trouble."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seq: int
    """As the job knows it."""
    known: int
    """As the strategy knows it: the number under which it was sent first."""
    plan: SegmentPlan
    """As the strategy wrote it."""
    renewed: bool = False
    """Whether it goes on from a stop: the strategy has seen it begin."""
    factor: float = 1.0
    points: tuple[tuple[float, float], ...] = ()
    """What the guard made of its policy: a factor everywhere, and factors over positions."""

    def multiplier(self, position: int) -> float:
        """Return the value of the policy that was sent, in its own unit."""
        value = self.factor * self.plan.policy.at(position)
        if self.points:
            places, factors = zip(*self.points, strict=True)
            value *= float(np.interp(position, places, factors))
        return value


class Snapshot(BaseModel):
    """A state that the job keeps by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    position: int


class Trouble(BaseModel):
    """A stop of the main line that is being answered."""

    model_config = ConfigDict(extra="forbid")

    clause: str
    seq: int
    """Of the segment that was stopped, as the job knows it."""
    position: int
    rung: int
    undone: int = 0
    """Clock units that the newest answer trains anew."""
    factor: float = 1.0
    """Product of the lasting cuts before it."""
    restored: str | None = None
    """Where the newest answer went back to, and"""
    resumed: int = 0
    """where the main line went on from there."""


class GuardMemory(BaseModel):
    """The guard's state."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    held: list[Held] = []
    retired: list[int] = []
    """Numbers of segments that were sent again under others: what is still said of them is no news."""
    snapshots: list[Snapshot] = []
    initial: bool = False
    """Whether the job still has its very first state."""
    factor: float = 1.0
    """Product of all lasting cuts."""
    interventions: int = 0
    trouble: Trouble | None = None
    """The newest; kept after it is answered, to tell a repeat."""
    repeat_until: int = -1
    """Position up to which trouble counts as the same."""
    undone: int = 0
    """Clock units trained twice."""
    probes: int = 0
    """Clock units of the probes that the strategy sent."""
    main_at: int = 0
    """Position of the main line, as the end of a segment told it last."""
    restarted: int = 0
    """Clock units of the main line that the strategy itself gave up by going on from an earlier state."""
    units_per_step: float = 1.0
    evidence: dict[str, JsonValue] = {}
    aside: bool = False
    """A person steers."""
    sealed: bool = False
    """Nothing is watched any more."""

    def find(self, seq: int) -> Held | None:
        """Return the segment that the job calls ``seq``."""
        return next((each for each in self.held if each.seq == seq), None)

    def known(self, seq: int) -> int:
        """Return what the strategy calls the segment ``seq``."""
        held = self.find(seq)
        return seq if held is None else held.known

    def drop(self, seq: int) -> None:
        """Forget a segment that will not run any more."""
        self.held = [each for each in self.held if each.seq != seq]

    def begun(self, held: Held) -> None:
        """Note the first step of a segment: a main segment leaves all before it behind."""
        if held.plan.kind != "main":
            return
        self.held = [each for each in self.held if each.seq >= held.seq]
        if held.plan.source != "current" and not held.renewed:
            self.snapshots = []

    def fit(self, change: BudgetChanged) -> None:
        """Change what would be repeated in trouble so that it leads to the new end of the main line."""
        self.held = [fitted for each in self.held if (fitted := _fitted(each, change)) is not None]

    def retire(self, seq: int) -> None:
        """Take no more notice of what is said of ``seq``."""
        self.drop(seq)
        self.retired = [*self.retired, seq][-RETIRED_KEPT:]

    def note(self, notice: Notice) -> None:
        """Learn from a notice: which snapshots there are, and on which numbers the main line stopped."""
        numbers = notice.numbers
        if notice.code == "SNAPSHOT_KEPT":
            name, position = numbers.get("name"), numbers.get("position")
            if isinstance(name, str) and isinstance(position, int) and name:
                others = [each for each in self.snapshots if each.name != name]
                self.snapshots = [*others, Snapshot(name=name, position=position)][-KEPT:]
        elif notice.code == "STOPPED":
            self.evidence = {name: _plain(value) for name, value in numbers.items()}

    def fold(self, rows: Measurements) -> None:
        """Learn how far a step goes: in tokens, the largest lately."""
        positions, steps = rows.columns["position"], rows.columns["step"]
        for index in range(1, len(positions)):
            here, there = positions[index], positions[index - 1]
            step, last = steps[index], steps[index - 1]
            if None in (here, there, step, last):
                continue
            assert here is not None and there is not None and step is not None and last is not None
            units = (here - there) / max(step - last, 1.0)
            if isfinite(units) and units > 0.0:
                self.units_per_step = max(units, 0.99 * self.units_per_step)

    def snapshot_before(self, position: int, every: int) -> Snapshot | None:
        """Return the newest snapshot that is half an interval old, as trouble is noticed late; else the oldest.

        The client chooses the same way where no answer reaches it. One older than two intervals is no candidate (too
        much would be trained anew), except where everything newer has led to the same trouble before.
        """
        first = [Snapshot(name=INITIAL, position=0)] if self.initial else []
        kept = [each for each in (*first, *self.snapshots) if each.position <= position]
        near = [each for each in kept if each.position >= position - 2 * every]
        old = [each for each in near if position - each.position >= every / 2]
        if old or near:
            return old[-1] if old else near[0]
        return kept[-1] if kept and self.trouble is not None and self.trouble.rung > 0 else None

    def doubt_restored(self, position: int, every: int) -> None:
        """Forget the state that the last answer went back to if it led to trouble within an interval: it was bad."""
        trouble = self.trouble
        if trouble is None or trouble.restored is None or position - trouble.resumed >= every:
            return
        self.snapshots = [each for each in self.snapshots if each.name != trouble.restored]

    def forget_after(self, position: int) -> None:
        """Drop the snapshots of what was undone."""
        self.snapshots = [each for each in self.snapshots if each.position <= position]

    def document(self) -> dict[str, JsonValue]:
        """Return this as a state document."""
        return self.model_dump(mode="json", by_alias=True)


def _fitted(held: Held, change: BudgetChanged) -> Held | None:
    """Return a segment as it is for another budget; None where nothing of it is left."""
    if held.plan.kind != "main":
        return held
    try:
        plan = held.plan.for_budget(change.total, change.position, before=change.before)
    except ScheduleError:
        return None
    # The budget is the controller's to name.
    return held.model_copy(update={"plan": plan.model_copy(update={"budget": None})})


def _plain(value: JsonValue) -> JsonValue:
    """Return a value that JSON can hold."""
    return str(value) if isinstance(value, float) and not isfinite(value) else value
