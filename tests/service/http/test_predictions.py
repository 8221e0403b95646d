"""What schedules would end with, asked over HTTP: of curves that come along, and of recorded jobs."""

from typing import Any

import httpx
import numpy as np
import pytest
from pacesetter.schedules import Schedule
from pacesetter_search.laws import FittedMultiPower
from pacesetter_service.http.predictions import main_line
from pacesetter_service.views import CurveView

from tests.service.http.support import began, register, rows, send
from tests.service.http.test_bad_input import problem_of

STEPS, PEAK = 3000, 3e-4
TRUE = FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64, exact=False)
WARMUP = {"length": 150, "start": 0.0}
BODIES: dict[str, dict[str, Any]] = {
    "constant": {"family": "constant"},
    "cosine": {"family": "cosine"},
    "wsd": {"family": "wsd", "cooldown": 0.5},
    "linear": {"family": "linear"},
}


def schedule(name: str, length: int = STEPS) -> dict[str, Any]:
    return {"length": length, "warmup": WARMUP, "body": BODIES[name]}


def truth(name: str) -> tuple[Any, Any]:
    """Return every learning rate and every loss of a run."""
    lrs = PEAK * Schedule.model_validate(schedule(name)).over(np.arange(float(STEPS)))
    return lrs, TRUE.losses(lrs)


def curve(name: str) -> dict[str, Any]:
    lrs, losses = truth(name)
    at = np.arange(150, STEPS + 1, 10)
    return {
        "name": f"run {name}",
        "steps": at.tolist(),
        "lrs": lrs[at - 1].tolist(),
        "losses": losses[at - 1].tolist(),
        "warmup": 140,
    }


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


def test_rows_of_probes_are_no_part_of_the_main_line() -> None:
    """Of a position that was trained twice the last row counts, and rows without a loss are left out."""
    view = CurveView(
        columns={
            "position": [0.0, 5.0, 1.0, 2.0, 1.0],
            "step": [1.0, 2.0, 3.0, 4.0, 5.0],
            "loss": [3.0, 9.0, 2.5, None, 2.4],
            "lr": [0.1, 5.0, 0.1, 0.1, 0.2],
        },
        kinds=["main", "probe", "main", "main", "main"],
        segments=[0, 1, 0, 0, 2],
        sessions=[1] * 5,
        rows_total=5,
    )
    found = main_line("job_1", view)
    assert found is not None
    assert (found.steps, found.losses, found.lrs) == ((1, 2), (3.0, 2.4), (0.1, 0.2))
