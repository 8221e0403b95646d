"""Transports without a service: one that records for later, and one that does nothing."""

from pathlib import Path

from pacesetter.errors import ConfigurationError
from pacesetter.protocol import JobSpec, LedgerTotals, Registration
from pacesetter.transport.base import Bell, MakeRecord, Transport
from pacesetter.transport.inbox import Arrival
from pacesetter.transport.journaling import JournalingTransport
from pacesetter.transport.recorder import Recorder
from pacesetter.transport.timing import Timing

_NOBODY = Bell()


class _Unanswered(Transport):
    """The answers of a service that is not there."""

    @property
    def bell(self) -> Bell:
        """Never rung again: nothing comes."""
        return _NOBODY

    def late_registration(self) -> Registration | None:
        """Return None: nobody is asked."""
        return None

    def receive(self) -> Arrival | None:
        """Return None: nothing comes."""
        return None

    def wait(self, timeout_seconds: float) -> bool:
        """Return False at once: nothing comes."""
        del timeout_seconds
        return False

    @property
    def kept_through(self) -> int | None:
        """None: nobody says."""
        return None

    @property
    def silenced(self) -> bool:
        """False: nobody takes over."""
        return False

    @property
    def steering(self) -> bool:
        """False: nobody steers."""
        return False


class OfflineTransport(_Unanswered, JournalingTransport):
    """Writes the journal and nothing else; ``pacesetter sync`` brings it to a service later."""

    def __init__(self, journal_dir: Path, timing: Timing | None = None) -> None:
        super().__init__(journal_dir, timing or Timing())

    def register(self, spec: JobSpec, wait_seconds: float) -> Registration | None:
        """Begin the journal.

        Raises:
            ConfigurationError: The folder cannot be written, so nothing at all would be kept.
        """
        del wait_seconds
        _, backlog = self._begin(spec)
        if self._conditions.lasts("DISK"):
            raise ConfigurationError(
                f"offline mode records in {self._root}, which cannot be written; set PACESETTER_DIR to a folder "
                "that can, or PACESETTER_MODE=disabled to record nothing"
            )
        self._record(Recorder(backlog, self._conditions, self._timing))
        return None

    def close(self, timeout_seconds: float) -> int:
        """Write what is left; return how many records wait for ``pacesetter sync``."""
        folder, backlog = self._folder, self._backlog
        if self._forked or folder is None or backlog is None:
            return 0
        if self._left is None:
            self._write_everything(max(1.0, timeout_seconds))
            advice = f"`pacesetter sync {folder.path}` brings them to a service."
            self._left = self._put_away(folder, backlog, advice)
        return self._left


class NullTransport(_Unanswered):
    """Does nothing at all."""

    def register(self, spec: JobSpec, wait_seconds: float) -> Registration | None:
        """Return None."""
        del spec, wait_seconds
        return None

    def send(self, make_record: MakeRecord, *, ledger: LedgerTotals | None = None) -> None:
        """Forget the record; it is never built."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self, timeout_seconds: float) -> int:
        """Return 0."""
        del timeout_seconds
        return 0
