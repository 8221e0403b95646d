"""What schedules would end with, asked over HTTP: of curves that come along, and of recorded jobs."""

import tracemalloc
from typing import Any

import httpx
import numpy as np
import pytest
from pacesetter.schedules import Schedule
from pacesetter_search.laws.choice import TUNABLE

from tests.service.http.curves import BODIES, PEAK, STEPS, TRUE, curve, schedule, truth
from tests.service.http.support import began, register, rows, send
from tests.service.http.test_bad_input import problem_of

CANDIDATES = {name: {"schedule": schedule(name), "base_lr": PEAK} for name in BODIES}


async def test_curves_that_come_along_rank_the_schedules(client: httpx.AsyncClient) -> None:
    body = {
        "curves": [curve("constant"), curve("cosine")],
        "candidates": CANDIDATES,
        "reference": "cosine",
    }
    reply = await client.post("/v1/predictions", json=body)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    losses = {name: float(truth(name)[1][-1]) for name in BODIES}
    order = [one["name"] for one in found["candidates"]]
    assert losses[order[0]] - min(losses.values()) < 2e-3
    for one in found["candidates"]:
        low, high = one["loss_90"]
        assert low < losses[one["name"]] < high
    assert [one["name"] for one in found["evidence"]] == ["run constant", "run cosine"]
    assert all(one["residual"] < 3e-3 for one in found["evidence"])


async def test_recorded_jobs_are_evidence(client: httpx.AsyncClient) -> None:
    jobs = []
    for name in ("constant", "cosine"):
        lrs, losses = truth(name)
        job = await register(
            client,
            external_id=name,
            budget={"clock": "steps", "total": STEPS},
            base=schedule(name),
            groups=[{"name": "all", "base_lr": PEAK}],
        )
        records = [began()]
        for number, first in enumerate(range(0, STEPS, 200), 2):
            part = slice(first, first + 200)
            columns = {"lr": lrs[part].tolist(), "loss": losses[part].tolist()}
            records.append(rows(number, first, 200, **columns))
        await send(client, job, *records)
        jobs.append(job["job"])
    body = {"jobs": jobs, "candidates": CANDIDATES}
    reply = await client.post("/v1/predictions", json=body)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert [(one["name"], one["steps"]) for one in found["evidence"]] == [
        (job, STEPS) for job in jobs
    ]
    (wsd,) = [one for one in found["candidates"] if one["name"] == "wsd"]
    assert wsd["loss"] == pytest.approx(float(truth("wsd")[1][-1]), rel=5e-3)


async def test_the_usual_schedules_are_compared_where_none_is_named(
    client: httpx.AsyncClient,
) -> None:
    body = {
        "curves": [curve("constant"), curve("cosine")],
        "usual": {"steps": STEPS, "base_lr": PEAK, "warmup": 150},
        "reference": "cosine",
    }
    found = (await client.post("/v1/predictions", json=body)).json()
    names = [one["name"] for one in found["candidates"]]
    assert len(names) == 34
    assert {"linear", "rex", "wsd linear 0.4", "wsd sqrt 0.2", "power", "one cycle"} <= set(names)
    (cosine,) = [one for one in found["candidates"] if one["name"] == "cosine"]
    assert cosine["gain"] == 0.0
    body["usual"] = {"steps": 100, "base_lr": PEAK, "warmup": 100}
    problem_of(await client.post("/v1/predictions", json=body), 422, "INVALID_REQUEST")


async def test_schedules_are_made_for_the_law_where_that_is_asked_for(
    client: httpx.AsyncClient,
) -> None:
    usual: dict[str, Any] = {"steps": STEPS, "base_lr": PEAK, "warmup": 150}
    body: dict[str, Any] = {
        "curves": [curve("constant"), curve("cosine")],
        "reference": "cosine",
    }
    plain = (await client.post("/v1/predictions", json={**body, "usual": usual})).json()
    asked = {**body, "usual": {**usual, "tune": True}}
    reply = await client.post("/v1/predictions", json=asked)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert plain["tuned"] == []
    assert found["candidates"] == plain["candidates"]
    made = {one["name"]: one for one in found["tuned"]}
    assert set(made) == {"free", *(f"{family}, tuned" for family in TUNABLE)}
    assert [one["rank"] for one in made.values()] == sorted(one["rank"] for one in made.values())
    # What a law promises what was made for it is no evidence: a place and a shrunken gain are all that is said.
    assert not any("loss" in name for one in made.values() for name in one)
    assert found["tuned"][0]["rank"] == 1
    cosine = float(truth("cosine")[1][-1])
    for one in made.values():
        rates = PEAK * Schedule.model_validate(one["schedule"]).over(np.arange(float(STEPS)))
        if one["schedule"]["unit"] == "absolute":
            rates = rates / PEAK
        true = (cosine - float(TRUE.predict(rates).mean[0])) / cosine
        assert abs(one["gain"] - 0.46 * true) < 3e-3, one["name"]
        assert rates.max() < 1.001 * PEAK
    wsd = made["wsd linear, tuned"]
    assert wsd["schedule"]["body"]["cooldown"] == pytest.approx(wsd["parameters"]["cooldown"])
    assert 0.05 <= wsd["parameters"]["cooldown"] <= 0.9
    assert any("nobody has run" in each for each in made["free"]["warnings"])


async def test_nothing_is_made_outside_of_what_was_fitted(client: httpx.AsyncClient) -> None:
    usual = {"steps": STEPS, "base_lr": 3 * PEAK, "warmup": 150, "tune": True}
    body: dict[str, Any] = {
        "curves": [curve("constant"), curve("cosine")],
        "usual": usual,
        "candidates": {"free": CANDIDATES["wsd"]},
    }
    found = (await client.post("/v1/predictions", json=body)).json()
    assert found["tuned"] == []
    assert "above the largest fitted rate" in found["refused"]["rex, tuned"]
    assert "a candidate has this name" in found["refused"]["free"]
    body["usual"] = {**usual, "base_lr": PEAK, "steps": 17 * STEPS}
    found = (await client.post("/v1/predictions", json=body)).json()
    assert found["tuned"] == []
    assert "more than 16 times" in found["refused"]["tune"]
    body["usual"] = {**usual, "steps": 1_000_001}
    problem_of(await client.post("/v1/predictions", json=body), 422, "INVALID_REQUEST")


async def test_runs_of_a_hundred_million_steps_need_no_value_a_step(
    client: httpx.AsyncClient,
) -> None:
    """A rate for each step of both runs and of the candidate would take 2.4 GB."""
    last = 100_000_000
    steps = [last * place // 100 for place in range(1, 101)]
    falls = [3.0 + (step / 1e6) ** -0.5 for step in steps]
    flat = {"name": "flat", "steps": steps, "lrs": [1e-3] * 100, "losses": falls}
    late = [max(0.0, place / 100 - 0.7) for place in range(1, 101)]
    decayed = {
        **flat,
        "name": "decayed",
        "lrs": [1e-3 * (1.0 - 3.0 * share) for share in late],
        "losses": [loss - 0.1 * share for loss, share in zip(falls, late, strict=True)],
    }
    wsd = {"length": last, "body": {"family": "wsd", "cooldown": 0.3}, "floor": 0.1}
    tracemalloc.start()
    reply = await client.post(
        "/v1/predictions",
        json={
            "curves": [flat, decayed],
            "candidates": {"wsd": {"schedule": wsd, "base_lr": 1e-3}},
        },
    )
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reply.status_code == 200, reply.text
    assert reply.json()["candidates"][0]["loss"] == pytest.approx(3.07, abs=0.05)
    assert most < 500e6


async def test_what_lies_outside_of_the_curves_is_refused_by_name(
    client: httpx.AsyncClient,
) -> None:
    higher = {"schedule": schedule("cosine"), "base_lr": 10 * PEAK}
    body = {
        "curves": [curve("constant"), curve("cosine")],
        "candidates": {**CANDIDATES, "higher": higher},
    }
    found = (await client.post("/v1/predictions", json=body)).json()
    assert list(found["refused"]) == ["higher"]
    assert "above the largest fitted rate" in found["refused"]["higher"]


async def test_a_run_that_does_not_decay_is_answered_with_a_warning(
    client: httpx.AsyncClient,
) -> None:
    body = {"curves": [curve("constant")], "candidates": CANDIDATES}
    found = (await client.post("/v1/predictions", json=body)).json()
    assert any("do not tell the response to decay" in each for each in found["warnings"])


def spoiled(**changes: Any) -> dict[str, Any]:
    return {**curve("cosine"), **changes}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"candidates": CANDIDATES}, "INVALID_REQUEST"),
        ({"curves": [curve("cosine")], "candidates": {}}, "INVALID_REQUEST"),
        ({"curves": [spoiled(steps=[3, 2, 1])], "candidates": CANDIDATES}, "INVALID_REQUEST"),
        (
            {
                "curves": [spoiled(steps=[*range(1, 287)])],
                "candidates": CANDIDATES,
                "reference": "nobody",
            },
            "INVALID_REQUEST",
        ),
        ({"curves": [spoiled(lrs=[-1.0] * 286)], "candidates": CANDIDATES}, "INVALID_REQUEST"),
        ({"curves": [spoiled(losses=[None] * 286)], "candidates": CANDIDATES}, "NOT_FITTED"),
        ({"curves": [spoiled(lrs=[0.0] * 286)], "candidates": CANDIDATES}, "NOT_FITTED"),
        ({"curves": [spoiled(losses=[-1.0] * 286)], "candidates": CANDIDATES}, "NOT_FITTED"),
        ({"curves": [spoiled(losses=[2.0] * 286)], "candidates": CANDIDATES}, "NOT_FITTED"),
    ],
    ids=str,
)
async def test_nonsense_is_a_problem_document(
    client: httpx.AsyncClient, body: dict[str, Any], code: str
) -> None:
    problem_of(await client.post("/v1/predictions", json=body), 422, code)


async def test_a_job_without_losses_or_in_tokens_is_a_problem_document(
    client: httpx.AsyncClient,
) -> None:
    job = await register(client)
    body = {"jobs": [job["job"]], "candidates": CANDIDATES}
    problem_of(await client.post("/v1/predictions", json=body), 422, "NO_CURVE")
    body["jobs"] = ["job_unknown"]
    reply = await client.post("/v1/predictions", json=body)
    assert reply.status_code == 404
    tokens = await register(client, external_id="tokens", budget={"clock": "tokens", "total": 1000})
    body["jobs"] = [tokens["job"]]
    problem_of(await client.post("/v1/predictions", json=body), 422, "CLOCK_NOT_STEPS")
