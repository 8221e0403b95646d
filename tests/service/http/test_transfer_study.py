"""What an experiment says of the best peak at a target, over HTTP."""

import math

import httpx
import pytest

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
