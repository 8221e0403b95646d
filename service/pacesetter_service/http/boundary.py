"""The outermost layer around every request: its id, its log line, its metrics, and the answer when all else failed."""

import logging
import random
import re
from time import perf_counter

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pacesetter_service.http.metrics import Metrics
from pacesetter_service.http.problems import problem_response, unexpected_problem

logger = structlog.get_logger(__name__)
_standard_logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_generator = random.Random()
_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})


class Boundary:
    """Give a request an id, count it, log it, and turn an unexpected error into a problem that leaks nothing."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request; never raise for an error of the application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send, _request_id(scope))
        began = perf_counter()
        structlog.contextvars.bind_contextvars(request_id=answer.request_id)
        try:
            await self.app(scope, receive, answer.send)
        except Exception:
            logger.exception("request failed", method=scope["method"], path=scope["path"])
            if answer.status is not None:
                raise  # Half an answer is out: only closing the connection tells the client.
            problem = unexpected_problem(answer.request_id)
            await problem_response(scope["path"], problem)(scope, receive, answer.send)
        finally:
            self._count(scope, answer, perf_counter() - began)
            structlog.contextvars.unbind_contextvars("request_id")

    def _count(self, scope: Scope, answer: "_Answer", seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _KNOWN_METHODS else "other"
        # A client that went away before the answer has no status; nginx calls that 499.
        status = answer.status or 499
        self.metrics.count_request(method, route, status, None if answer.streamed else seconds)
        level = logging.DEBUG if route in _QUIET_ROUTES or status < 400 else logging.INFO
        if not _standard_logger.isEnabledFor(level):
            return
        logger.log(
            level,
            "request",
            method=method,
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 2),
        )


class _Answer:
    """Remembers how the answer began, and stamps the request id on it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status: int | None = None
        self.streamed = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            self.streamed = (b"content-type", b"text/event-stream; charset=utf-8") in headers
            headers.append((b"x-request-id", self.request_id.encode()))
            message = {**message, "headers": headers}
        await self._send(message)


def _request_id(scope: Scope) -> str:
    """Return the caller's id where it is harmless, else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    if given and _REQUEST_ID.fullmatch(given):
        return given
    # Not a secret, only unlikely to repeat: no system call for each request.
    return f"{_generator.getrandbits(64):016x}"
