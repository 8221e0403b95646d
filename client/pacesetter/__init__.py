"""Pacesetter's client: three lines in a training loop, and a service sets its learning rate.

torch is imported with the first name that needs it, so tools that only speak the protocol start without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pacesetter.errors import (
    ConfigurationError,
    CurveError,
    LearningRateConflict,
    PacesetterError,
    RegistrationRefused,
    ScheduleError,
    ServiceError,
    ServiceUnavailable,
    SnapshotError,
    SnapshotTooLarge,
    StateMismatch,
)
from pacesetter.limits import Limits
from pacesetter.protocol import Objective, Target
from pacesetter.schedules import Schedule

if TYPE_CHECKING:
    from pacesetter.run.attach import Steps, Tokens, attach
    from pacesetter.run.result import Result
    from pacesetter.run.run import Run

__all__ = [
    "ConfigurationError",
    "CurveError",
    "LearningRateConflict",
    "Limits",
    "Objective",
    "PacesetterError",
    "RegistrationRefused",
    "Result",
    "Run",
    "Schedule",
    "ScheduleError",
    "ServiceError",
    "ServiceUnavailable",
    "SnapshotError",
    "SnapshotTooLarge",
    "StateMismatch",
    "Steps",
    "Target",
    "Tokens",
    "attach",
]

_NEED_TORCH = {
    "Result": "pacesetter.run.result",
    "Run": "pacesetter.run.run",
    "Steps": "pacesetter.run.attach",
    "Tokens": "pacesetter.run.attach",
    "attach": "pacesetter.run.attach",
}


def __getattr__(name: str) -> Any:
    module = _NEED_TORCH.get(name)
    if module is None:
        raise AttributeError(f"module 'pacesetter' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
