"""A wrong token over a real connection: the service tells and stores nothing, the job trains on and loses nothing."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pacesetter import cli

from tests.faults.harness import ControllerProcess
from tests.protocol.test_modes import STEPS, positions, train
from tests.service.http.support import spec

TOKEN = "an-admin-token-of-32-characters-"
CALLS = [
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs/some/reports"),
    ("GET", "/v1/jobs/some/segments?after=0&wait=0"),
    ("POST", "/v1/jobs/some/overrides"),
    ("GET", "/v1/jobs/some/events"),
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerProcess]:
    """A controller that asks for a token."""
    process = ControllerProcess(tmp_path_factory.mktemp("guarded"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PACESETTER_ADMIN_TOKEN", TOKEN)
        process.start()
    process.api.headers["authorization"] = f"Bearer {TOKEN}"
    yield process
    process.stop()


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_every_call_is_answered_by_a_problem_document(
    guarded: ControllerProcess, method: str, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"authorization": header}
    body = spec() if method == "POST" else None
    reply = httpx.request(method, guarded.url + path, json=body, headers=headers)
    assert reply.status_code == 401
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["www-authenticate"].startswith("Bearer")
    problem = reply.json()
    assert problem["code"] == "UNAUTHENTICATED"
    assert "token" in problem["hint"]
    assert guarded.job_id(spec()["external_id"]) is None


def test_a_job_with_a_wrong_token_trains_on_and_its_records_arrive_with_the_right_one(
    guarded: ControllerProcess,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with caplog.at_level(logging.INFO, logger="pacesetter"):
        result = train(
            "wrong-token",
            url=guarded.url,
            token="pst_unknown",
            directory=tmp_path,
            register_seconds=0.2,
        )
    assert (result.completed, result.steps, result.job) == (True, STEPS, None)
    assert result.unsent_records > 0
    assert caplog.text.count("does not take this job") == 1
    assert "pst_unknown" not in caplog.text
    assert guarded.job_id("wrong-token") is None

    monkeypatch.setenv("PACESETTER_TOKEN", TOKEN)
    assert cli.main(["sync", str(tmp_path), "--url", guarded.url]) == 0
    job = guarded.job_id("wrong-token")
    assert job is not None
    assert positions(guarded, job) == list(range(STEPS))
