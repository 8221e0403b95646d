"""``Idempotency-Key``: a creation that is sent twice happens once and is answered twice."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from pacesetter_service.auth.principal import Principal
from pacesetter_service.http.problems import ApiProblem
from pacesetter_service.http.services import Services
from pacesetter_service.views import IdempotencyRecord

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_IN_FLIGHT_ATTEMPTS = 10
_IN_FLIGHT_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A reply as it is kept for a second request; it must hold nothing secret."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


async def idempotently(
    request: Request,
    services: Services,
    principal: Principal,
    raw: bytes,
    create: Callable[[], Awaitable[StoredReply]],
    *,
    repeatable: bool = False,
) -> StoredReply:
    """Return what ``create`` returns, or what it returned the first time this key was used.

    With ``repeatable``, where doing it again changes nothing, a first request that does not end is not waited for: the
    service may have been killed in the middle of it, and a job must not wait for the claim to lapse.

    Raises:
        ApiProblem: 400 for a malformed key, 409 while the first request is under way, 422 for another body.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return await create()
    if _KEY.fullmatch(key) is None:
        raise ApiProblem(
            400,
            "INVALID_IDEMPOTENCY_KEY",
            "The Idempotency-Key is empty, too long or not printable ASCII.",
            hint="Send 1 to 200 printable characters without spaces, for instance a UUID.",
        )
    seen = fingerprint(request.method, request.url.path, request.url.query, raw)
    record = await _claim(services, principal.identity, key, seen)
    if record.outcome == "finished":
        headers = {**record.headers, "Idempotency-Replayed": "true"}
        return StoredReply(record.status, record.body, headers)
    if record.outcome == "in_flight" and not repeatable:
        raise ApiProblem(
            409,
            "REQUEST_IN_FLIGHT",
            "The first request with this Idempotency-Key is still under way.",
            hint="Try again in a second.",
            headers={"Retry-After": "1"},
        )
    return await _create_once(services, principal.identity, key, create)


async def _claim(services: Services, identity: str, key: str, seen: str) -> IdempotencyRecord:
    """Claim the key, waiting a little for a first request that is still under way."""
    record = await services.controller.begin_idempotent(identity, key, seen)
    for _ in range(_IN_FLIGHT_ATTEMPTS):
        if record.outcome != "in_flight":
            break
        await asyncio.sleep(_IN_FLIGHT_PAUSE_SECONDS)
        record = await services.controller.begin_idempotent(identity, key, seen)
    if record.outcome == "mismatch":
        raise ApiProblem(
            422,
            "IDEMPOTENCY_KEY_REUSED",
            "This Idempotency-Key was used for another request.",
            hint="Use a new key for every new request.",
        )
    return record


async def _create_once(
    services: Services, identity: str, key: str, create: Callable[[], Awaitable[StoredReply]]
) -> StoredReply:
    try:
        reply = await create()
        await services.controller.finish_idempotent(
            identity, key, reply.status, reply.body, reply.headers
        )
    except BaseException:
        # Errors are not kept: the same request may work once its cause is gone. The shield lets the key go
        # also when the client has left and this task is being cancelled.
        await asyncio.shield(services.controller.abandon_idempotent(identity, key))
        raise
    return reply


def fingerprint(method: str, path: str, query: str, raw: bytes) -> str:
    """Return what tells one request from another under the same key."""
    return hashlib.sha256(f"{method} {path}?{query}\n".encode() + raw).hexdigest()
