"""What the run loop needs of a transport."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from pacesetter.protocol import JobSpec, LedgerTotals, Record, Registration, Segment

MakeRecord = Callable[[int], Record]
"""Builds a record from its number. Runs in the transport's thread, so it may copy tensors from the device."""


@dataclass(frozen=True, slots=True)
class UnreadableSegment:
    """A segment that this client cannot read, usually from a newer service. Acknowledge it as refused."""

    seq: int
    after: int
    detail: str
    """What could not be read, for the acknowledgement."""


class Bell:
    """Rung, from any thread, when the training loop should look for news: the one thing that it reads at every step.

    Attributes:
        rung: True from the beginning, so that there is a first look. Whoever looks sets it to False beforehand.
    """

    def __init__(self) -> None:
        self.rung = True


class Transport(ABC):
    """Carries records to the service and segments back, in the background.

    ``send``, ``receive`` and ``flush`` are called from the training loop: they return at once and never raise, whatever
    state the service is in.
    """

    @property
    @abstractmethod
    def bell(self) -> Bell:
        """Rung whenever ``receive`` or ``silenced`` may have changed; always the same one."""

    @abstractmethod
    def register(self, spec: JobSpec, wait_seconds: float) -> Registration | None:
        """Register the job; None if the service did not answer in time (it keeps trying in the background).

        Raises:
            RegistrationRefused: The service answered that it will not steer this job. Raised from ``attach`` only.
        """

    @abstractmethod
    def late_registration(self) -> Registration | None:
        """Return, once, the registration that arrived after ``register`` had given up."""

    @abstractmethod
    def send(self, make_record: MakeRecord, *, ledger: LedgerTotals | None = None) -> None:
        """Queue a record. Numbers are given in the order of the calls."""

    @abstractmethod
    def flush(self) -> None:
        """Ask for everything queued to be sent now rather than with the next batch."""

    @abstractmethod
    def receive(self) -> Segment | UnreadableSegment | None:
        """Return the next segment that arrived, in order of ``seq``, or None."""

    @abstractmethod
    def wait(self, timeout_seconds: float) -> bool:
        """Block until ``receive`` has something, for at most ``timeout_seconds``; return whether it has."""

    @property
    @abstractmethod
    def kept_through(self) -> int | None:
        """What the reply to ``SessionBegan`` said: highest ``seq`` still valid; None until that reply is here."""

    @property
    @abstractmethod
    def silenced(self) -> bool:
        """Whether a newer session of the job has taken over: this one steers nothing any more."""

    @property
    @abstractmethod
    def steering(self) -> bool:
        """Whether the service may steer now: False while paused, and for a job that ended at the service's side."""

    @abstractmethod
    def close(self, timeout_seconds: float) -> int:
        """Send what is left; return how many records stayed in the journal for a later ``pacesetter sync``."""
