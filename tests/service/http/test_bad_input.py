"""Whatever is sent: a problem document with code and hint, nothing lost, no 500."""

import gzip
import json
from typing import Any

import httpx
import pytest

from tests.service.http.support import began, register, rows, send, spec

JSON = {"content-type": "application/json"}


def problem_of(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = reply.json()
    assert document["code"] == code
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["hint"]
    assert document["instance"] == reply.request.url.path
    return document


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"budget": {"total": 0}}, "budget.total"),
        ({"budget": {"total": -5}}, "budget.total"),
        ({"base": {"length": 10, "body": {"family": "zigzag"}}}, "base.body"),
        ({"base": {"length": 10, "version": 2}}, "base.version"),
        ({"base": {"length": 10, "peak": "NaN"}}, "base.peak"),
        ({"groups": []}, "groups"),
        ({"groups": [{"name": "a", "base_lr": 1}, {"name": "a", "base_lr": 1}]}, "body"),
        ({"budgett": {"total": 5}}, "budgett"),
        ({"name": "tab\tbed"}, "name"),
        ({"overhead_cap": -1}, "overhead_cap"),
        ({"tags": {"notes": "x" * 70_000}}, "tags"),
        ({"tags": {f"tag {index}": 1 for index in range(101)}}, "tags"),
        ({"overhead_cap": "NaN"}, "overhead_cap"),
        ({"groups": [{"name": "a", "base_lr": "Infinity"}]}, "groups[0].base_lr"),
        (
            {"groups": [{"name": "a", "base_lr": 1, "weight_decay": "Infinity"}]},
            "groups[0].weight_decay",
        ),
        ({"limits": {"max_multiplier": "Infinity"}}, "limits.max_multiplier"),
    ],
)
async def test_a_wrong_field_is_named(
    client: httpx.AsyncClient, changes: dict[str, Any], place: str
) -> None:
    document = problem_of(
        await client.post("/v1/jobs", json=spec(**changes)), 422, "INVALID_REQUEST"
    )
    assert place in [error["at"] for error in document["errors"]]


async def test_a_wrong_value_is_not_echoed(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/jobs", json=spec(seed="hunter2"))
    assert "hunter2" not in reply.text


async def test_an_unknown_strategy_is_refused_with_those_that_fit(
    client: httpx.AsyncClient,
) -> None:
    reply = await client.post("/v1/jobs", json=spec(strategy={"name": "astrology"}))
    assert reply.status_code == 422
    document = reply.json()
    assert document["code"]
    assert "fixed" in reply.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "EMPTY_BODY"),
        (b"{", 400, "INVALID_JSON"),
        (b'{"a": "\xff"}', 400, "INVALID_JSON"),
        (b'{"a": "\\ud800"}', 400, "INVALID_JSON"),
        (b'{"seed": NaN}', 400, "INVALID_JSON"),
        (b'{"seed": -Infinity}', 400, "INVALID_JSON"),
        (b"[" * 5000, 400, "INVALID_JSON"),
        (b"[]", 422, "INVALID_REQUEST"),
        (b"null", 422, "INVALID_REQUEST"),
    ],
)
async def test_a_body_that_is_not_a_json_object(
    client: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    problem_of(await client.post("/v1/jobs", content=body, headers=JSON), status, code)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400])
async def test_integers_beyond_64_bits_are_refused(client: httpx.AsyncClient, value: int) -> None:
    body = json.dumps(spec(budget={"total": 10}, tags={"n": 1})).replace('"n": 1', f'"n": {value}')
    problem_of(await client.post("/v1/jobs", content=body, headers=JSON), 422, "INVALID_REQUEST")


async def test_nul_is_refused_in_free_texts(client: httpx.AsyncClient) -> None:
    for tags in ({"a": "x\0"}, {"a": [{"b": "\0"}]}):
        problem_of(await client.post("/v1/jobs", json=spec(tags=tags)), 422, "INVALID_REQUEST")


async def test_an_escaped_backslash_before_u0000_is_no_nul(client: httpx.AsyncClient) -> None:
    registration = await register(client, tags={"a": "\\u0000"})
    reply = await client.get(f"/v1/jobs/{registration['job']}")
    assert reply.json()["tags"] == {"a": "\\u0000"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content-type": "text/csv"}, "UNSUPPORTED_MEDIA_TYPE"),
        ({"content-type": ""}, "UNSUPPORTED_MEDIA_TYPE"),
        ({**JSON, "content-encoding": "br"}, "UNSUPPORTED_ENCODING"),
    ],
)
async def test_other_types_and_encodings_are_refused(
    client: httpx.AsyncClient, headers: dict[str, str], code: str
) -> None:
    problem_of(await client.post("/v1/jobs", content=b"{}", headers=headers), 415, code)


async def test_a_gzip_body_is_read(client: httpx.AsyncClient) -> None:
    reply = await client.post(
        "/v1/jobs",
        content=gzip.compress(json.dumps(spec()).encode()),
        headers={**JSON, "content-encoding": "gzip"},
    )
    assert reply.status_code == 201


GZIPPED = gzip.compress(b"{}", mtime=0)  # with the clock in it no two collections are the same


@pytest.mark.parametrize(
    "body",
    [b"plain", GZIPPED[:-4], GZIPPED + b"x", GZIPPED[:5]],
    ids=["plain", "no checksum", "more behind it", "header only"],
)
async def test_broken_gzip_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    reply = await client.post(
        "/v1/jobs", content=body, headers={**JSON, "content-encoding": "gzip"}
    )
    problem_of(reply, 400, "INVALID_GZIP")


async def test_a_gzip_bomb_is_cut_off(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(bytes(256 * 1024 * 1024))
    assert len(bomb) < 1024 * 1024
    reply = await client.post(
        "/v1/jobs", content=bomb, headers={**JSON, "content-encoding": "gzip"}
    )
    problem_of(reply, 413, "BODY_TOO_LARGE")


async def test_a_report_of_10_megabytes_is_refused_with_advice(client: httpx.AsyncClient) -> None:
    registration = await register(client)
    path = f"/v1/jobs/{registration['job']}/reports"
    reply = await client.post(path, content=b" " * 10_000_000, headers=JSON)
    assert "several smaller ones" in problem_of(reply, 413, "BODY_TOO_LARGE")["hint"]


async def test_a_registration_of_10_megabytes_is_refused_with_advice(
    client: httpx.AsyncClient,
) -> None:
    reply = await client.post("/v1/jobs", json=spec(tags={"notes": "x" * 10_000_000}))
    assert "leave out of its tags" in problem_of(reply, 413, "BODY_TOO_LARGE")["hint"]


async def test_a_body_that_does_not_say_its_length_is_bounded_too(
    client: httpx.AsyncClient,
) -> None:
    async def chunks() -> Any:
        for _ in range(10):
            yield b" " * 1_000_000

    reply = await client.post("/v1/jobs", content=chunks(), headers=JSON)
    problem_of(reply, 413, "BODY_TOO_LARGE")


async def test_non_finite_losses_are_data(client: httpx.AsyncClient) -> None:
    registration = await register(client)
    loss = ["NaN", "Infinity", "-Infinity", 1.5, None]
    reply = await send(client, registration, began(), rows(2, count=5, loss=loss))
    assert reply["last_record"] == 2
    curve = await client.get(f"/v1/jobs/{registration['job']}/curve")
    assert curve.status_code == 200
    assert curve.json()["columns"]["loss"] == loss


async def test_steps_out_of_order_are_a_problem_of_their_record_only(
    client: httpx.AsyncClient,
) -> None:
    registration = await register(client)
    reply = await send(
        client, registration, began(), rows(2, first=10), rows(3, first=0), rows(4, first=20)
    )
    assert reply["last_record"] == 4
    assert [(problem["number"], problem["code"]) for problem in reply["problems"]] == [
        (3, "STEP_OUT_OF_ORDER")
    ]


async def test_a_segment_acknowledged_twice_is_a_problem_of_the_second_only(
    client: httpx.AsyncClient,
) -> None:
    registration = await register(client)
    reply = await send(client, registration, began())
    pages = await client.get(f"/v1/jobs/{registration['job']}/segments")
    seq = pages.json()["segments"][0]["seq"]
    acknowledgement = {
        "type": "acknowledgement",
        "segment": seq,
        "position": 1,
        "status": "applied",
    }
    reply = await send(
        client,
        registration,
        {**acknowledgement, "number": 2},
        {**acknowledgement, "number": 3},
    )
    assert reply["last_record"] == 3
    assert [problem["code"] for problem in reply["problems"]] == ["ALREADY_ACKNOWLEDGED"]


@pytest.mark.parametrize(
    "record",
    [
        {"type": "horoscope", "number": 1, "segment": 0, "position": 0},
        {**rows(1), "columns": {"step": [1.0]}},
        {**rows(1), "columns": {"step": [1.0], "position": [1.0, 2.0]}},
        {**rows(1), "columns": {"step": [], "position": []}},
        {**began(), "number": 0},
        {**began(), "position": 2**63},
        {**began(), "position": -1},
    ],
)
async def test_a_record_that_does_not_fit_is_refused_whole(
    client: httpx.AsyncClient, record: dict[str, Any]
) -> None:
    registration = await register(client)
    reply = await client.post(
        f"/v1/jobs/{registration['job']}/reports",
        json={"session": registration["session"], "records": [record]},
    )
    problem_of(reply, 422, "INVALID_REQUEST")


async def test_a_report_to_an_unknown_job_or_session(client: httpx.AsyncClient) -> None:
    registration = await register(client)
    body = {"session": registration["session"], "records": [began()]}
    assert (await client.post("/v1/jobs/nothing/reports", json=body)).status_code == 404
    reply = await client.post(
        f"/v1/jobs/{registration['job']}/reports", json={**body, "session": "other"}
    )
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "UNKNOWN_PATH"),
        ("DELETE", "/v1/jobs", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/jobs?page_size=0", 422, "INVALID_REQUEST"),
        ("GET", "/v1/jobs?page_size=many", 422, "INVALID_REQUEST"),
        ("GET", "/v1/jobs?status=happy", 422, "INVALID_REQUEST"),
        ("GET", "/v1/jobs/a%20b", 422, "INVALID_REQUEST"),
    ],
)
async def test_wrong_paths_methods_and_parameters(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    problem_of(await client.request(method, path), status, code)
