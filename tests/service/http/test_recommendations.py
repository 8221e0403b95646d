"""What to run, asked over HTTP: with no data, with optima of one's own, and with nonsense."""

import math
from typing import Any

import httpx
import pytest

from tests.search.transfer.optima import STEP_LAW
from tests.service.http.test_bad_input import problem_of

ASKED = {"parameters": 124e6, "tokens": 2.5e9}


async def test_from_an_empty_database_published_laws_answer(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/recommendations", params=ASKED)
    assert reply.status_code == 200
    found = reply.json()
    assert found["status"] == "ok"
    assert found["lr_90"][0] < found["lr"] < found["lr_90"][1]
    assert "published laws only" in found["warnings"][0]
    assert {one["kind"] for one in found["evidence"]} == {"law"}
    peaks = [one["name"].partition(":")[0] for one in found["evidence"] if one["about"] == "peak"]
    assert peaks == ["hinge", "step_law", "deepseek", "porian", "kaplan"]


async def test_optima_narrow_the_interval_and_are_named(client: httpx.AsyncClient) -> None:
    optima = [
        {
            "parameters": one.parameters,
            "tokens": one.tokens,
            "batch_tokens": one.batch,
            "lr": one.lr,
            "name": f"sweep {place}",
        }
        for place, one in enumerate(STEP_LAW[:4], 1)
    ]
    alone = (await client.post("/v1/recommendations", json=ASKED)).json()
    backed = (await client.post("/v1/recommendations", json={**ASKED, "evidence": optima})).json()
    widths = [math.log2(found["lr_90"][1] / found["lr_90"][0]) for found in (alone, backed)]
    assert widths[1] < 0.7 * widths[0]
    assert {"sweep 1", "sweep 4"} <= {one["name"] for one in backed["evidence"]}


async def test_a_sweep_of_runs_is_evidence(client: httpx.AsyncClient) -> None:
    sweep = {
        "parameters": 124e6,
        "tokens": 1.28e9,
        "batch_tokens": 51200,
        "runs": [
            {"lr": 1e-4, "loss": 3.19},
            {"lr": 5e-4, "loss": 3.05},
            {"lr": 1e-3, "loss": 3.04},
        ],
        "name": "three peaks",
    }
    alone = (await client.post("/v1/recommendations", json=ASKED)).json()
    reply = await client.post("/v1/recommendations", json={**ASKED, "sweeps": [sweep]})
    assert reply.status_code == 200, reply.text
    backed = reply.json()
    widths = [math.log2(found["lr_90"][1] / found["lr_90"][0]) for found in (alone, backed)]
    assert widths[1] < 0.8 * widths[0]
    source = next(one for one in backed["evidence"] if one["name"] == "three peaks")
    assert 5e-4 < source["lr"] < 2e-3
    assert source["weight"] > 0.2


async def test_the_widest_sweep_is_answered_too(client: httpx.AsyncClient) -> None:
    runs = [{"lr": lr, "loss": 3.0, "sd": 1.0} for lr in (1e-12, 1e4)]
    sweep = {"parameters": 1e8, "tokens": 1e9, "batch_tokens": 1e5, "runs": runs}
    reply = await client.post("/v1/recommendations", json={**ASKED, "sweeps": [sweep]})
    assert reply.status_code == 200, reply.text
    assert reply.json()["evidence"][0]["weight"] < 0.05


@pytest.mark.parametrize("other", [{"lr": 1e-3, "loss": 3.0}, {"lr": 1e-2, "loss": 3.4}])
async def test_a_sweep_that_says_nothing_is_refused(
    client: httpx.AsyncClient, other: dict[str, float]
) -> None:
    runs = [{"lr": 1e-3, "loss": 3.0}, other]
    sweep = {"parameters": 1e8, "tokens": 1e9, "batch_tokens": 1e5, "runs": runs}
    reply = await client.post("/v1/recommendations", json={**ASKED, "sweeps": [sweep]})
    assert "two or more" in str(problem_of(reply, 422, "INVALID_REQUEST"))


async def test_the_schedule_is_one_that_a_job_can_register(client: httpx.AsyncClient) -> None:
    found = (await client.post("/v1/recommendations", json={**ASKED, "extendable": True})).json()
    body = {
        "name": "recommended",
        "external_id": "recommended-1",
        "nonce": "start-1",
        "budget": {"clock": "steps", "total": found["steps"]},
        "base": found["schedule"],
        "groups": [{"name": "all", "base_lr": found["lr"]}],
    }
    reply = await client.post("/v1/jobs", json=body)
    assert reply.status_code == 201, reply.text


async def test_without_evidence_it_says_so_and_names_a_study(client: httpx.AsyncClient) -> None:
    found = (await client.get("/v1/recommendations", params={**ASKED, "regime": "lora"})).json()
    assert (found["status"], found["lr"]) == ("no_evidence", None)
    assert "sweep the peak" in found["study"]["text"]
    assert found["study"]["total_tokens"] == 3 * found["study"]["tokens"]


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": "many"},
        {"tokens": 0},
        {"parameters": "NaN"},
        {"batch_tokens": 1e12},
        {"regime": "astrology"},
        {"budget": 5},
        {"steps": 10, "batch_tokens": 1000},
        {"steps": 100, "warmup_steps": 100},
        {"schedule_family": "wsdd"},
        {"schedule_family": "uba"},
        {"schedule_family": "cosine", "extendable": "true"},
        {"floor": 1},
        {"beta2": "Infinity"},
        {"momentum": 1},
        {"max_batch_tokens": 1, "batch_tokens": 1000},
        {"steps": 10**19},
    ],
    ids=str,
)
async def test_nonsense_is_a_problem_document(
    client: httpx.AsyncClient, changes: dict[str, Any]
) -> None:
    asked = {**ASKED, **changes}
    problem_of(await client.get("/v1/recommendations", params=asked), 422, "INVALID_REQUEST")
    problem_of(await client.post("/v1/recommendations", json=asked), 422, "INVALID_REQUEST")


async def test_what_is_fixed_is_asked_flat_and_kept(client: httpx.AsyncClient) -> None:
    fixed = {"steps": 50_000, "schedule_family": "wsd", "floor": 0.1, "warmup_steps": 250}
    asked: dict[str, Any] = {**ASKED, **fixed, "family": "llm"}
    found = (await client.get("/v1/recommendations", params=asked)).json()
    assert found["status"] == "ok", found
    assert (found["steps"], found["batch_tokens"], found["warmup_steps"]) == (50_000, 50_000, 250)
    assert found["schedule"]["body"]["family"] == "wsd"
    assert found["schedule"]["floor"] == 0.1
    assert found["target"]["family"] == "llm"
    posted = (await client.post("/v1/recommendations", json=asked)).json()
    assert posted.pop("id").startswith("rec_")
    assert found.pop("id") is None
    assert posted == found


async def test_an_objective_other_than_the_loss_takes_a_sweep_in_it(
    client: httpx.AsyncClient,
) -> None:
    flat: dict[str, Any] = {**ASKED, "objective": "accuracy", "mode": "max"}
    found = (await client.get("/v1/recommendations", params=flat)).json()
    assert found["status"] == "no_evidence"
    assert "the objective is 'accuracy' (max)" in found["warnings"][0]
    runs = [{"lr": lr, "loss": value} for lr, value in ((1e-4, 0.6), (4e-4, 0.7), (1.6e-3, None))]
    sweep = {"parameters": 1e8, "tokens": 1e9, "batch_tokens": 1e5, "runs": runs}
    body = {**ASKED, "objective": {"name": "accuracy", "mode": "max"}, "sweeps": [sweep]}
    reply = await client.post("/v1/recommendations", json=body)
    assert "2 peaks that ended" in str(problem_of(reply, 422, "INVALID_REQUEST"))
    runs[2]["loss"] = 0.6
    answered = (await client.post("/v1/recommendations", json=body)).json()
    assert answered["status"] == "ok"
    assert answered["loss"] is None


async def test_a_schedule_that_cannot_be_laid_over_the_run_is_a_problem(
    client: httpx.AsyncClient,
) -> None:
    asked: dict[str, Any] = {**ASKED, "schedule_family": "inverse_sqrt", "warmup_steps": 0}
    reply = await client.get("/v1/recommendations", params=asked)
    problem = problem_of(reply, 422, "IMPOSSIBLE_TARGET")
    assert "set warmup, or timescale" in problem["detail"]
    assert "Loosen" in problem["hint"]


@pytest.mark.parametrize(
    "runs",
    [
        [{"lr": 1e-3, "loss": 3.0}],
        [{"lr": 1e-3, "loss": 3.0}, {"lr": 1e-3, "loss": 3.0}],
        [{"lr": 1e-3, "loss": 3.0}, {"lr": 2e-3, "loss": "NaN"}],
        [{"lr": 0, "loss": 3.0}, {"lr": 2e-3, "loss": 3.0}],
        [{"lr": 1e-3, "loss": None}, {"lr": 2e-3, "loss": None}],
        [{"lr": 1e-3, "loss": 0}, {"lr": 2e-3, "loss": 0}],
    ],
    ids=str,
)
async def test_runs_that_tell_no_best_peak_are_a_problem(
    client: httpx.AsyncClient, runs: list[dict[str, Any]]
) -> None:
    sweep = {"parameters": 1e8, "tokens": 1e9, "batch_tokens": 1e5, "runs": runs}
    reply = await client.post("/v1/recommendations", json={**ASKED, "sweeps": [sweep]})
    problem_of(reply, 422, "INVALID_REQUEST")


async def test_runs_that_all_end_alike_are_no_confident_number(client: httpx.AsyncClient) -> None:
    """A constant loss over four octaves: the best peak may be anywhere between them."""
    runs = [{"lr": 1e-4 * 2.0**place, "loss": 3.0} for place in range(5)]
    sweep = {"parameters": 124e6, "tokens": 2.5e9, "batch_tokens": 1e5, "runs": runs}
    alone = (await client.post("/v1/recommendations", json=ASKED)).json()
    found = (await client.post("/v1/recommendations", json={**ASKED, "sweeps": [sweep]})).json()
    widths = [math.log2(one["lr_90"][1] / one["lr_90"][0]) for one in (found, alone)]
    assert widths[0] > 0.5 * widths[1]
