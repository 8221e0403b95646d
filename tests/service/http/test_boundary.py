"""What happens when all else failed, and what the log says of a request."""

import json
import logging
from collections.abc import Iterator

import httpx
import pytest
from pacesetter_service.app import app_for
from pacesetter_service.http.boundary import Boundary
from pacesetter_service.http.metrics import Metrics
from pacesetter_service.http.services import Services
from pacesetter_service.logs import configure_logs
from starlette.types import Receive, Scope, Send

from tests.service.http.support import register


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("the password is hunter2")


async def half_broken(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("too late")


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """Give the root logger its handlers back after a test that configures logs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers, root.level = handlers, level


async def test_an_unexpected_error_is_a_500_that_leaks_nothing() -> None:
    metrics = Metrics()
    transport = httpx.ASGITransport(Boundary(broken, metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        reply = await client.get("/v1/jobs", headers={"x-request-id": "find-me"})
    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "INTERNAL_ERROR"
    assert "find-me" in reply.json()["hint"]
    assert "hunter2" not in reply.text
    assert "RuntimeError" not in reply.text
    assert 'status="500"} 1.0' in metrics.render().decode()


async def test_an_error_after_the_answer_began_closes_the_connection() -> None:
    transport = httpx.ASGITransport(Boundary(half_broken, Metrics()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        with pytest.raises(RuntimeError, match="too late"):
            await client.get("/")


async def test_the_json_log_names_the_request_and_no_secret(
    services: Services,
    root_logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("json", "debug")
    transport = httpx.ASGITransport(app_for(services))
    headers = {"authorization": "Bearer secret-of-mine", "x-request-id": "find-me"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers=headers
    ) as client:
        await register(client)
    log = capsys.readouterr().err
    assert "secret-of-mine" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/jobs", 201)
    assert line["request_id"] == "find-me"
    assert line["level"] == "debug"
