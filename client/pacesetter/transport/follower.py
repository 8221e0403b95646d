"""Follows the stream of segments: server-sent events first, long polling where a proxy swallows them."""

import json
import random
import socket
import threading
from collections.abc import Callable
from time import monotonic
from typing import get_args

import httpx

from pacesetter.errors import ServiceError
from pacesetter.protocol import JobStatus, Registration
from pacesetter.transport.calls import Away, Calls, read_segments
from pacesetter.transport.conditions import Conditions, logger
from pacesetter.transport.inbox import Inbox
from pacesetter.transport.sse import EventDecoder, ServerEvent
from pacesetter.transport.timing import Backoff, Timing

_DEFAULT_RETRY = 3.0
_SHORTEST_POLL = 1.0


class Follower:
    """Keeps a stream open and puts what it brings into the inbox."""

    def __init__(
        self,
        inbox: Inbox,
        registration: Callable[[], Registration | None],
        *,
        make_calls: Callable[[], Calls],
        conditions: Conditions,
        timing: Timing,
        stopped: threading.Event,
    ) -> None:
        self._inbox = inbox
        self._registration = registration
        self._make_calls = make_calls
        self._conditions = conditions
        self._timing = timing
        self._stopped = stopped
        self._backoff = Backoff(timing.backoff, timing.backoff_cap)
        self._jitter = random.SystemRandom()
        self._barren = 0
        self._poll_until = 0.0
        self._response: httpx.Response | None = None
        self._wake = threading.Event()

    def run(self) -> None:
        """Follow until stopped or silenced; the body of the thread."""
        calls = self._make_calls()
        try:
            while not self._stopped.is_set() and not self._inbox.silenced:
                registration = self._registration()
                if registration is not None:
                    self._turn(calls, registration)
        finally:
            calls.close()

    def interrupt(self) -> None:
        """End a read or a pause that is under way; ``stopped`` is set before."""
        self._wake.set()
        response = self._response
        stream = response.extensions.get("network_stream") if response is not None else None
        connection = stream.get_extra_info("socket") if stream is not None else None
        if isinstance(connection, socket.socket):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                logger.debug("the stream had ended already: %s", error)

    def service_answered(self) -> None:
        """Try again now: a report got through, so the outage that this may be waiting out is over."""
        if self._backoff.attempt > 0:
            self._wake.set()

    def _pause(self, seconds: float) -> None:
        self._wake.clear()
        if not self._stopped.is_set():
            self._wake.wait(seconds)

    def _turn(self, calls: Calls, registration: Registration) -> None:
        try:
            if monotonic() < self._poll_until:
                self._poll(calls, registration)
                pause = 0.0
            else:
                pause = self._stream(calls, registration)
            self._backoff.reset()
        except Away as error:
            self._count_barren(error)
            pause = self._backoff.delay(error.retry_after)
        except (ServiceError, ValueError) as error:
            # The sender meets the same refusal and says so; the stream only has to be patient.
            logger.debug("the stream of segments is refused: %s", error)
            pause = self._timing.slow_retry
        self._pause(max(pause, self._timing.slow_retry) if self._inbox.over else pause)

    def _stream(self, calls: Calls, registration: Registration) -> float:
        """Read one stream to its end; return the seconds to wait before the next."""
        decoder = EventDecoder()
        fruitful = False
        with calls.stream(
            registration.job, registration.session, registration.token, self._inbox.seen
        ) as response:
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise Away("the stream's address answered with something else")
            self._response = response
            try:
                for chunk in response.iter_bytes():
                    fruitful, self._barren = True, 0
                    for event in decoder.feed(chunk):
                        self._handle(event)
                    if self._stopped.is_set() or self._inbox.silenced:
                        return 0.0
            finally:
                self._response = None
        if not fruitful:
            raise Away("the stream ended without a word")
        # The service ends every stream after a while: spread the reconnects of many jobs.
        return self._jitter.uniform(0.0, decoder.retry_seconds or _DEFAULT_RETRY)

    def _poll(self, calls: Calls, registration: Registration) -> None:
        began = monotonic()
        page, arrivals = calls.poll(
            registration.job, registration.session, registration.token, self._inbox.seen
        )
        self._inbox.set_status(page.status)
        self._inbox.deliver(arrivals)
        if not arrivals:
            # A service (or a cache before it) that does not hold the request must not be hammered.
            self._stopped.wait(_SHORTEST_POLL - (monotonic() - began))

    def _count_barren(self, error: Away) -> None:
        """Count streams that opened, or were left without an answer, and brought nothing."""
        if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout) or error.status:
            return
        self._barren += 1
        if self._barren >= self._timing.stream_failures:
            self._barren = 0
            self._poll_until = monotonic() + self._timing.poll_for
            self._conditions.begin(
                "POLLING",
                f"The stream of segments brings nothing ({error}); polling instead. A proxy may be buffering it.",
            )

    def _handle(self, event: ServerEvent) -> None:
        self._conditions.end("POLLING", "The stream of segments works again.")
        if event.event == "segment":
            self._inbox.deliver(read_segments([_parsed(event.data)]))
        elif event.event == "status":
            status = _status(_parsed(event.data))
            if status is not None:
                self._inbox.set_status(status)


def _parsed(data: str) -> object:
    try:
        parsed: object = json.loads(data)
    except ValueError:
        return None
    return parsed


def _status(document: object) -> JobStatus | None:
    said = document.get("status") if isinstance(document, dict) else document
    known: tuple[JobStatus, ...] = get_args(JobStatus)
    return next((status for status in known if status == said), None)
