"""What the rules look at, and what they answer."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pacesetter.limits import Limits
from pacesetter.protocol import Capabilities, Clock, ParameterGroup, SegmentPlan
from pacesetter.schedules import Schedule


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a segment is refused: a stable word, and a sentence that says what would be accepted."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Case:
    """A segment and everything it is judged by. The fields are those of :func:`check_segment`."""

    plan: SegmentPlan
    limits: Limits
    current: tuple[float, ...] | None
    """Multipliers before the segment, one per group (a single one where ``groups`` is empty)."""
    first: int
    """Position of the first step that it would drive."""
    budget_total: int
    """End of the main line before the segment."""
    registered_total: int
    """End of the main line as the training code gave it."""
    clock: Clock
    base: Schedule
    capabilities: Capabilities
    groups: tuple[ParameterGroup, ...]
    step: float
    """Clock units of one optimizer step."""

    @property
    def total(self) -> int:
        """End of the main line from the segment on."""
        return self.plan.budget or self.budget_total

    @property
    def last(self) -> float:
        """Position of the last step judged: of the budget for a main segment, else of the segment itself."""
        end = self.total if self.plan.kind == "main" else self.plan.end
        return self.first + self.step * max(0, math.ceil((end - self.first) / self.step) - 1)

    def drives(self, group: ParameterGroup) -> bool:
        """Return whether the segment sets the learning rate of ``group``."""
        return self.plan.controls == "all" or group.control in self.plan.controls

    def base_peak(self, base_lr: float) -> float:
        """Return the peak of the base schedule as a multiplier of ``base_lr``."""
        return self.base.peak / self.base_divisor(base_lr)

    def base_divisor(self, base_lr: float) -> float:
        """Return what turns values of the base schedule into multipliers of ``base_lr``."""
        return base_lr if self.base.unit == "absolute" else 1.0

    def policy_divisor(self, base_lr: float) -> float:
        """Return what turns values of the segment's policy into multipliers of ``base_lr``."""
        return base_lr if self.plan.policy.unit == "absolute" else 1.0


Rule: TypeAlias = Callable[[Case], Refusal | None]
