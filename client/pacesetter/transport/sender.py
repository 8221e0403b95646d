"""Brings one session's backlog to the service: registers it, then sends report after report."""

import threading
from collections.abc import Callable

from pacesetter.errors import ServiceError
from pacesetter.protocol import Registration, ReportReply
from pacesetter.transport.backlog import Backlog
from pacesetter.transport.calls import Away, Calls, Denied, Rejected
from pacesetter.transport.conditions import Conditions, logger
from pacesetter.transport.folders import SessionFolder
from pacesetter.transport.inbox import Arrival, Inbox
from pacesetter.transport.journal import Entry
from pacesetter.transport.recorder import report_body
from pacesetter.transport.timing import Backoff, Timing

_PATIENCE = 3
"""Internal errors over an earlier session before it is left behind."""


class Sender:
    """Sends what is in the backlog, in order, until told to stop; what is not acknowledged stays there.

    Retries with backoff what may succeed later. What the service can never take is narrowed down to the single
    record, set aside in the session's folder with the problem, and passed over.
    """

    def __init__(
        self,
        folder: SessionFolder,
        backlog: Backlog,
        inbox: Inbox,
        *,
        service: str,
        make_calls: Callable[[], Calls],
        conditions: Conditions,
        timing: Timing,
        earlier: list[SessionFolder] | None = None,
        progress: Callable[[int], None] | None = None,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._backlog = backlog
        self._inbox = inbox
        self._service = service
        self._make_calls = make_calls
        self._conditions = conditions
        self._timing = timing
        self._earlier = list(earlier or ())
        self._progress = progress
        self._service_answered = answered
        self._backoff = Backoff(timing.backoff, timing.backoff_cap)
        self._wake = threading.Event()
        self.closing = threading.Event()
        """Set to have the sender end once everything is sent."""
        self.stopped = threading.Event()
        """Set to have it end now."""
        self.answered = threading.Event()
        """Set once the service said yes or no to the registration, or that a person is needed."""
        self.registered = threading.Event()
        self.registration: Registration | None = None
        self.refusal: Rejected | None = None
        self.problem: ServiceError | None = None
        """What stands in the way now."""
        self._renew = False

    def wake(self) -> None:
        """Say that there is something new in the backlog."""
        self._wake.set()

    def finish(self) -> None:
        """Ask for the end once everything is sent; interrupts a backoff for one more attempt."""
        self.closing.set()
        self._wake.set()

    def stop(self) -> None:
        """Ask for the end now."""
        self.stopped.set()
        self.finish()

    def run(self) -> None:
        """Send until everything is sent after ``finish``, or ``stop``; the body of the thread."""
        calls = self._make_calls()
        try:
            while not self.stopped.is_set() and self._turn(calls):
                pass
        finally:
            calls.close()

    def _turn(self, calls: Calls) -> bool:
        """Do one step; return whether there may be more to do."""
        try:
            registration = self.registration
            if registration is None or self._renew:
                registration = self._register(calls)
            entries = self._backlog.take(self._timing.report_records, self._timing.report_bytes)
            if entries:
                self._report(calls, registration, entries)
                self._all_is_well()
            elif self.closing.is_set():
                return False
            else:
                self._wake.wait()
                self._wake.clear()
        except Away as error:
            self._say_away(error)
            self._pause(self._backoff.delay(error.retry_after))
        except Denied as error:
            self._say_denied(error)
            self._pause(self._timing.slow_retry)
        except Rejected as error:
            self._say_refused(error)
            return False
        return True

    def _register(self, calls: Calls) -> Registration:
        self._register_earlier(calls)
        registration, unreadable = calls.register(self._folder.note.spec)
        if self.registration is None:
            self._inbox.begin(registration.segments, unreadable, registration.status)
            logger.info(
                "Registered as %s at %s: session %d, strategy %s, authority %s.",
                registration.job,
                self._service,
                registration.session_number,
                registration.strategy,
                registration.authority,
            )
        self.registration = registration
        self._renew = False
        _note_registration(self._folder, self._service, registration)
        self._all_is_well()
        self.registered.set()
        self.answered.set()
        return registration

    def _register_earlier(self, calls: Calls) -> None:
        """Register the sessions that began before this one: the service takes the last one for the current one."""
        while self._earlier:
            folder = self._earlier[0]
            try:
                registration, _ = calls.register(folder.note.spec)
            except Rejected as error:
                _leave(folder, error)
            except Away as error:
                # A service that fails on an old session must not lock out the new one for ever.
                if error.status != 500 or self._backoff.attempt < _PATIENCE:
                    raise
                _leave(folder, error)
            else:
                _note_registration(folder, self._service, registration)
            self._earlier.pop(0)

    def _report(self, calls: Calls, registration: Registration, entries: list[Entry]) -> None:
        body = report_body(registration.session, entries, self._inbox.seen)
        try:
            reply, arrivals = calls.report(registration.job, registration.token, body)
        except Rejected as error:
            if len(entries) == 1:
                self._set_aside(entries[0], error)
                return
            half = len(entries) // 2
            self._report(calls, registration, entries[:half])
            self._report(calls, registration, entries[half:])
        else:
            self._take_in(reply, arrivals, entries)

    def _take_in(self, reply: ReportReply, arrivals: list[Arrival], entries: list[Entry]) -> None:
        if not reply.session_current and not self._inbox.silenced:
            self._inbox.silence()
            logger.warning(
                "A newer session of this job has registered; this one is not steered any more."
            )
        if reply.kept_through is not None:
            self._inbox.kept_through = reply.kept_through
        self._inbox.set_status(reply.status)
        self._inbox.deliver(arrivals)
        for problem in reply.problems:
            self._conditions.begin(
                f"RECORD_{problem.code}",
                f"The service could not use record {problem.number}: {problem.detail} {problem.hint}",
            )
        if reply.last_record < entries[0].number:
            raise Away(f"it has stored records up to {reply.last_record}, none of the last report")
        self._backlog.acknowledge(min(reply.last_record, entries[-1].number))
        if self._progress is not None:
            self._progress(sum(entry.number <= reply.last_record for entry in entries))

    def _set_aside(self, entry: Entry, error: Rejected) -> None:
        try:
            self._folder.set_aside(entry, error.problem)
        except OSError as failure:
            logger.warning("Record %d could not be set aside: %s", entry.number, failure)
        self._backlog.acknowledge(entry.number)
        self._conditions.begin(
            f"REFUSED_{error.code}",
            f"The service does not take record {entry.number}: {_sentence(error)} It is set aside in "
            f"{self._folder.path / 'refused.jsonl'}, as are others like it.",
        )

    def _pause(self, seconds: float) -> None:
        # While closing, only the deadline of close() cuts a pause short: else it would hammer the service.
        (self.stopped if self.closing.is_set() else self.closing).wait(seconds)

    def _all_is_well(self) -> None:
        self.problem = None
        self._backoff.reset()
        self._conditions.end("AWAY", f"The service at {self._service} answers again.")
        self._conditions.end("DENIED", f"The service at {self._service} takes this job again.")
        self._service_answered()

    def _say_away(self, error: Away) -> None:
        self.problem = error
        if self._backoff.attempt == 0:
            # One lost connection is the ordinary end of an idle one; it becomes news when the retry fails too.
            return
        self._conditions.begin(
            "AWAY",
            f"The service at {self._service} is away: {error}. Training goes on; records are kept in "
            f"{self._folder.path} and sent when it is back.",
        )

    def _say_denied(self, error: Denied) -> None:
        self.problem = error
        self._renew = error.status == 401 and not self._inbox.silenced
        self.answered.set()
        self._conditions.begin(
            "DENIED",
            f"The service at {self._service} does not take this job ({error.status} {error.code}): "
            f"{_sentence(error)} Training goes on; records are kept in {self._folder.path}.",
        )

    def _say_refused(self, error: Rejected) -> None:
        self.problem = self.refusal = error
        self._folder.note.refused = str(error)
        _store_note(self._folder)
        self.answered.set()
        logger.warning(
            "The service at %s will not steer this job (%s): %s Training goes on unsteered; records are kept in %s.",
            self._service,
            error.code,
            _sentence(error),
            self._folder.path,
        )


def _sentence(error: ServiceError) -> str:
    return f"{str(error).rstrip('.')}."


def _leave(folder: SessionFolder, error: ServiceError) -> None:
    folder.note.refused = str(error)
    _store_note(folder)
    logger.warning("The records in %s stay there: %s", folder.path, error)


def _note_registration(folder: SessionFolder, service: str, registration: Registration) -> None:
    folder.note.service = service
    folder.note.job, folder.note.session = registration.job, registration.session
    folder.note.refused = None
    _store_note(folder)


def _store_note(folder: SessionFolder) -> None:
    """Write down where the session stands; a disk that takes nothing is no reason to stop."""
    try:
        folder.write_note()
    except OSError as error:
        logger.debug("%s was not updated: %s", folder.path, error)
