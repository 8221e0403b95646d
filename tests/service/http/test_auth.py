"""Who may do what: every kind of token against every kind of call."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pacesetter_service.auth.authenticator import open_authenticator
from pacesetter_service.auth.principal import Scope
from pacesetter_service.auth.tokens import digest, job_token, new_token
from pacesetter_service.http.services import Services
from pacesetter_service.settings import Settings, SettingsError

from tests.service.http.conftest import ADMIN_TOKEN
from tests.service.http.support import Document, began, register, spec


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def make_token(
    services: Services,
    *scopes: Scope,
    project: str = "default",
    expires_at: datetime | None = None,
) -> str:
    token = new_token()
    await services.controller.create_token(
        hmac=digest(services.authenticator.secret, token),
        hint=token[-4:],
        name="test",
        scopes=scopes,
        project=project,
        expires_at=expires_at,
    )
    return token


@pytest.fixture
async def job(anonymous: httpx.AsyncClient) -> Document:
    """A job that the administrator registered."""
    anonymous.headers.update(bearer(ADMIN_TOKEN))
    registration = await register(anonymous)
    del anonymous.headers["authorization"]
    return registration


CALLS = {
    "register": ("POST", "/v1/jobs"),
    "list": ("GET", "/v1/jobs"),
    "get": ("GET", "/v1/jobs/{job}"),
    "events": ("GET", "/v1/jobs/{job}/events"),
    "report": ("POST", "/v1/jobs/{job}/reports"),
    "segments": ("GET", "/v1/jobs/{job}/segments"),
    "override": ("POST", "/v1/jobs/{job}/overrides"),
    "patch": ("PATCH", "/v1/jobs/{job}"),
    "pause": ("POST", "/v1/jobs/{job}:pause"),
    "metrics": ("GET", "/metrics"),
}
ALLOWED: dict[Scope, set[str]] = {
    "admin": set(CALLS),
    "register": {"register", "list", "get", "events", "report", "segments"},
    "job": {"get", "events", "report", "segments"},
    "worker": set(),
    "read": {"list", "get", "events", "metrics"},
}


async def call(
    client: httpx.AsyncClient, name: str, job: Document, token: str | None
) -> httpx.Response:
    method, path = CALLS[name]
    bodies = {
        "register": spec(external_id="another"),
        "report": {"session": job["session"], "records": [began()]},
        "override": {"kind": "multiplier", "multiplier": 0.5},
        "patch": {"name": "renamed"},
    }
    return await client.request(
        method,
        path.format(job=job["job"]),
        json=bodies.get(name),
        headers=[(b"authorization", f"Bearer {token}".encode())] if token is not None else [],
    )


@pytest.mark.parametrize("scope", list(ALLOWED))
async def test_a_scope_opens_its_calls_and_no_others(
    guarded: Services, anonymous: httpx.AsyncClient, job: Document, scope: Scope
) -> None:
    token = await make_token(guarded, scope)
    opened = set()
    for name in CALLS:
        reply = await call(anonymous, name, job, token)
        assert reply.status_code not in (401, 500), reply.text
        if reply.status_code == 403:
            assert reply.json()["code"] == "FORBIDDEN"
        else:
            opened.add(name)
    assert opened == ALLOWED[scope]


async def test_a_job_token_reports_and_reads_for_its_own_job_only(
    guarded: Services, anonymous: httpx.AsyncClient, job: Document
) -> None:
    anonymous.headers.update(bearer(ADMIN_TOKEN))
    other = await register(anonymous, external_id="other")
    del anonymous.headers["authorization"]
    for name in CALLS:
        own = await call(anonymous, name, job, job["token"])
        if name in ALLOWED["job"]:
            assert own.status_code == 200, own.text
            assert (await call(anonymous, name, other, job["token"])).status_code == 401
        else:
            assert own.status_code in (401, 403)


async def test_every_call_without_a_good_token_is_401_and_tells_nothing(
    guarded: Services, anonymous: httpx.AsyncClient, job: Document
) -> None:
    revoked = await make_token(guarded, "admin")
    for stored in await guarded.controller.list_tokens():
        await guarded.controller.revoke_token(stored.id)
    expired = await make_token(guarded, "admin", expires_at=datetime.now(UTC) - timedelta(hours=1))
    forged = job_token(b"another secret", job["job"], job["session"])
    details = set()
    for token in ("nonsense", new_token(), ADMIN_TOKEN + "x", revoked, expired, forged, "é"):
        for name in CALLS:
            reply = await call(anonymous, name, job, token)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"].startswith("Bearer")
            details.add(reply.json()["detail"])
    assert len(details) == 1
    assert (await call(anonymous, "get", job, None)).status_code == 401
    basic = {"authorization": f"Basic {ADMIN_TOKEN}"}
    assert (await anonymous.get("/v1/jobs", headers=basic)).status_code == 401


async def test_a_job_of_another_project_looks_like_one_that_does_not_exist(
    guarded: Services, anonymous: httpx.AsyncClient, job: Document
) -> None:
    stranger = await make_token(guarded, "admin", project="elsewhere")
    for name in CALLS:
        if "{job}" in CALLS[name][1]:
            hidden = await call(anonymous, name, job, stranger)
            missing = await call(anonymous, name, {**job, "job": "missing"}, stranger)
            assert hidden.status_code == missing.status_code == 404
            assert _without_names(hidden, job["job"]) == _without_names(missing, "missing")
    jobs = await anonymous.get("/v1/jobs", headers=bearer(stranger))
    assert jobs.json()["jobs"] == []


async def test_health_and_schema_are_open_to_everybody(anonymous: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json", "/"):
        assert (await anonymous.get(path)).status_code == 200


async def test_without_tokens_registration_hands_out_none(client: httpx.AsyncClient) -> None:
    assert (await register(client))["token"] is None


async def test_a_public_address_needs_an_admin_token(services: Services) -> None:
    public = Settings(host="0.0.0.0")
    with pytest.raises(SettingsError, match="PACESETTER_ADMIN_TOKEN"):
        await open_authenticator(public, services.controller, b"s" * 32)
    await make_token(services, "register")
    with pytest.raises(SettingsError, match="token create"):
        await open_authenticator(public, services.controller, b"s" * 32)
    await make_token(services, "admin")
    assert (await open_authenticator(public, services.controller, b"s" * 32)).required


async def test_a_stored_token_makes_loopback_ask_for_it(services: Services) -> None:
    assert not services.authenticator.required
    await make_token(services, "read")
    again = await open_authenticator(services.settings, services.controller, b"s" * 32)
    assert again.required


def _without_names(reply: httpx.Response, job: str) -> str:
    return reply.text.replace(job, "*")


async def test_predictions_read_no_job_of_another_project(
    anonymous: httpx.AsyncClient, guarded: Services, job: Document
) -> None:
    candidate = {"base_lr": 1e-3, "schedule": {"length": 100}}
    body = {"jobs": [job["job"]], "candidates": {"constant": candidate}}
    stranger = await make_token(guarded, "read", project="elsewhere")
    reply = await anonymous.post("/v1/predictions", json=body, headers=bearer(stranger))
    assert reply.status_code == 404
    friend = await make_token(guarded, "read")
    reply = await anonymous.post("/v1/predictions", json=body, headers=bearer(friend))
    assert (reply.status_code, reply.json()["code"]) == (422, "NO_CURVE")
    registrar = await make_token(guarded, "register")
    for path in ("/v1/predictions", "/v1/recommendations"):
        assert (await anonymous.post(path, json=body)).status_code == 401
    refused = await anonymous.post("/v1/predictions", json=body, headers=bearer(registrar))
    assert refused.status_code == 403
    # What registers jobs asks what to run before it does.
    asked = {"parameters": 124e6, "tokens": 2.5e9}
    answered = await anonymous.post("/v1/recommendations", json=asked, headers=bearer(registrar))
    assert (answered.status_code, answered.json()["id"] is None) == (200, False)
