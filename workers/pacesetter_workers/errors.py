"""Every error of the worker.

::

    PacesetterError
    `-- WorkerError
        |-- WorkerUnusable     the worker cannot start as it was called
        |-- ProxyRefused       the trial names a proxy that this worker does not know, or may not run
        |-- ParameterRefused   a parameter of the trial that its proxy cannot use
        |-- ReportRefused      a trial reported something that no curve can hold
        |-- JobRefused         a trial asked to run as a job where it may not
        |-- JobEnded           somebody ended the job that a trial runs as, before its last step
        `-- CheckpointRefused  a checkpoint belongs to another trial, or cannot be read
    BaseException
    |-- TrialCancelled         nobody waits for the result: the trial ends here
    `-- TrialDiverged          the loss is no number any more: the trial ends here, and that is its result

The last two pass through the ``except Exception`` of a trial's code, as they must. Messages say what was wrong,
what was expected and what to do.
"""

from pacesetter.errors import PacesetterError


class WorkerError(PacesetterError):
    """Base of all errors of the worker."""


class WorkerUnusable(WorkerError):
    """The worker cannot start as it was called."""


class ProxyRefused(WorkerError):
    """The trial names a proxy that this worker does not know, or may not run."""


class ParameterRefused(WorkerError, ValueError):
    """A parameter of the trial that its proxy cannot use."""


class ReportRefused(WorkerError, ValueError):
    """A trial reported something that no curve can hold."""


class JobRefused(WorkerError):
    """A trial asked to run as a job where it may not."""


class JobEnded(WorkerError):
    """Somebody ended the job that a trial runs as, before its last step: there is no result."""


class CheckpointRefused(WorkerError):
    """A checkpoint belongs to another trial, or cannot be read."""


class TrialCancelled(BaseException):
    """Nobody waits for the result any more: the trial ends where this was raised."""


class TrialDiverged(BaseException):
    """The loss is no number any more: the trial ends where this was raised, and that is its result."""
