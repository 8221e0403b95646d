"""Pacesetter's client: three lines in a training loop, and a service sets its learning rate.

torch and httpx are imported with the first name that needs them, so tools that only speak the protocol start without.
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
from pacesetter.protocol import (
    Evidence,
    Objective,
    ProxySearch,
    Recommendation,
    Sweep,
    SweptRun,
    Target,
)
from pacesetter.schedules import Schedule

if TYPE_CHECKING:
    from pacesetter.recommending import recommend
    from pacesetter.run.attach import Steps, Tokens, attach
    from pacesetter.run.result import Result
    from pacesetter.run.run import Run

__all__ = [
    "ConfigurationError",
    "CurveError",
    "Evidence",
    "LearningRateConflict",
    "Limits",
    "Objective",
    "PacesetterError",
    "ProxySearch",
    "Recommendation",
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
    "Sweep",
    "SweptRun",
    "Target",
    "Tokens",
    "attach",
    "recommend",
]

_LATE = {
    "Result": "pacesetter.run.result",
    "Run": "pacesetter.run.run",
    "Steps": "pacesetter.run.attach",
    "Tokens": "pacesetter.run.attach",
    "attach": "pacesetter.run.attach",
    "recommend": "pacesetter.recommending",
}


def __getattr__(name: str) -> Any:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module 'pacesetter' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
