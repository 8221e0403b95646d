"""Experiments and trials over HTTP: what may be asked, by whom, and what is refused in which words."""

import asyncio
from typing import Any

import httpx
import pytest
from pacesetter.protocol import MAX_ERROR, Claimed, ExperimentSpec
from pacesetter_service.experiments.repository import queue_of
from pacesetter_service.http.services import Services

from tests.service.http.conftest import ADMIN_TOKEN
from tests.service.http.support import DEADLINE_SECONDS, Document, listening
from tests.service.http.test_auth import bearer, make_token
from tests.service.http.test_bad_input import problem_of

PATH = "/v1/experiments"
JSON = {"content-type": "application/json"}
BODY: Document = {
    "name": "rates",
    "proxy": "noop",
    "space": {"lr": {"kind": "range", "low": 2**-10, "high": 2**-3}},
    "fixed": {"width": 32},
    "strategy": {"name": "grid", "parameters": {"points": 3}},
    "max_trials": 3,
}


async def create(client: httpx.AsyncClient, **changes: Any) -> Document:
    reply = await client.post(PATH, json={**BODY, **changes})
    assert reply.status_code == 201, reply.text
    document: Document = reply.json()
    assert reply.headers["location"] == f"{PATH}/{document['id']}"
    return document


async def claim(client: httpx.AsyncClient, most: int = 1, proxy: str = "noop") -> list[Document]:
    body = {"worker": "w", "proxies": [proxy], "most": most}
    reply = await client.post("/v1/trials:claim", json=body)
    assert reply.status_code == 200, reply.text
    Claimed.model_validate(reply.json())
    leases: list[Document] = reply.json()["leases"]
    return leases


async def send(client: httpx.AsyncClient, lease: Document, verb: str, **body: Any) -> Any:
    path = f"/v1/trials/{lease['trial']['id']}:{verb}"
    return await client.post(path, json={"token": lease["token"], **body})


async def test_an_experiment_from_its_creation_to_its_end(client: httpx.AsyncClient) -> None:
    created = await create(client)
    assert created["status"] == "running"
    assert created["trials"] == {
        **dict.fromkeys(("leased", "done", "failed", "cancelled", "diverged"), 0),
        "queued": 3,
    }
    assert ExperimentSpec.model_validate(created["spec"]).max_trials == 3
    first, second, third = await claim(client, most=64)
    assert first["trial"]["parameters"].keys() == {"lr", "width"}
    assert {lease["seconds"] for lease in (first, second, third)} == {60.0}
    points = [{"step": step, "lr": 0.01, "loss": 3.0 - step / 10} for step in (1, 2)]
    points.append({"step": 3, "loss": "NaN"})  # type: ignore[dict-item]
    beat = await send(client, first, "heartbeat", step=3, points=points)
    assert (beat.status_code, beat.json()) == (200, {"cancel": False})
    cost = {"steps": 3, "tokens": 192.0, "flops": 5e9, "seconds": 1.5}
    done = await send(client, first, "finish", loss=2.5, metrics={"top": "NaN"}, cost=cost)
    assert (done.status_code, done.json()["status"]) == (200, "done")
    assert done.json()["metrics"] == {"top": "NaN"}
    assert done.json()["schedule"] is None
    assert (await send(client, second, "finish", loss="Infinity")).json()["diverged"] is True
    failed = await send(client, third, "fail", error="Traceback\nKeyError: 'width'")
    assert (failed.json()["status"], failed.json()["error"][-7:]) == ("failed", "'width'")
    over = (await client.get(f"{PATH}/{created['id']}")).json()
    assert (over["status"], over["reason"]) == ("completed", "its strategy plans no more trials")
    assert over["cost"] == cost
    assert over["best"]["id"] == first["trial"]["id"]
    shown = (await client.get(f"/v1/trials/{first['trial']['id']}")).json()
    assert shown["columns"] == {
        "step": [1.0, 2.0, 3.0],
        "lr": [0.01, 0.01, None],
        "loss": [2.9, 2.8, "NaN"],
    }
    listed = (await client.get(f"{PATH}/{created['id']}/trials")).json()["trials"]
    assert [one["number"] for one in listed] == [1, 2, 3]
    assert listed[0] == {name: value for name, value in shown.items() if name != "columns"}
    assert listed[0]["why"] == "cell 1 of the 3 of the grid"
    assert listed[0]["numbers"] == {"cell": 1, "cells": 3}
    (item,) = (await client.get(PATH, params={"status": "completed"})).json()["experiments"]
    assert item == over


async def test_one_key_is_one_experiment(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "experiment-1"}
    one = await client.post(PATH, json=BODY, headers=headers)
    other = await client.post(PATH, json=BODY, headers=headers)
    assert one.json() == other.json()
    assert other.headers["idempotency-replayed"] == "true"
    assert len((await client.get(PATH)).json()["experiments"]) == 1
    reply = await client.post(PATH, json={**BODY, "seed": 2}, headers=headers)
    problem_of(reply, 422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        pytest.param(
            {"space": {"lr": {"kind": "range", "low": 1, "high": 1}}},
            "space.lr.range",
            "is not below",
            id="an empty range",
        ),
        pytest.param(
            {"space": {"lr": {"kind": "range", "low": 0, "high": 1}}},
            "space.lr.range",
            'scale "linear"',
            id="a logarithm of zero",
        ),
        pytest.param(
            {"space": {"lr": {"kind": "choice", "values": []}}},
            "space.lr.choice.values",
            "at least 1",
            id="nothing to choose from",
        ),
        pytest.param(
            {"space": {"lr": {"kind": "normal", "mean": 1}}}, "space.lr", "tag", id="other kind"
        ),
        pytest.param({"fixed": {"lr": 0.1}}, "body", "not both", id="searched and fixed"),
        pytest.param({"proxy": "os:system; rm"}, "proxy", "pattern", id="no entry point"),
        pytest.param({"max_trials": 0}, "max_trials", "greater", id="no trials"),
        pytest.param({"max_flops": "Infinity"}, "max_flops", "finite", id="endless FLOPs"),
        pytest.param({"fixed": {"x": "NaN", "y": None}}, "fixed.y.bool", "valid", id="null"),
        pytest.param({"trails": 3}, "trails", "Extra", id="misspelt"),
    ],
)
async def test_an_impossible_experiment_names_the_field(
    client: httpx.AsyncClient, changes: Document, place: str, words: str
) -> None:
    problem = problem_of(await client.post(PATH, json={**BODY, **changes}), 422, "INVALID_REQUEST")
    found = {error["at"]: error["message"] for error in problem["errors"]}
    assert words in found[place]
    assert (await client.get(PATH)).json()["experiments"] == []


async def test_a_strategy_that_cannot_plan_it_says_why_and_which_can(
    client: httpx.AsyncClient,
) -> None:
    reply = await client.post(PATH, json={**BODY, "max_trials": 2})
    problem = problem_of(reply, 422, "STRATEGY_CANNOT_PLAN")
    assert "a grid of 3 = 3 cells is more than the 2 trials" in problem["detail"]
    assert {"at": "strategy", "fits": "random"} in problem["errors"]
    unknown = await client.post(PATH, json={**BODY, "strategy": {"name": "tpe"}})
    assert "grid" in problem_of(unknown, 422, "UNKNOWN_STRATEGY")["hint"]
    wrong = {"name": "grid", "parameters": {"points": 0}}
    reply = await client.post(PATH, json={**BODY, "strategy": wrong})
    assert "points" in problem_of(reply, 422, "BAD_STRATEGY_PARAMETERS")["detail"]


async def test_a_metric_named_twice_is_refused_and_the_lease_holds(
    client: httpx.AsyncClient,
) -> None:
    await create(client)
    (lease,) = await claim(client)
    path, token = f"/v1/trials/{lease['trial']['id']}:finish", lease["token"]
    twice = f'{{"token": "{token}", "loss": 1, "metrics": {{"top": 1, "top": 2}}}}'
    problem = problem_of(await client.post(path, content=twice, headers=JSON), 422, "REPEATED_NAME")
    assert "'top' twice" in problem["detail"]
    assert (await send(client, lease, "finish", loss=1.0)).status_code == 200
    space = '"lr": {"kind": "range", "low": 1, "high": 2}'
    body = f'{{"name": "x", "proxy": "noop", "max_trials": 1, "space": {{{space}, {space}}}}}'
    problem_of(await client.post(PATH, content=body, headers=JSON), 422, "REPEATED_NAME")
    # Found in one look at each name: in one at each pair of them this would take hours.
    many = ", ".join(f'"n{number}": 0' for number in [*range(400_000), 7])
    strategy = f'"strategy": {{"name": "random", "parameters": {{{many}}}}}'
    body = f'{{"name": "x", "proxy": "noop", "max_trials": 1, "space": {{{space}}}, {strategy}}}'
    problem = problem_of(await client.post(PATH, content=body, headers=JSON), 422, "REPEATED_NAME")
    assert "'n7' twice" in problem["detail"]


@pytest.mark.parametrize(
    ("verb", "body", "place"),
    [
        ("heartbeat", {"points": [{"step": -1, "loss": 1}]}, "points[0].step"),
        ("heartbeat", {"points": [{"step": 1}]}, "points[0].loss"),
        ("heartbeat", {"step": 1.5}, "step"),
        ("finish", {}, "loss"),
        ("finish", {"loss": "small"}, "loss"),
        ("finish", {"loss": 1, "cost": {"flops": -1}}, "cost.flops"),
        ("finish", {"loss": 1, "metrics": {"": 1}}, "metrics..[key]"),
        (
            "finish",
            {"loss": 1, "schedule": {"length": 0, "body": {"family": "linear"}}},
            "schedule.length",
        ),
        ("fail", {"error": ""}, "error"),
        ("fail", {"error": "x" * (MAX_ERROR + 1)}, "error"),
        ("return", {"why": "tired"}, "why"),
    ],
)
async def test_a_wrong_word_of_a_worker_is_named_and_costs_it_nothing(
    client: httpx.AsyncClient, verb: str, body: Document, place: str
) -> None:
    await create(client)
    (lease,) = await claim(client)
    problem = problem_of(await send(client, lease, verb, **body), 422, "INVALID_REQUEST")
    assert place in [error["at"] for error in problem["errors"]]
    assert (await send(client, lease, "heartbeat", step=1)).status_code == 200


@pytest.mark.parametrize("verb", ["heartbeat", "finish", "fail", "return"])
async def test_a_token_of_no_live_lease_is_a_conflict(client: httpx.AsyncClient, verb: str) -> None:
    await create(client)
    (lease,) = await claim(client)
    bodies: dict[str, Document] = {"finish": {"loss": 1.0}, "fail": {"error": "x"}}
    body = bodies.get(verb, {})
    reply = await send(client, {**lease, "token": "another"}, verb, **body)
    problem = problem_of(reply, 409, "LEASE_LOST")
    assert lease["trial"]["id"] in problem["detail"]
    assert "claim anew" in problem["hint"]
    trial = (await client.get(f"/v1/trials/{lease['trial']['id']}")).json()
    assert (trial["status"], trial["attempts"]) == ("leased", 1)


async def test_what_is_not_there_is_a_problem(client: httpx.AsyncClient) -> None:
    for path in (f"{PATH}/exp_x", f"{PATH}/exp_x/trials"):
        problem_of(await client.get(path), 404, "EXPERIMENT_NOT_FOUND")
    problem_of(await client.post(f"{PATH}/exp_x:cancel"), 404, "EXPERIMENT_NOT_FOUND")
    problem_of(await client.get("/v1/trials/trl_x"), 404, "TRIAL_NOT_FOUND")
    lease = {"trial": {"id": "trl_x"}, "token": "t"}
    problem_of(await send(client, lease, "finish", loss=1.0), 404, "TRIAL_NOT_FOUND")
    for query in ({"page_token": "x"}, {"page_token": "-1"}):
        created = await create(client)
        reply = await client.get(f"{PATH}/{created['id']}/trials", params=query)
        problem_of(reply, 422, "BAD_PAGE_TOKEN")


async def test_a_cancelled_experiment_tells_its_workers(client: httpx.AsyncClient) -> None:
    created = await create(client)
    (lease,) = await claim(client)
    cancelled = (await client.post(f"{PATH}/{created['id']}:cancel")).json()
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "local cancelled it")
    assert (await send(client, lease, "heartbeat")).json() == {"cancel": True}
    assert (await send(client, lease, "return")).json()["status"] == "cancelled"
    assert await claim(client) == []


async def test_a_worker_s_token_runs_trials_of_its_project_and_no_more(
    anonymous: httpx.AsyncClient, guarded: Services
) -> None:
    ours = bearer(await make_token(guarded, "register", project="ours"))
    worker = bearer(await make_token(guarded, "worker", project="ours"))
    foreign = bearer(await make_token(guarded, "worker", project="theirs"))
    reader = bearer(await make_token(guarded, "read", project="ours"))
    wish = {"worker": "w", "proxies": ["noop"]}
    for token in (worker, reader):
        reply = await anonymous.post(PATH, json=BODY, headers=token)
        problem_of(reply, 403, "FORBIDDEN")
    created = (await anonymous.post(PATH, json=BODY, headers=ours)).json()
    for token in (ours, reader):
        problem_of(
            await anonymous.post("/v1/trials:claim", json=wish, headers=token), 403, "FORBIDDEN"
        )
    problem_of(await anonymous.post("/v1/trials:claim", json=wish), 401, "UNAUTHENTICATED")
    none = await anonymous.post("/v1/trials:claim", json=wish, headers=foreign)
    assert none.json() == {"leases": []}
    (lease,) = (await anonymous.post("/v1/trials:claim", json=wish, headers=worker)).json()[
        "leases"
    ]
    path, body = f"/v1/trials/{lease['trial']['id']}:finish", {"token": lease["token"], "loss": 1.0}
    problem_of(await anonymous.post(path, json=body, headers=foreign), 404, "TRIAL_NOT_FOUND")
    problem_of(await anonymous.post(path, json=body, headers=ours), 403, "FORBIDDEN")
    done = await anonymous.post(path, json=body, headers=worker)
    assert done.json()["status"] == "done"
    own = f"{PATH}/{created['id']}"
    problem_of(await anonymous.post(f"{own}:cancel", headers=worker), 403, "FORBIDDEN")
    problem_of(await anonymous.get(own, headers=foreign), 404, "EXPERIMENT_NOT_FOUND")
    for token in (worker, reader, ours, bearer(ADMIN_TOKEN)):
        assert (await anonymous.get(own, headers=token)).json()["trials"]["done"] == 1


async def test_the_strategies_of_experiments_are_listed_with_their_parameters(
    client: httpx.AsyncClient,
) -> None:
    listed = (await client.get("/v1/strategies")).json()["experiments"]
    found = {one["name"]: one for one in listed}
    assert {"grid", "random"} <= found.keys()
    assert found["grid"]["tier"] == "supported"
    assert "points" in found["grid"]["parameters"]["properties"]
    assert found["grid"]["summary"].startswith("Tries every combination")


async def test_metrics_count_what_workers_did(client: httpx.AsyncClient) -> None:
    await create(client)
    first, second = await claim(client, most=2)
    await send(client, first, "finish", loss=1.0)
    await send(client, second, "return")
    text = (await client.get("/metrics")).text
    assert 'pacesetter_trials_total{what="claimed"} 2.0' in text
    assert 'pacesetter_trials_total{what="finished"} 1.0' in text
    assert 'pacesetter_trials_total{what="returned"} 1.0' in text


async def until_one_waits(services: Services) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not services.controller._wakeups.waiting(queue_of("default")):
            await asyncio.sleep(0.01)


async def test_a_claim_waits_over_http_for_the_first_trial(services: Services) -> None:
    async with listening(services) as url, httpx.AsyncClient(base_url=url) as client:
        wish = {"worker": "w", "proxies": ["noop"]}
        waiting = asyncio.create_task(client.post("/v1/trials:claim?wait=30", json=wish))
        await until_one_waits(services)
        created = await create(client)
        (lease,) = (await waiting).json()["leases"]
    assert lease["trial"]["experiment"] == created["id"]


async def test_what_hung_up_while_it_waited_is_leased_no_trial(services: Services) -> None:
    wish = {"worker": "killed", "proxies": ["noop"]}
    async with listening(services) as url, httpx.AsyncClient(base_url=url) as client:
        async with httpx.AsyncClient(base_url=url) as impatient:
            with pytest.raises(httpx.ReadTimeout):
                await impatient.post("/v1/trials:claim?wait=30", json=wish, timeout=0.5)
        await create(client)
        assert len(await claim(client, most=4)) == 3


async def test_a_claim_that_waits_does_not_hold_up_the_end(services: Services) -> None:
    wish = {"worker": "w", "proxies": ["noop"]}
    async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
        async with listening(services) as url:
            asking = client.post(f"{url}/v1/trials:claim?wait=30", json=wish)
            waiting = asyncio.create_task(asking)
            await until_one_waits(services)
        assert (await waiting).json() == {"leases": []}


@pytest.mark.parametrize("wait", ["-1", "31", "nan", "soon"])
async def test_a_wait_out_of_range_is_refused(client: httpx.AsyncClient, wait: str) -> None:
    wish = {"worker": "w", "proxies": ["noop"]}
    reply = await client.post("/v1/trials:claim", params={"wait": wait}, json=wish)
    problem_of(reply, 422, "INVALID_REQUEST")
