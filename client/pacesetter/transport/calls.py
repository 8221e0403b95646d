"""The HTTP calls of a job, each with its outcomes sorted by what can be done about them."""

import gzip
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from pacesetter.errors import ServiceError, ServiceUnavailable
from pacesetter.protocol import (
    Incoming,
    Problem,
    Recommendation,
    Registration,
    ReportReply,
    Segment,
    SegmentPage,
)
from pacesetter.transport.base import UnreadableSegment
from pacesetter.transport.inbox import Arrival
from pacesetter.transport.timing import Timing

Reply = TypeVar("Reply", bound=Incoming)

GZIP_FROM_BYTES = 1024
_KEEPALIVE_SECONDS = 4.0
"""Below uvicorn's 5 s, so that a connection is not used in the moment in which the service closes it."""
_RETRIED = {408, 425, 429}
_HOPELESS = {400, 409, 413, 415, 422}


class Away(ServiceUnavailable):
    """No answer, or one that says to come back: worth trying again soon."""

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, code="UNAVAILABLE", status=status)
        self.retry_after = retry_after


class Denied(ServiceError):
    """Only a person can change this answer: a wrong token, a deleted job, a wrong address."""


class Rejected(ServiceError):
    """The service understood the request and will never take it as it is."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(
            problem.detail, code=problem.code, status=problem.status, hint=problem.hint
        )
        self.problem = problem


def _quiet_httpx(record: logging.LogRecord) -> bool:
    """Keep httpx's line for every request out of the user's log where the request is ours."""
    return not record.threadName or not record.threadName.startswith("pacesetter-")


logging.getLogger("httpx").addFilter(_quiet_httpx)


class Calls:
    """Talks to one service. Proxy and CA settings of the environment apply; redirects are never followed.

    Used by one thread, and closed by it.
    """

    def __init__(self, locate: Callable[[], str], token: str | None, timing: Timing) -> None:
        self._locate = locate
        self._timing = timing
        self._url: str | None = None
        self._token = token
        self._client = httpx.Client(
            follow_redirects=False,
            limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_SECONDS),
            timeout=httpx.Timeout(timing.reply_timeout, connect=timing.connect_timeout),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def register(self, spec: dict[str, Any]) -> tuple[Registration, list[UnreadableSegment]]:
        """Register a job; segments that cannot be read come apart from those that can."""
        headers = {"Idempotency-Key": str(spec["nonce"])}
        document = self._json("POST", "/v1/jobs", json.dumps(spec).encode(), headers=headers)
        arrivals = read_segments(document.pop("segments", []))
        registration = validated(Registration, document)
        readable = tuple(one for one in arrivals if isinstance(one, Segment))
        unreadable = [one for one in arrivals if isinstance(one, UnreadableSegment)]
        return registration.model_copy(update={"segments": readable}), unreadable

    def check_job(self, spec: dict[str, Any]) -> None:
        """Ask whether a job could register, which does not."""
        self._json("POST", "/v1/jobs?validate_only=true", json.dumps(spec).encode())

    def recommend(self, question: dict[str, Any]) -> Recommendation:
        """Ask what to run."""
        document = self._json("POST", "/v1/recommendations", json.dumps(question).encode())
        return validated(Recommendation, document)

    def report(self, job: str, token: str | None, body: bytes) -> tuple[ReportReply, list[Arrival]]:
        """Send a report; return the reply and the segments it carried."""
        document = self._json("POST", f"/v1/jobs/{job}/reports", body, token=token)
        arrivals = read_segments(document.pop("segments", []))
        return validated(ReportReply, document), arrivals

    def poll(
        self, job: str, session: str, token: str | None, after: int
    ) -> tuple[SegmentPage, list[Arrival]]:
        """Wait at the service's side for segments newer than ``after``."""
        wait = self._timing.long_poll
        path = f"/v1/jobs/{job}/segments?session={session}&after={after}&wait={wait:g}"
        document = self._json("GET", path, token=token, wait_seconds=wait)
        arrivals = read_segments(document.pop("segments", []))
        return validated(SegmentPage, document), arrivals

    def upload_curve(self, body: bytes, key: str) -> dict[str, Any]:
        """Send a curve; the same ``key`` and body twice are one upload."""
        return self._json("POST", "/v1/curves", body, headers={"Idempotency-Key": key})

    def curves(self, query: str) -> dict[str, Any]:
        """Return a page of the stored curves."""
        return self._json("GET", f"/v1/curves?{query}")

    @contextmanager
    def stream(
        self, job: str, session: str, token: str | None, after: int
    ) -> Iterator[httpx.Response]:
        """Open the stream of segments newer than ``after``."""
        headers = self._headers(token) | {
            "Accept": "text/event-stream",
            "Last-Event-ID": str(after),
            "Cache-Control": "no-store",
        }
        timeout = httpx.Timeout(
            self._timing.stream_idle_timeout, connect=self._timing.connect_timeout
        )
        path = f"/v1/jobs/{job}/segments?session={session}"
        with (
            self._transport_errors(),
            self._client.stream(
                "GET", self._address(path), headers=headers, timeout=timeout
            ) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise _failure(response)
            yield response

    def _json(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        wait_seconds: float = 0.0,
    ) -> dict[str, Any]:
        """Return the answer to a request, to which the service takes ``wait_seconds`` longer than to others."""
        sent = self._headers(token) | {"Accept": "application/json"} | (headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
            if len(body) > GZIP_FROM_BYTES:
                body, sent["Content-Encoding"] = gzip.compress(body, 3, mtime=0), "gzip"
        with self._transport_errors():
            response = self._client.request(
                method,
                self._address(path),
                content=body,
                headers=sent,
                timeout=httpx.Timeout(
                    self._timing.reply_timeout + wait_seconds, connect=self._timing.connect_timeout
                ),
            )
        if not response.is_success:
            raise _failure(response)
        return _document(response)

    def _address(self, path: str) -> str:
        if self._url is None:
            self._url = self._locate().rstrip("/")
        return self._url + path

    def _headers(self, token: str | None) -> dict[str, str]:
        bearer = token or self._token
        return {"Authorization": f"Bearer {bearer}"} if bearer else {}

    @contextmanager
    def _transport_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            # A local service may have moved to another port since: look again before the next call.
            self._url = None
            raise Away(f"no connection ({error})") from error
        except httpx.HTTPError as error:
            raise Away(f"{type(error).__name__}: {error}".rstrip(": ")) from error


def read_segments(documents: Any) -> list[Arrival]:
    """Return the segments in ``documents``; what cannot be read keeps its number, so it can be acknowledged."""
    arrivals = []
    for document in documents if isinstance(documents, list) else ():
        arrival = _read_segment(document)
        if arrival is not None:
            arrivals.append(arrival)
    return arrivals


def _read_segment(document: Any) -> Arrival | None:
    try:
        return Segment.model_validate(document)
    except ValidationError as error:
        seq, after = (
            (document.get("seq"), document.get("after", 0))
            if isinstance(document, dict)
            else (0, 0)
        )
        if not isinstance(seq, int) or not isinstance(after, int) or seq < 1:
            return None
        what = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3]
        )
        return UnreadableSegment(seq, after, f"this client cannot read the segment: {what}"[:1000])


def validated(model: type[Reply], document: dict[str, Any]) -> Reply:
    """Return a reply as what it is to be.

    Raises:
        Denied: It is something else.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise Denied(
            f"the reply is not a {model.__name__}: {error.errors()[0]['msg']}",
            code="NOT_A_SERVICE",
            hint="Check PACESETTER_URL, and that client and service are of matching versions.",
        ) from None


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Denied(
            f"{response.request.url} answered {response.status_code} with something that is not a reply of a "
            "Pacesetter service.",
            code="NOT_A_SERVICE",
            status=response.status_code,
            hint="Check PACESETTER_URL; a login page or another server may answer there.",
        )
    return document


def _failure(response: httpx.Response) -> ServiceError:
    problem = _problem(response)
    status = response.status_code
    retry_after = _seconds(response.headers.get("Retry-After"))
    if status >= 500 or status in _RETRIED or (status == 409 and retry_after is not None):
        return Away(
            f"it answered {status}: {problem.detail}", status=status, retry_after=retry_after
        )
    if status in _HOPELESS:
        return Rejected(problem)
    return Denied(problem.detail, code=problem.code, status=status, hint=problem.hint)


def _problem(response: httpx.Response) -> Problem:
    """Return the problem document, or one made from the bare status."""
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        status = response.status_code
        detail = f"it answered {status} {response.reason_phrase}".strip()
        hint = ""
        if response.has_redirect_location:
            detail += f" to {response.headers['Location']}"
            hint = (
                "Redirects are not followed with a token: set PACESETTER_URL to the final address."
            )
        return Problem(title=detail, status=status, detail=detail, code=f"HTTP_{status}", hint=hint)


def _seconds(retry_after: str | None) -> float | None:
    """Return ``Retry-After`` in seconds; its date form is rare enough to be treated as absent."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None
