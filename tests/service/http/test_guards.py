import httpx
import pytest
from pacesetter_service.http.guards import LocalOnlyGuard, NulGuard, host_name, origin_host
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8642", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:8642", "::1"),
        ("", None),
        ("evil.com@localhost", None),
        ("localhost/../evil", None),
        ("localhost:port", None),
        ("[::1", None),
    ],
)
def test_the_host_is_read_from_the_header(header: str, host: str | None) -> None:
    assert host_name(header) == host


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("http://localhost:3000", "localhost"),
        ("https://evil.com", "evil.com"),
        ("null", None),
        ("file://localhost", None),
        ("chrome-extension://abc", None),
    ],
)
def test_the_host_is_read_from_the_origin(header: str, host: str | None) -> None:
    assert origin_host(header) == host


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 200, ""),
        ({"host": "127.0.0.1:99"}, 200, ""),
        ({"host": "[::1]:99"}, 200, ""),
        ({"host": "box.local"}, 200, ""),
        ({"origin": "http://localhost:1"}, 200, ""),
        ({"host": "rebound.example"}, 403, "FOREIGN_HOST"),
        ({"host": "localhost.example.com"}, 403, "FOREIGN_HOST"),
        ({"host": ""}, 403, "FOREIGN_HOST"),
        ({"origin": "https://example.com"}, 403, "FOREIGN_ORIGIN"),
        ({"origin": "null"}, 403, "FOREIGN_ORIGIN"),
    ],
)
async def test_without_tokens_only_this_machine_is_served(
    headers: dict[str, str], status: int, code: str
) -> None:
    app = LocalOnlyGuard(PlainTextResponse("in"), frozenset({"box.local"}), lambda _: True)
    async with client_of(app) as client:
        reply = await client.get("/", headers=headers)
    assert reply.status_code == status
    if code:
        assert reply.json()["code"] == code


async def test_with_tokens_any_host_is_served() -> None:
    app = LocalOnlyGuard(PlainTextResponse("in"), frozenset(), lambda _: False)
    async with client_of(app) as client:
        reply = await client.get("/", headers={"host": "pacesetter.example.com"})
    assert reply.text == "in"


@pytest.mark.parametrize("path", ["/v1/jobs/a%00b", "/v1/jobs?page_token=%00"])
async def test_nul_is_refused_in_path_and_query(path: str) -> None:
    async with client_of(NulGuard(PlainTextResponse("in"))) as client:
        reply = await client.get(path)
    assert reply.status_code == 400
    assert reply.json()["code"] == "INVALID_REQUEST"
    assert "\0" not in reply.json()["instance"]
