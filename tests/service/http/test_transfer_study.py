"""What an experiment says of the best peak at a target, over HTTP."""

import math
from typing import Any

import httpx
import pytest
from pacesetter.protocol import coordinates

from tests.service.http.support import Document
from tests.service.http.test_bad_input import problem_of
from tests.service.http.test_experiments import claim, create, send

BEST = {32: -6.0, 64: -6.2}
"""log2 of the best rate by width."""

SPACE: Document = {
    "lr": {"kind": "range", "low": 2**-10, "high": 2**-2},
    "width": {"kind": "choice", "values": [32, 64]},
}


async def searched(client: httpx.AsyncClient) -> str:
    """Run a grid of two widths and five rates; return the experiment."""
    created = await create(
        client,
        space=SPACE,
        fixed={"steps": 100, "parametrization": "mup"},
        strategy={"name": "grid", "parameters": {"points": 5}},
        max_trials=10,
        regime="pretrain",
    )
    for lease in await claim(client, most=64):
        given = lease["trial"]["parameters"]
        octaves = math.log2(given["lr"]) - BEST[given["width"]]
        cost = {"steps": 100, "tokens": 6400, "flops": 1e6 * given["width"] ** 2, "seconds": 1}
        reply = await send(client, lease, "finish", loss=2.0 + 0.02 * octaves**2, cost=cost)
        assert reply.status_code == 200
    identity: str = created["id"]
    return identity


async def test_the_study_of_an_experiment_finds_the_best_rates_and_says_how_surely(
    client: httpx.AsyncClient,
) -> None:
    path = f"/v1/experiments/{await searched(client)}/study"
    reply = await client.get(path, params={"width": 128})
    assert reply.status_code == 200, reply.text
    study = reply.json()
    assert study["target"] == {"width": 128.0, "depth": 1.0, "steps": 100.0, "batch": 1.0}
    assert [(one["width"], one["trials"], one["diverged"]) for one in study["cells"]] == [
        (32.0, 5, 0),
        (64.0, 5, 0),
    ]
    for one in study["cells"]:
        assert math.log2(one["lr"]) == pytest.approx(BEST[round(one["width"])], abs=0.5)
        assert one["best_lr"] == 2**-6
        assert one["tokens"] == 6400.0
    low, high = study["lr_90"]
    assert low < study["lr"] < high
    assert math.log2(study["lr"]) == pytest.approx(-6.1, abs=1.0)
    assert study["lr"] == pytest.approx(2 ** study["log2_lr"])
    assert study["flops"] == pytest.approx(5e6 * (32**2 + 64**2))
    assert study["slopes"].keys() == {"tokens", "batch", "width", "depth"}
    nearer = (await client.get(path)).json()
    assert nearer["target"]["width"] == 64.0
    assert nearer["sd_octaves"] < study["sd_octaves"]


async def test_an_experiment_that_tells_nothing_of_a_target_says_why(
    client: httpx.AsyncClient,
) -> None:
    fresh = (await create(client))["id"]
    problem = problem_of(await client.get(f"/v1/experiments/{fresh}/study"), 422, "NO_STUDY")
    assert "no trial has ended" in problem["detail"]
    linear = {"lr": {"kind": "range", "low": 0.1, "high": 0.2, "scale": "linear"}}
    other = (await create(client, space=linear))["id"]
    problem = problem_of(await client.get(f"/v1/experiments/{other}/study"), 422, "NO_STUDY")
    assert "in octaves" in problem["detail"]
    path = f"/v1/experiments/{await searched(client)}/study"
    problem = problem_of(await client.get(path, params={"depth": 4}), 422, "NO_STUDY")
    assert "width" in problem["detail"]
    for query in ({"width": 0}, {"width": "wide"}, {"widht": 64}):
        problem_of(await client.get(path, params=query), 422, "INVALID_REQUEST")
    problem_of(await client.get("/v1/experiments/exp_x/study"), 404, "EXPERIMENT_NOT_FOUND")


CHECKED: Document = {
    "space": SPACE,
    "fixed": {"steps": 100, "parametrization": "mup"},
    "strategy": {"name": "grid", "parameters": {"points": 5}},
    "max_trials": 10,
    "regime": "pretrain",
    "coordinates": [32, 64, 128],
}


async def ended(client: httpx.AsyncClient, **changes: Any) -> Document:
    """Run an experiment that asks for a check to the end of its own trials; return where it stands."""
    created = await create(client, **{**CHECKED, **changes})
    assert created["coordinates"] is None
    for lease in await claim(client, most=64):
        given = lease["trial"]["parameters"]
        assert "coordinates" not in given
        octaves = math.log2(given["lr"]) - BEST[given["width"]]
        cost = {"steps": 100, "tokens": 6400.0, "flops": 1e6 * given["width"] ** 2}
        await send(client, lease, "finish", loss=2.0 + 0.02 * octaves**2, cost=cost)
    over: Document = (await client.get(f"/v1/experiments/{created['id']}")).json()
    return over


async def study(client: httpx.AsyncClient, experiment: Document) -> Document:
    reply = await client.get(f"/v1/experiments/{experiment['id']}/study", params={"width": 128})
    assert reply.status_code == 200, reply.text
    answer: Document = reply.json()
    return answer


@pytest.mark.parametrize("slope", [0.05, 0.71])
async def test_a_study_has_the_check_of_coordinates_that_its_experiment_asked_for(
    client: httpx.AsyncClient, slope: float
) -> None:
    over = await ended(client)
    assert (over["status"], over["trials"]["done"]) == ("completed", 10)
    waiting = (await study(client, over))["coordinates"]
    assert (waiting["status"], waiting["experiment"]) == ("pending", over["coordinates"])
    [lease] = await claim(client, most=64)
    best = {**over["best"]["parameters"], "coordinates": "32 64 128"}
    assert lease["trial"]["parameters"] == best
    metrics = coordinates.to_metrics(slope <= 0.15, {"blocks.0": slope, "readout": -0.01})
    await send(client, lease, "finish", loss=slope, metrics=metrics, cost={"flops": 7e8})
    answer = await study(client, over)
    assert answer["coordinates"] == {
        "status": "passed" if slope <= 0.15 else "failed",
        "widths": [32, 64, 128],
        "experiment": over["coordinates"],
        "slopes": {"blocks.0": slope, "readout": -0.01},
        "problem": "",
        "flops": 7e8,
    }
    said = [one for one in answer["warnings"] if "activations" in one or "coordinates" in one]
    assert len(said) == (0 if slope <= 0.15 else 1)
    assert answer["flops"] == pytest.approx(5e6 * (32**2 + 64**2))
    check = (await client.get(f"/v1/experiments/{over['coordinates']}")).json()
    assert (check["status"], check["trials"]["done"]) == ("completed", 1)
    [trial] = (await client.get(f"/v1/experiments/{check['id']}/trials")).json()["trials"]
    assert trial["why"] == (
        f"whether activations keep their size over widths 32, 64, 128, at the parameters of trial "
        f"{over['best']['number']}, the best of {over['id']}"
    )
    assert not await claim(client, most=64)


async def test_the_check_is_made_where_the_flops_are_spent(client: httpx.AsyncClient) -> None:
    over = await ended(client, max_flops=1e9)
    assert (over["status"], over["reason"]) == ("completed", "its 1e+09 FLOPs are spent")
    [lease] = await claim(client)
    assert lease["trial"]["experiment"] == over["coordinates"]


async def test_a_check_that_says_nothing_says_why_and_leaves_the_study(
    client: httpx.AsyncClient,
) -> None:
    silent = await ended(client)
    [lease] = await claim(client)
    await send(client, lease, "finish", loss=2.0, metrics={"parameters": 1e4})
    answer = await study(client, silent)
    assert answer["coordinates"]["status"] == "missing"
    assert "'noop' measured no coordinates" in answer["coordinates"]["problem"]
    assert any("'noop' measured no coordinates" in one for one in answer["warnings"])
    broken = await ended(client)
    [lease] = await claim(client)
    await send(client, lease, "fail", error="Traceback\nValueError: heads of 16")
    found = (await study(client, broken))["coordinates"]
    assert (found["status"], found["problem"]) == (
        "missing",
        "its trial failed: ValueError: heads of 16",
    )
    odd = await ended(client)
    [lease] = await claim(client)
    metrics = {"coordinates_passed": 1, "slope/a": "NaN", "slope/b": 0.1, "slope/c": "Infinity"}
    await send(client, lease, "finish", loss=0.1, metrics=metrics)
    found = (await study(client, odd))["coordinates"]
    assert (found["status"], found["slopes"]) == ("failed", {"b": 0.1})
    cancelled = await ended(client)
    await client.post(f"/v1/experiments/{cancelled['coordinates']}:cancel")
    found = (await study(client, cancelled))["coordinates"]
    assert (found["status"], found["problem"]) == ("missing", "its trial cancelled")


async def test_without_a_good_trial_there_is_no_check(client: httpx.AsyncClient) -> None:
    created = await create(client, **CHECKED)
    for lease in await claim(client, most=64):
        await send(client, lease, "finish", loss="NaN")
    over = (await client.get(f"/v1/experiments/{created['id']}")).json()
    assert (over["status"], over["coordinates"]) == ("completed", None)
    assert not await claim(client, most=64)
    found = (await study(client, over))["coordinates"]
    assert (found["status"], found["problem"]) == (
        "missing",
        "no trial ended well that it could be made at",
    )


async def test_an_experiment_that_was_cancelled_is_not_checked(client: httpx.AsyncClient) -> None:
    created = await create(client, **CHECKED)
    for lease in (await claim(client, most=64))[:8]:
        await send(client, lease, "finish", loss=2.0)
    assert (await study(client, created))["coordinates"]["status"] == "pending"
    await client.post(f"/v1/experiments/{created['id']}:cancel")
    found = (await study(client, created))["coordinates"]
    assert (found["status"], found["problem"]) == (
        "missing",
        "the experiment is cancelled; one that is completed alone is checked",
    )
