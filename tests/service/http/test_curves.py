"""Curves of runs that have ended, over HTTP: uploaded, listed, left out, deleted; and what cannot be used."""

import csv
import gzip
import io
import json
import math
from typing import Any

import httpx
import numpy as np
import pytest
from pacesetter.curves import MOST_POINTS
from pacesetter_service.http.services import Services

from tests.service.http.conftest import ADMIN_TOKEN
from tests.service.http.curves import PEAK, STEPS, truth, upload
from tests.service.http.test_auth import bearer, make_token
from tests.service.http.test_bad_input import problem_of

CSV = {"content-type": "text/csv"}


async def sent(
    client: httpx.AsyncClient, body: str = "cosine", /, **changes: Any
) -> dict[str, Any]:
    """Upload a curve and return the reply."""
    reply = await client.post("/v1/curves", json=upload(body, **changes))
    assert reply.status_code == 201, reply.text
    document: dict[str, Any] = reply.json()
    assert reply.headers["location"] == f"/v1/curves/{document['id']}"
    return document


async def listed(client: httpx.AsyncClient, **wanted: Any) -> list[str]:
    reply = await client.get("/v1/curves", params=wanted)
    assert reply.status_code == 200, reply.text
    return [one["name"] for one in reply.json()["curves"]]


def table(header: str, *columns: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header.split(","), *zip(*columns, strict=True)])
    return text.getvalue().encode()


async def test_an_upload_is_recorded_with_what_evidence_needs(client: httpx.AsyncClient) -> None:
    found = await sent(client, weight_decay=0.1, optimizer="AdamW", validated=True)
    record = found["record"]
    assert (found["source"], found["job"], found["excluded"]) == ("upload", None, False)
    assert (record["id"], record["steps"]) == (found["id"], STEPS)
    assert record["tokens"] == STEPS * 51_200
    assert record["peak_lr"] == pytest.approx(PEAK, rel=1e-3)
    assert record["final_loss"] == pytest.approx(float(truth("cosine")[1][-1]))
    assert record["shape_octaves"] == pytest.approx(-0.05, abs=0.03)
    assert (record["optimizer"], record["weight_decay"]) == ("adamw", 0.1)
    assert record["workload"]["family"] == "gpt"
    # Its rows, and the two that say how the rate rose before the first.
    assert found["points"] == 288


async def test_the_same_curve_twice_is_the_same_curve(client: httpx.AsyncClient) -> None:
    first = await sent(client)
    again = await client.post("/v1/curves", json=upload())
    assert (again.status_code, again.json()) == (200, first)
    assert (await sent(client, weight_decay=0.1))["id"] != first["id"]
    assert len(await listed(client)) == 2


async def test_an_idempotency_key_answers_twice(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "one"}
    first = await client.post("/v1/curves", json=upload(), headers=headers)
    again = await client.post("/v1/curves", json=upload(), headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    other = await client.post("/v1/curves", json=upload("wsd"), headers=headers)
    problem_of(other, 422, "IDEMPOTENCY_KEY_REUSED")


async def test_points_come_back_as_they_were(client: httpx.AsyncClient) -> None:
    found = await sent(client)
    reply = await client.get(f"/v1/curves/{found['id']}", params={"max_points": MOST_POINTS})
    columns = reply.json()["columns"]
    body = upload()
    assert columns["step"] == [0.0, 140.0, *body["steps"]]
    assert columns["lr"] == [0.0, body["lrs"][0], *body["lrs"]]
    assert columns["loss"] == [None, None, *body["losses"]]
    few = (await client.get(f"/v1/curves/{found['id']}?max_points=20")).json()["columns"]
    assert 5 <= len(few["loss"]) <= 20
    assert max(filter(None, few["loss"])) == max(body["losses"])


async def test_a_long_curve_is_averaged_on_arrival(client: httpx.AsyncClient) -> None:
    lrs, losses = truth("wsd", 20_000)
    noise = 0.01 * np.random.default_rng(0).standard_normal(20_000)
    rows = {
        "steps": list(range(1, 20_001)),
        "lrs": lrs.tolist(),
        "losses": (losses + noise).tolist(),
        "warmup": 0,
    }
    body = gzip.compress(json.dumps(upload(**rows)).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    reply = await client.post("/v1/curves", content=body, headers=headers)
    assert reply.status_code == 201, reply.text
    found = reply.json()
    assert found["points"] <= MOST_POINTS
    assert found["record"]["final_loss"] == pytest.approx(losses[-1000:].mean(), abs=1e-3)
    assert found["record"]["steps"] == 20_000


async def test_pages_and_filters(client: httpx.AsyncClient) -> None:
    for number in range(3):
        await sent(client, name=f"run {number}", weight_decay=number / 10)
    await client.post("/v1/curves", json=upload(family="bert", regime="finetune", name="other"))
    first = (await client.get("/v1/curves", params={"page_size": 3})).json()
    rest = (
        await client.get(
            "/v1/curves", params={"page_size": 3, "page_token": first["next_page_token"]}
        )
    ).json()
    names = [one["name"] for page in (first, rest) for one in page["curves"]]
    assert names == ["other", "run 2", "run 1", "run 0"]
    assert rest["next_page_token"] == ""
    assert await listed(client, family="bert") == ["other"]
    assert await listed(client, regime="finetune", family="gpt") == []
    assert await listed(client, source="job") == []
    assert await listed(client, job="job_1") == []
    problem_of(await client.get("/v1/curves?page_token=x"), 422, "BAD_PAGE_TOKEN")
    problem_of(await client.get("/v1/curves?regime=astrology"), 422, "INVALID_REQUEST")


async def test_a_curve_may_be_renamed_and_left_out(client: httpx.AsyncClient) -> None:
    found = await sent(client)
    path = f"/v1/curves/{found['id']}"
    renamed = (await client.patch(path, json={"name": "the good one"})).json()
    assert (renamed["name"], renamed["record"]["name"]) == ("the good one", "the good one")
    assert renamed["key"] == found["key"] != ""
    out = (await client.patch(path, json={"excluded": True})).json()
    assert (out["excluded"], out["key"]) == (True, "")
    back = (await client.patch(path, json={"excluded": False})).json()
    assert back == {**renamed, "excluded": False}
    problem_of(await client.patch(path, json={}), 422, "INVALID_REQUEST")


async def test_an_upload_may_be_deleted(client: httpx.AsyncClient) -> None:
    path = f"/v1/curves/{(await sent(client))['id']}"
    assert (await client.delete(path)).status_code == 204
    problem_of(await client.get(path), 404, "CURVE_NOT_FOUND")
    problem_of(await client.delete(path), 404, "CURVE_NOT_FOUND")
    problem_of(await client.patch(path, json={"excluded": True}), 404, "CURVE_NOT_FOUND")


# -- as a table --


async def test_a_csv_is_a_curve(client: httpx.AsyncClient) -> None:
    body = upload()
    content = table("step,lr,loss", body["steps"], body["lrs"], body["losses"])
    about: dict[str, str | float] = {
        "name": "run cosine",
        "family": "gpt",
        "parameters": 124e6,
        "batch_tokens": 51_200,
        "warmup": 140,
    }
    reply = await client.post("/v1/curves", content=content, params=about, headers=CSV)
    assert reply.status_code == 201, reply.text
    # The same as JSON, to the id.
    assert (await client.post("/v1/curves", json=body)).json() == reply.json()


async def test_a_csv_may_call_its_columns_as_it_likes(client: httpx.AsyncClient) -> None:
    steps, lrs, losses = [1, 2, 3], [0.1, "", 0.3], [3.0, 2.0, "nan"]
    content = table("iter,learning_rate,val_loss", steps, lrs, losses)
    reply = await client.post(
        "/v1/curves", content=content, params={"name": "a", "objective": "nll"}, headers=CSV
    )
    record = reply.json()["record"]
    assert (record["validated"], record["final_loss"]) == (True, None)
    assert record["workload"]["objective"]["name"] == "nll"
    content = table("t,eta,nats,loss", steps, lrs, losses, [9, 9, 9])
    named = {"name": "a", "step_column": "t", "lr_column": "eta", "loss_column": "nats"}
    reply = await client.post("/v1/curves", content=content, params=named, headers=CSV)
    columns = (await client.get(f"/v1/curves/{reply.json()['id']}")).json()["columns"]
    assert columns == {"step": [1, 2, 3], "lr": [0.1, 0.2, 0.3], "loss": [3.0, 2.0, "Infinity"]}


@pytest.mark.parametrize(
    ("content", "query", "status", "code"),
    [
        (b"step,lr,loss\n1,0.1,3\n2,0.1,2\n", {}, 422, "INVALID_REQUEST"),
        (b"step,lr,loss\n1,0.1,3\n", {"name": "a", "fam": "x"}, 422, "INVALID_REQUEST"),
        (b"step,lr,perte\n1,0.1,3\n", {"name": "a"}, 422, "NO_SUCH_COLUMN"),
        (b"step,lr,loss\n1,0.1,high\n", {"name": "a"}, 422, "BAD_CELL"),
        (b"step,lr,loss\n2,1,3\n1,1,2\n", {"name": "a"}, 422, "STEPS_NOT_RISING"),
        (b"\xff\xfe", {"name": "a"}, 400, "INVALID_CSV"),
        (b"", {"name": "a"}, 422, "TOO_FEW_POINTS"),
    ],
    ids=str,
)
async def test_a_csv_that_cannot_be_read_is_a_problem_document(
    client: httpx.AsyncClient, content: bytes, query: dict[str, str], status: int, code: str
) -> None:
    reply = await client.post("/v1/curves", content=content, params=query, headers=CSV)
    document = problem_of(reply, status, code)
    assert "--" not in document["hint"]


# -- must show 9: bad input --

SHUFFLED = np.random.default_rng(0).permutation(286)
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "constant loss": ({"losses": [2.0] * 286}, "CONSTANT_LOSS", "all 286 losses are 2"),
    "nan only": ({"losses": ["NaN"] * 286}, "NO_FINITE_LOSS", "no loss is a finite number"),
    "null only": ({"losses": [None] * 286}, "NO_FINITE_LOSS", "no loss is a finite number"),
    "shuffled steps": (
        {"steps": np.array(upload()["steps"])[SHUFFLED].tolist()},
        "STEPS_NOT_RISING",
        "follows step",
    ),
    "one point": (
        {"steps": [9], "lrs": [0.1], "losses": [2.0], "warmup": 0},
        "TOO_FEW_POINTS",
        "single loss",
    ),
    "negative rate": ({"lrs": [-1e-3] * 286}, "BAD_LEARNING_RATE", "-0.001 is below zero"),
    "rate in another unit": ({"lrs": [51_200] * 286}, "BAD_LEARNING_RATE", "another unit"),
    "rate of zero": ({"lrs": [0] * 286}, "BAD_LEARNING_RATE", "every learning rate is zero"),
    "no rate": ({"lrs": [None] * 286}, "BAD_LEARNING_RATE", "there is no learning rate"),
    "tokens for steps": (
        {"steps": [51_200 * step for step in upload()["steps"]]},
        "STEPS_NOT_RISING",
        "100,000,000 is the most",
    ),
    "contradictory units": (
        {"tokens": 1e9},
        "CONTRADICTORY_UNITS",
        "3,000 steps of 51200 tokens are 1.536e+08, and tokens are 1e+09",
    ),
    "warm-up as long as the run": ({"warmup": 3000}, "BAD_WARMUP", "leaves nothing of 3000"),
    "columns of different lengths": ({"steps": [1, 2]}, "INVALID_REQUEST", "give each row all"),
    "text for a loss": ({"losses": ["low"] * 286}, "INVALID_REQUEST", "losses[0]"),
    "no rows": ({"steps": [], "lrs": [], "losses": []}, "INVALID_REQUEST", "at least 1 item"),
    "a regime that is none": ({"regime": "astrology"}, "INVALID_REQUEST", "regime"),
    "a name with control characters": ({"name": "a\tb"}, "INVALID_REQUEST", "name"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_curve_that_cannot_be_used_is_a_problem_document(
    client: httpx.AsyncClient, case: str
) -> None:
    changes, code, words = BAD[case]
    document = problem_of(await client.post("/v1/curves", json=upload(**changes)), 422, code)
    assert words in document["detail"]
    assert await listed(client) == []


async def test_ten_million_points_are_told_to_average_first(
    client: httpx.AsyncClient, services: Services
) -> None:
    """A body above the limit, whether it says so or not; the hint names what averages before it sends."""
    limit = services.settings.max_body_bytes
    rows = b"step,lr,loss\n" + b"1,0.1,2.0\n" * 10_000_000
    assert len(rows) > limit
    reply = await client.post("/v1/curves", content=rows, params={"name": "a"}, headers=CSV)
    assert "pacesetter curves upload" in problem_of(reply, 413, "BODY_TOO_LARGE")["hint"]
    packed = gzip.compress(rows, 1)
    assert len(packed) < limit
    headers = {**CSV, "content-encoding": "gzip"}
    reply = await client.post("/v1/curves", content=packed, params={"name": "a"}, headers=headers)
    problem_of(reply, 413, "BODY_TOO_LARGE")


async def test_stretches_at_rate_zero_are_part_of_a_curve(client: httpx.AsyncClient) -> None:
    lrs = np.array(upload()["lrs"])
    lrs[100:150] = 0.0
    found = await sent(client, lrs=lrs.tolist())
    assert found["record"]["peak_lr"] == pytest.approx(PEAK, rel=1e-3)
    assert abs(found["record"]["shape_octaves"]) < 0.3


async def test_a_run_that_diverged_is_kept_as_one(client: httpx.AsyncClient) -> None:
    losses = [*upload()["losses"][:-1], "NaN"]
    found = await sent(client, losses=losses)
    assert found["record"]["final_loss"] is None


async def test_json_is_described_in_its_body_alone(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/curves", json=upload(), params={"family": "x"})
    assert "'family'" in problem_of(reply, 422, "INVALID_REQUEST")["detail"]
    reply = await client.post("/v1/curves", content=b"x", headers={"content-type": "text/plain"})
    assert "text/csv" in problem_of(reply, 415, "UNSUPPORTED_MEDIA_TYPE")["hint"]


# -- who may --


async def test_each_scope_may_do_its_part(anonymous: httpx.AsyncClient, guarded: Services) -> None:
    register = bearer(await make_token(guarded, "register"))
    reads = bearer(await make_token(guarded, "read"))
    works = bearer(await make_token(guarded, "worker"))
    admin = bearer(ADMIN_TOKEN)
    body = upload()
    assert (await anonymous.post("/v1/curves", json=body)).status_code == 401
    assert (await anonymous.post("/v1/curves", json=body, headers=reads)).status_code == 403
    path = f"/v1/curves/{(await anonymous.post('/v1/curves', json=body, headers=register)).json()['id']}"
    for allowed in (reads, register, admin):
        assert (await anonymous.get("/v1/curves", headers=allowed)).status_code == 200
        assert (await anonymous.get(path, headers=allowed)).status_code == 200
    assert (await anonymous.get(path, headers=works)).status_code == 403
    for refused in (reads, register):
        patched = await anonymous.patch(path, json={"excluded": True}, headers=refused)
        assert patched.status_code == 403
        assert (await anonymous.delete(path, headers=refused)).status_code == 403
    assert (await anonymous.delete(path, headers=admin)).status_code == 204


async def test_a_curve_of_another_project_looks_like_none(
    anonymous: httpx.AsyncClient, guarded: Services
) -> None:
    ours = bearer(await make_token(guarded, "register", "admin", project="ours"))
    theirs = bearer(await make_token(guarded, "register", "admin", project="theirs"))
    path = f"/v1/curves/{(await anonymous.post('/v1/curves', json=upload(), headers=ours)).json()['id']}"
    for call in (
        anonymous.get(path, headers=theirs),
        anonymous.patch(path, json={"excluded": True}, headers=theirs),
        anonymous.delete(path, headers=theirs),
    ):
        problem_of(await call, 404, "CURVE_NOT_FOUND")
    assert (await anonymous.get("/v1/curves", headers=theirs)).json()["curves"] == []
    # The same content is a curve of its own there.
    again = await anonymous.post("/v1/curves", json=upload(), headers=theirs)
    assert again.status_code == 201
    assert math.isclose(again.json()["record"]["peak_lr"], PEAK, rel_tol=1e-3)
