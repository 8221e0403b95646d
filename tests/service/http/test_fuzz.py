"""schemathesis over the OpenAPI document: whatever it makes up, no server error and no undocumented answer."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from tests.service.http.curves import upload
from tests.service.http.support import began, rows, spec
from tests.service.http.test_process import DEADLINE_SECONDS, start, url_of

Case: TypeAlias = "schemathesis.Case[Any]"
Operation: TypeAlias = "schemathesis.APIOperation[Any, Any, Any, Any]"

pytestmark = [pytest.mark.faults, pytest.mark.slow]

EXAMPLES = 8
"""Per operation and kind of data; with some thirty operations a few hundred requests a database."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A running service, on a database of its own."""
    arguments: tuple[str, ...] = ()
    if request.param == "postgresql":
        arguments = ("--database", request.getfixturevalue("postgresql_url"))
    process = start(tmp_path, *arguments)
    yield url_of(tmp_path, process)
    process.kill()
    process.wait()


def job_with_history(url: str, name: str) -> dict[str, str]:
    """Register a job that has reported something, for calls that need one; return its registration."""
    reply = httpx.post(f"{url}/v1/jobs", json=spec(external_id=name))
    registration: dict[str, str] = reply.json()
    body = {"session": registration["session"], "records": [began(), rows(2)]}
    path = f"{url}/v1/jobs/{registration['job']}/reports"
    assert httpx.post(path, json=body).status_code == 200
    return registration


def things_of(url: str, label: str) -> dict[str, str]:
    """Upload a curve and wait for its law, for calls that need one; return their ids by the name in the path."""
    # The objective is maximised, so what comes of it is a law that says why it is none: at once, without a fit.
    objective = {"name": "reward", "mode": "max"}
    body = upload(name=label, family=label[:200], objective=objective)
    reply = httpx.post(f"{url}/v1/curves", json=body)
    assert reply.status_code == 201, reply.text
    ends = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < ends:
        laws = httpx.get(f"{url}/v1/laws", params={"key": reply.json()["key"]}).json()["laws"]
        if laws:
            return {"curve": reply.json()["id"], "law": laws[0]["id"]}
        time.sleep(0.1)
    raise AssertionError("the law of the curve did not come")


def lease_of(url: str, label: str) -> dict[str, Any]:
    """Create an experiment and claim its trial, for calls that need one; return the lease."""
    body = {
        "name": label[:200],
        "proxy": "noop",
        "space": {"lr": {"low": 0.001, "high": 0.1, "kind": "range"}},
        "max_trials": 1,
        "strategy": {"name": "random"},
    }
    assert httpx.post(f"{url}/v1/experiments", json=body).status_code == 201
    wish = {"worker": "fuzz", "proxies": ["noop"], "most": 64}
    leases: list[dict[str, Any]] = httpx.post(f"{url}/v1/trials:claim", json=wish).json()["leases"]
    return leases[-1]


def check(case: Case, url: str, job: dict[str, str], lease: dict[str, Any] | None) -> None:
    """Send one made-up request and judge the answer."""
    if case.path == "/v1/curves" and case.method == "POST" and case.media_type != "text/csv":
        # Of JSON the body says all; with a query it gets no further than that.
        case.query = {}
    own = case.path.endswith("/reports") and case.path_parameters.get("job") == job["job"]
    if own and isinstance(case.body, dict):
        # No generator guesses a session; without one a report gets no further than that.
        case.body["session"] = job["session"]
    held = lease is not None and case.path_parameters.get("trial") == lease["trial"]["id"]
    if lease is not None and held and isinstance(case.body, dict):
        # Nor does one guess the token of a lease.
        case.body["token"] = lease["token"]
    # A wait or a stream would only hold up the test.
    if case.path.endswith("/segments"):
        case.query = {**(case.query or {}), "wait": "0", "stream": "false"}
    if case.path.endswith("/trials:claim"):
        case.query = {**(case.query or {}), "wait": "0"}
    response = case.call(base_url=url, timeout=30)
    case.validate_response(response, checks=[not_a_server_error])
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]
        problem: dict[str, Any] = response.json()
        assert problem["code"].replace("_", "").isupper()
        assert problem["status"] == response.status_code


def strategies(operation: Operation, known: dict[str, str]) -> st.SearchStrategy[Any]:
    """Valid and invalid requests, for what is there and for what is made up."""
    kinds = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    made = [operation.as_strategy(generation_mode=kinds[0])]
    if operation.path_parameters or operation.query or operation.body:
        made.append(operation.as_strategy(generation_mode=kinds[1]))
    for name, value in known.items():
        if f"{{{name}}}" in operation.path:
            made.append(operation.as_strategy(path_parameters={name: value}))
    return st.one_of(made)


def fuzz(operation: Operation, url: str) -> None:
    """Try one operation, with a job, a curve, a law, a recommendation and a trial of its own."""
    job = job_with_history(url, operation.label)
    known = {"job": job["job"]}
    lease = None
    if "{trial}" in operation.path or "{experiment}" in operation.path:
        lease = lease_of(url, operation.label)
        known |= {"trial": lease["trial"]["id"], "experiment": lease["trial"]["experiment"]}
    if "{curve}" in operation.path or "{law}" in operation.path:
        known |= things_of(url, operation.label)
    if "{recommendation}" in operation.path:
        asked = {"parameters": 124e6, "tokens": 2.5e9}
        reply = httpx.post(f"{url}/v1/recommendations", json=asked)
        known["recommendation"] = reply.json()["id"]

    @seed(20260101)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies(operation, known))
    def try_one(case: Case) -> None:
        check(case, url, job, lease)

    try_one()


def test_no_request_finds_a_server_error(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    found = list(schema.get_all_operations())
    operations = [result.ok() for result in found if isinstance(result, Ok)]
    assert len(operations) == len(found) >= 47
    for operation in operations:
        fuzz(operation, url)
    assert httpx.get(f"{url}/readyz").status_code == 200
