"""What online and offline transports share: a queue, a journal, and the thread between them."""

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from pacesetter.protocol import JobSpec, LedgerTotals
from pacesetter.transport.background import Background
from pacesetter.transport.backlog import Backlog
from pacesetter.transport.base import MakeRecord, Transport
from pacesetter.transport.conditions import Conditions, logger
from pacesetter.transport.folders import SessionFolder
from pacesetter.transport.recorder import Recorder
from pacesetter.transport.timing import Timing


class JournalingTransport(Transport):
    """Numbers records and writes them to the session's journal. ``register`` comes before ``send``.

    What is kept: a record is in the journal at most ``batch_seconds`` (0.5 s) after ``send``, and right after
    ``flush``, whether the service answers or not; from then on ``kill -9`` does not lose it. A power failure may lose
    what the operating system had not written.

    After a fork the child's copy does nothing: the parent keeps the job.
    """

    def __init__(self, journal_dir: Path, timing: Timing) -> None:
        self._root = journal_dir
        self._timing = timing
        self._conditions = Conditions()
        self._closing = threading.Event()
        self._forked = False
        self._left: int | None = None
        self._folder: SessionFolder | None = None
        self._backlog: Backlog | None = None
        self._recorder: Recorder | None = None
        self._threads: list[Background] = []
        _alive.add(self)

    def send(self, make_record: MakeRecord, *, ledger: LedgerTotals | None = None) -> None:
        """Queue a record; see :meth:`Transport.send`."""
        if self._recorder is not None:
            self._recorder.send(make_record, ledger)

    def flush(self) -> None:
        """Have everything queued written and sent now, without waiting for it."""
        if self._recorder is None or self._forked:
            return
        self._recorder.flush()
        if not self._closing.is_set():
            for thread in self._threads:
                thread.start()

    def _begin(self, spec: JobSpec) -> tuple[SessionFolder, Backlog]:
        """Open the session's folder and its backlog. A disk that takes nothing is said, never raised."""
        folder = SessionFolder.of_spec(self._root, spec)
        backlog = Backlog(folder.journal, self._conditions, self._timing.memory_bytes)
        try:
            folder.claim()
            folder.write_note()
        except OSError as error:
            backlog.say_disk_failed(error)
        self._folder, self._backlog = folder, backlog
        return folder, backlog

    def _record(self, recorder: Recorder) -> None:
        """Start the thread that writes the journal."""
        self._recorder = recorder
        self._add_thread("recorder", lambda: recorder.run(self._closing), self._closing)

    def _add_thread(
        self, name: str, body: Callable[[], None], stopped: threading.Event
    ) -> Background:
        thread = Background(name, body, stopped, self._conditions)
        self._threads.append(thread)
        thread.start()
        return thread

    def _write_everything(self, timeout_seconds: float) -> None:
        """Have the recorder write all that is queued, and end."""
        self._closing.set()
        if self._recorder is None:
            return
        self._recorder.flush()
        if self._threads[0].join(timeout_seconds):
            self._recorder.abandon()
        else:
            logger.warning("Not every record could be written to %s in time.", self._root)

    def _put_away(self, folder: SessionFolder, backlog: Backlog, advice: str) -> int:
        """Let go of the folder, and delete it if nothing stayed; return how many records stayed."""
        try:
            pending = backlog.pending()
            folder.release(delete=pending == 0)
        except OSError as error:
            logger.warning("%s could not be put away: %s", folder.path, error)
            return 0
        lost = backlog.unwritten()
        if lost:
            logger.error("%d records are lost: neither service nor disk took them.", lost)
        if pending > lost:
            logger.warning("%d records stayed in %s; %s", pending - lost, folder.path, advice)
        return pending - lost

    def _after_fork(self) -> None:
        """Become inert; runs in the child, where none of the threads exist."""
        self._forked = True
        self._threads = []
        if self._recorder is not None:
            self._recorder.abandon()


_alive: "weakref.WeakSet[JournalingTransport]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for transport in list(_alive):
        transport._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
