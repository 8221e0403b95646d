"""Every error the controller raises, each with a stable code, an HTTP status and a hint.

::

    ControllerError
    |-- NotFound              404  no such job, session, segment or token
    |-- Conflict              409  the state of the thing does not allow it
    |-- Refused               422  what was asked cannot work, whatever the state
    |   `-- StrategyRefused        unknown strategy, bad parameters, or it cannot steer this job
    |-- Busy                  503  try again in ``retry_after`` seconds
    `-- StorageError          500  the database cannot be used
        |-- SchemaTooNew           it was written by a newer release
        `-- UnsuitableDatabase     a URL or a file system that cannot work

Messages say what was wrong, what was expected and what to do.
"""

from typing import ClassVar


class ControllerError(Exception):
    """Base of all errors of the controller."""

    status: ClassVar[int] = 500

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


class NotFound(ControllerError):
    """Nothing has that name."""

    status = 404

    def __init__(self, message: str, *, code: str = "NOT_FOUND", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)


class Conflict(ControllerError):
    """The state of the thing does not allow it."""

    status = 409


class Refused(ControllerError):
    """What was asked cannot work, whatever the state."""

    status = 422


class StrategyRefused(Refused):
    """The strategy is unknown, its parameters are wrong, or it cannot steer this job."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        hint: str = "",
        obstacles: tuple[str, ...] = (),
        fitting: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.obstacles = obstacles
        self.fitting = fitting
        """Strategies that can steer the job as it is."""


def value_out_of_range(error: Exception) -> Refused:
    """Return the error for a value that no column can hold, such as an integer above 2**63 - 1."""
    return Refused(
        f"a value cannot be stored: {error}",
        code="VALUE_OUT_OF_RANGE",
        hint="keep integers below 2**63 and texts free of NUL",
    )


class Busy(ControllerError):
    """The database is locked or the queue is full; nothing was stored."""

    status = 503

    def __init__(self, message: str, *, retry_after: float = 1.0, code: str = "BUSY") -> None:
        super().__init__(message, code=code, hint=f"try again in {retry_after:g} s")
        self.retry_after = retry_after


class StorageError(ControllerError):
    """The database cannot be used."""

    def __init__(self, message: str, *, code: str = "STORAGE_ERROR", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)


class SchemaTooNew(StorageError):
    """The database was written by a newer release."""


class UnsuitableDatabase(StorageError):
    """A URL or a file system that cannot work."""
