"""The transport of a steered job: records out, segments in, over HTTP in the background."""

import atexit
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from pacesetter.errors import RegistrationRefused
from pacesetter.protocol import JobSpec, Registration
from pacesetter.transport.base import Bell
from pacesetter.transport.calls import Calls
from pacesetter.transport.follower import Follower
from pacesetter.transport.inbox import Arrival, Inbox
from pacesetter.transport.journaling import JournalingTransport
from pacesetter.transport.leftovers import Leftovers
from pacesetter.transport.recorder import Recorder
from pacesetter.transport.sender import Sender
from pacesetter.transport.timing import Timing

_EXIT_SECONDS = 2.0
"""What an exit without ``close`` grants the last records; the journal has them in any case."""


class HttpTransport(JournalingTransport):
    """Three daemon threads: the recorder writes the journal, the sender empties it, the follower reads the stream.

    The recorder is apart from the sender so that a service that hangs delays no record's way to the disk.

    Args:
        service: What to call the service in messages and in the journal.
        locate: Returns the base URL; called again after a connection failed.
        token: Bearer token that may register, or None.
        journal_dir: Folder of all journals; a later process finds there what this one could not send.
    """

    def __init__(
        self,
        service: str,
        locate: Callable[[], str],
        token: str | None,
        journal_dir: Path,
        timing: Timing | None = None,
    ) -> None:
        super().__init__(journal_dir, timing or Timing())
        self._service = service
        self._locate = locate
        self._token = token
        self._stopped = threading.Event()
        self._inbox = Inbox()
        self._sender: Sender | None = None
        self._follower: Follower | None = None
        self._leftovers: Leftovers | None = None
        self._taken = False

    def register(self, spec: JobSpec, wait_seconds: float) -> Registration | None:
        """Register the job; see :meth:`Transport.register`.

        Raises:
            RegistrationRefused: The service will not steer this job as it was described.
        """
        sender = self._start(spec)
        sender.answered.wait(max(0.0, wait_seconds))
        if sender.refusal is not None:
            error = sender.refusal
            self.close(0.0)
            raise RegistrationRefused(
                error.problem.detail, code=error.code, status=error.status, hint=error.hint
            )
        return self.late_registration()

    @property
    def bell(self) -> Bell:
        """Rung when a segment arrives, and when a newer session takes over."""
        return self._inbox.bell

    def late_registration(self) -> Registration | None:
        """Return the registration the first time that it is here."""
        sender = self._sender
        if self._taken or sender is None or sender.registration is None:
            return None
        self._taken = True
        return sender.registration

    def receive(self) -> Arrival | None:
        """Return the next segment that arrived, or None; what follows a late registration waits until it is taken."""
        return self._inbox.receive() if self._taken else None

    def wait(self, timeout_seconds: float) -> bool:
        """Block until ``receive`` has something; at once False while nothing can come."""
        return not self._forked and self._inbox.wait(timeout_seconds)

    @property
    def kept_through(self) -> int | None:
        """Highest ``seq`` that the reply to ``SessionBegan`` left valid."""
        return self._inbox.kept_through

    @property
    def silenced(self) -> bool:
        """Whether a newer session has taken over."""
        return self._inbox.silenced

    @property
    def steering(self) -> bool:
        """Whether the service may steer now."""
        return self._inbox.steering

    def close(self, timeout_seconds: float) -> int:
        """Write everything to the journal, send what can be sent in time; return how many records stayed."""
        if self._forked:
            return 0
        if self._left is None:
            atexit.unregister(self._close_at_exit)
            self._left = self._close(monotonic() + timeout_seconds)
        return self._left

    def _start(self, spec: JobSpec) -> Sender:
        folder, backlog = self._begin(spec)
        leftovers = Leftovers(
            folder, self._service, self._make_calls, self._conditions, self._timing
        )
        sender = Sender(
            folder,
            backlog,
            self._inbox,
            service=self._service,
            make_calls=self._make_calls,
            conditions=self._conditions,
            timing=self._timing,
            earlier=leftovers.unregistered(),
            answered=self._service_answered,
        )
        self._sender, self._leftovers = sender, leftovers
        self._follower = Follower(
            self._inbox,
            lambda: sender.registration,
            make_calls=self._make_calls,
            conditions=self._conditions,
            timing=self._timing,
            stopped=self._stopped,
        )
        recorder = Recorder(
            backlog,
            self._conditions,
            self._timing,
            first_number=folder.journal.last_number() + 1,
            stored=sender.wake,
        )
        self._record(recorder)
        self._add_thread("sender", sender.run, sender.stopped)
        self._add_thread("stream", self._follow, self._stopped)
        atexit.register(self._close_at_exit)
        return sender

    def _follow(self) -> None:
        """Follow the stream from the registration on, after starting what earlier sessions left."""
        sender, follower, leftovers = self._sender, self._follower, self._leftovers
        if sender is None or follower is None or leftovers is None:
            return
        while not sender.registered.wait(1.0):
            if self._stopped.is_set():
                return
        if leftovers.folders:
            self._add_thread("replay", leftovers.run, self._stopped)
        follower.run()

    def _service_answered(self) -> None:
        if self._follower is not None:
            self._follower.service_answered()

    def _make_calls(self) -> Calls:
        return Calls(self._locate, self._token, self._timing)

    def _close(self, deadline: float) -> int:
        folder, backlog, sender = self._folder, self._backlog, self._sender
        if folder is None or backlog is None or sender is None:
            return 0
        self._write_everything(max(1.0, deadline - monotonic()))
        sender.finish()
        _, sender_thread, *others = self._threads
        sender_thread.join(deadline - monotonic())
        self._stop_the_rest(sender)
        for thread in others:
            thread.join(min(1.0, deadline - monotonic()))
        advice = f"the next session of this job sends them, or `pacesetter sync {folder.path}`."
        return self._put_away(folder, backlog, advice)

    def _stop_the_rest(self, sender: Sender) -> None:
        self._stopped.set()
        sender.stop()
        if self._leftovers is not None:
            self._leftovers.stop()
        if self._follower is not None:
            self._follower.interrupt()
        self._inbox.end()

    def _close_at_exit(self) -> None:
        self.close(_EXIT_SECONDS)

    def _after_fork(self) -> None:
        super()._after_fork()
        # A lock that another thread held at the fork stays locked in the child for ever.
        self._inbox = Inbox(self._inbox.bell)
