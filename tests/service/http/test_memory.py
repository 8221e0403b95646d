"""What a project remembers, over HTTP; and how a run is left out."""

from typing import Any

import httpx
import pytest
from pacesetter_service.http.services import Services

from tests.service.http.conftest import ADMIN_TOKEN
from tests.service.http.curves import PEAK, upload
from tests.service.http.test_auth import bearer, make_token
from tests.service.http.test_bad_input import problem_of

PATH = "/v1/memory"


def at(factor: float, loss: float, **changes: Any) -> dict[str, Any]:
    """Return a run at a multiple of the usual peak that ends at a multiple of the usual loss."""
    body = upload("cosine", name=f"times {factor:g}", regime="pretrain", **changes)
    body["lrs"] = [factor * lr for lr in body["lrs"]]
    body["losses"] = [loss * one for one in body["losses"]]
    return body


SWEEP = (at(1.0, 1.01), at(2.0, 1.0), at(4.0, 1.01))


async def sent(client: httpx.AsyncClient, body: dict[str, Any], **kwargs: Any) -> str:
    reply = await client.post("/v1/curves", json=body, **kwargs)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


async def asked(client: httpx.AsyncClient, /, **params: Any) -> list[dict[str, Any]]:
    reply = await client.get(PATH, params=params)
    assert reply.status_code == 200, reply.text
    kinds: list[dict[str, Any]] = reply.json()["kinds"]
    return kinds


async def test_an_empty_project_remembers_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).json() == {"project": "default", "kinds": []}


async def test_a_sweep_teaches_a_best_peak_and_every_run_has_its_share(
    client: httpx.AsyncClient,
) -> None:
    ids = [await sent(client, body) for body in SWEEP]
    (kind,) = await asked(client)
    assert (kind["regime"], kind["optimizer"], kind["objective"]) == (
        "pretrain",
        "adam",
        "min loss",
    )
    assert kind["families"] == {"gpt": 3}
    (optimum,) = kind["optima"]
    assert sorted(optimum["curves"]) == sorted(ids)
    assert optimum["lr"] == pytest.approx(2.0 * PEAK, rel=0.2)
    assert optimum["place"]["batch_tokens"] == 51_200
    assert kind["reference"] == optimum["place"]
    assert kind["peak"]["from_law"] is True
    assert {one["curve"]: one["weight"] for one in kind["told_by"]} == {
        one: pytest.approx(optimum["weight"] / 3) for one in ids
    }


async def test_a_run_that_is_left_out_is_remembered_no_more_until_it_is_taken_in_again(
    client: httpx.AsyncClient,
) -> None:
    ids = [await sent(client, body) for body in SWEEP]
    before = await asked(client)
    path = f"/v1/curves/{ids[0]}"
    assert (await client.patch(path, json={"excluded": True})).status_code == 200
    (kind,) = await asked(client)
    assert kind["runs"] == 2
    assert ids[0] not in {one["curve"] for one in kind["told_by"]}
    assert kind["peak"]["sd_octaves"] > before[0]["peak"]["sd_octaves"]
    assert (await client.patch(path, json={"excluded": False})).status_code == 200
    assert await asked(client) == before


async def test_the_reference_is_asked_for_and_kinds_are_chosen(client: httpx.AsyncClient) -> None:
    for body in SWEEP:
        await sent(client, body)
    await sent(client, at(1.0, 1.0, family="other") | {"regime": "lora"})
    (kind,) = await asked(client, family="gpt", parameters=1e9, tokens=2e10, batch_tokens=5e5)
    place = kind["reference"]
    assert (place["parameters"], place["tokens"], place["batch_tokens"]) == (1e9, 2e10, 5e5)
    (near,) = await asked(client, family="gpt")
    assert near["optima"][0]["weight"] > kind["optima"][0]["weight"] > 0.0
    (lora,) = await asked(client, regime="lora")
    assert (lora["runs"], lora["peak"]) == (1, None)
    assert await asked(client, optimizer="sgd") == []


@pytest.mark.parametrize(
    "params",
    [
        {"parameters": "nan"},
        {"tokens": 0},
        {"batch_tokens": 1e300},
        {"regime": "sleep"},
        {"family": "x" * 300},
        {"parametrization": "other"},
        {"unknown": 1},
    ],
)
async def test_nonsense_is_a_problem_document(
    client: httpx.AsyncClient, params: dict[str, Any]
) -> None:
    problem_of(await client.get(PATH, params=params), 422, "INVALID_REQUEST")


async def test_a_project_remembers_its_own_runs_alone(
    anonymous: httpx.AsyncClient, guarded: Services
) -> None:
    boss = bearer(ADMIN_TOKEN)
    mine = bearer(await make_token(guarded, "register", project="mine"))
    other = bearer(await make_token(guarded, "read", project="other"))
    await sent(anonymous, SWEEP[0], headers=mine)
    problem_of(await anonymous.get(PATH), 401, "UNAUTHENTICATED")
    seen = [(await anonymous.get(PATH, headers=who)).json() for who in (mine, other, boss)]
    assert [(one["project"], len(one["kinds"])) for one in seen] == [
        ("mine", 1),
        ("other", 0),
        ("default", 0),
    ]
