"""Every error this package raises.

::

    PacesetterError
    |-- ConfigurationError        what was passed to attach() cannot work
    |-- ScheduleError             a schedule spec that cannot be evaluated
    |-- CurveError                a recorded loss curve that cannot be used
    |-- LearningRateConflict      somebody else moved the learning rate between our write and the step
    |-- SnapshotError             a state cannot be kept or restored
    |   `-- SnapshotTooLarge      it would exceed max_snapshot_bytes
    |-- StateMismatch             a checkpoint belongs to another job, model or optimizer
    `-- ServiceError              the service answered with a problem (never raised inside the training loop)
        |-- RegistrationRefused   it will not steer this job as it was described
        `-- ServiceUnavailable    it could not be reached

Messages say what was wrong, what was expected and what to do.
"""


class PacesetterError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(PacesetterError):
    """What was passed to ``attach`` cannot work."""


class ScheduleError(PacesetterError):
    """A schedule spec that cannot be evaluated."""


class CurveError(PacesetterError, ValueError):
    """A recorded loss curve that cannot be used: what is wrong with it, a stable code, and what to do."""

    def __init__(self, message: str, *, code: str, hint: str) -> None:
        super().__init__(_sentences(message, hint))
        self.detail = message
        self.code = code
        self.hint = hint


class LearningRateConflict(PacesetterError):
    """Somebody else moved the learning rate between our write and the optimizer's step."""


class SnapshotError(PacesetterError):
    """A state cannot be kept or restored."""


class SnapshotTooLarge(SnapshotError):
    """Keeping the state would exceed ``max_snapshot_bytes``."""


class StateMismatch(PacesetterError):
    """A checkpoint belongs to another job, model or optimizer."""


class ServiceError(PacesetterError):
    """The service answered with a problem document."""

    def __init__(self, message: str, *, code: str = "", status: int = 0, hint: str = "") -> None:
        super().__init__(_sentences(message, hint))
        self.detail = message
        self.code = code
        self.status = status
        self.hint = hint


class RegistrationRefused(ServiceError):
    """The service will not steer this job as it was described."""


class ServiceUnavailable(ServiceError):
    """The service could not be reached."""


def _sentences(message: str, hint: str) -> str:
    """Return both as one text; a service writes each with or without its full stop."""
    if not hint:
        return message
    return f"{message.rstrip(' .')}. {hint[:1].upper()}{hint[1:].rstrip(' .')}."
