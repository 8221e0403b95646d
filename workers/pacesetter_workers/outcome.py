"""How a trial ends."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from pacesetter.protocol import Cost, coordinates
from pacesetter.schedules import Schedule

if TYPE_CHECKING:  # torch with it
    from pacesetter.mup import CoordinateCheck


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a proxy returns."""

    loss: float | None
    """The objective, lower is better. None or no finite number: it diverged, which is a result."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    job: str | None = None
    """Id of the job that it ran as, where it registered one."""
    schedule: Schedule | None = None
    """What it found to run, where it searched for one."""

    @classmethod
    def of_check(cls, check: "CoordinateCheck") -> "Outcome":
        """Return a check of coordinates as an outcome: its loss is the slope furthest from 0, whichever its sign."""
        slopes = check.furthest()
        told = {name: slope for name, slope in slopes.items() if math.isfinite(slope)}
        loss = max(map(abs, told.values())) if len(told) == len(slopes) else None
        return cls(loss, coordinates.to_metrics(check.passed, told))


@dataclass(frozen=True, slots=True)
class Done:
    """It ran to its end, or diverged."""

    outcome: Outcome
    cost: Cost


@dataclass(frozen=True, slots=True)
class Failed:
    """It has no result."""

    error: str
    retry: bool = False
    """Whether another attempt might do better: the machine's fault, not the code's."""
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True)
class Stopped:
    """It was cancelled or killed before its end."""


Ending: TypeAlias = Done | Failed | Stopped
