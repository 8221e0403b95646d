"""How a trial ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pacesetter.protocol import Cost
from pacesetter.schedules import Schedule


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
