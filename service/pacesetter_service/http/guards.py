"""What is refused before any route sees it: hosts from elsewhere, and paths that no database could hold."""

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pacesetter_service.http.problems import ApiProblem, problem_response

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class NulGuard:
    """Refuse NUL characters in paths and queries; SQLite takes them, PostgreSQL raises."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, or pass the request on."""
        if scope["type"] == "http" and (
            "\0" in scope["path"] or b"%00" in scope.get("query_string", b"")
        ):
            problem = ApiProblem(
                400,
                "INVALID_REQUEST",
                "The path or the query holds a NUL character.",
                hint="Leave %00 out.",
            )
            await problem_response(scope["path"].replace("\0", ""), problem)(scope, receive, send)
            return
        await self.app(scope, receive, send)


class LocalOnlyGuard:
    """Refuse requests that a web page elsewhere made the browser send.

    Without tokens everybody on this machine is trusted, and a browser runs pages of strangers on this machine. DNS
    rebinding gives their requests a foreign Host; a cross-site request has a foreign Origin.
    """

    def __init__(
        self, app: ASGIApp, allowed_hosts: frozenset[str], is_open: Callable[[Scope], bool]
    ) -> None:
        self.app = app
        self.allowed_hosts = LOCAL_HOSTS | allowed_hosts
        self.is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or pass the request on."""
        if scope["type"] == "http" and self.is_open(scope):
            problem = self._judge(Headers(scope=scope))
            if problem is not None:
                await problem_response(scope["path"], problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _judge(self, headers: Headers) -> ApiProblem | None:
        hint = (
            "Use http://localhost or http://127.0.0.1; name further hosts in PACESETTER_ALLOWED_HOSTS, "
            "or run the service with a token."
        )
        if host_name(headers.get("host", "")) not in self.allowed_hosts:
            detail = "The Host header does not name this machine."
            return ApiProblem(403, "FOREIGN_HOST", detail, hint=hint)
        origin = headers.get("origin")
        if origin is not None and origin_host(origin) not in self.allowed_hosts:
            detail = "The Origin header names another site."
            return ApiProblem(403, "FOREIGN_ORIGIN", detail, hint=hint)
        return None


def host_name(header: str) -> str | None:
    """Return the host of a Host header without its port, in lower case; None if it is malformed."""
    try:
        # No scheme, path or user part belongs here: "evil@localhost" is not localhost.
        if any(character in header for character in "/@?#\\ "):
            return None
        parts = urlsplit(f"//{header}")
        return parts.hostname if parts.port is None or parts.port >= 0 else None
    except ValueError:
        return None


def origin_host(header: str) -> str | None:
    """Return the host of an Origin header; None for ``null`` and whatever else is not http(s)."""
    scheme, separator, host = header.partition("://")
    return host_name(host) if separator and scheme in {"http", "https"} else None
