"""What a running job may expect, asked over HTTP: by its own curve, and by the laws of its family."""

from typing import Any

import httpx
import numpy as np
import pytest
from pacesetter.schedules import Schedule
from pacesetter_search.outlook import Basis, Standing, fit_own
from pacesetter_service.auth.principal import Scope
from pacesetter_service.http.services import Services

from tests.service.http.conftest import ADMIN_TOKEN
from tests.service.http.curves import PEAK, STEPS, TRUE, schedule, truth, upload
from tests.service.http.support import Document, began, register, rows, send
from tests.service.http.test_auth import bearer, make_token
from tests.service.http.test_bad_input import problem_of

WORKLOAD = {"family": "gpt", "parameters": 124e6, "batch_tokens": 51_200}
TOLD = 2400
"""Where the cooldown of ``wsd`` has run for 900 steps."""


async def trained(
    client: httpx.AsyncClient, body: str, at: int, *, level: float = 1.0, **changes: Any
) -> Document:
    """Return a job that has run the schedule for so many steps under the true law, ``level`` times as high."""
    job = await register(
        client,
        external_id=f"{body} {at} {level}",
        budget={"clock": "steps", "total": STEPS},
        base=schedule(body),
        groups=[{"name": "all", "base_lr": PEAK, "optimizer": "adamw"}],
        regime="pretrain",
        **changes,
    )
    lrs, losses = truth(body)
    records = [began()]
    for number, first in enumerate(range(0, at, 300), 2):
        part = slice(first, min(first + 300, at))
        columns = {"lr": lrs[part].tolist(), "loss": (level * losses[part]).tolist()}
        record = rows(number, first, part.stop - first, **columns)
        # As the client does: where the main line stands when the rows are sent.
        records.append({**record, "position": part.stop})
    await send(client, job, *records)
    return job


async def asked(client: httpx.AsyncClient, job: Document, **query: Any) -> Document:
    reply = await client.get(f"/v1/jobs/{job['job']}/outlook", params=query)
    assert reply.status_code == 200, reply.text
    found: Document = reply.json()
    return found


async def family(client: httpx.AsyncClient, services: Services, **changes: Any) -> str:
    """Upload two runs of the job's family, and return the law that was fitted to them."""
    for body in ("constant", "cosine"):
        reply = await client.post("/v1/curves", json=upload(body, optimizer="adamw", **changes))
        assert reply.status_code == 201, reply.text
    await services.controller.fit_laws()
    (law,) = (await client.get("/v1/laws")).json()["laws"]
    name: str = law["id"]
    return name


def end_of(lrs: Any) -> float:
    return float(TRUE.predict(lrs).mean[0])


def run_on(body: str, at: int, document: Document, end: int) -> Any:
    """Return the rates that were run, and those of a schedule that was answered from there to ``end``."""
    plan = Schedule.model_validate(document)
    places = np.arange(at, end, dtype=np.float64)
    return np.append(truth(body)[0][:at], PEAK * plan.over(places))


async def test_a_curve_that_shows_decay_tells_what_decaying_now_gives(
    client: httpx.AsyncClient,
) -> None:
    job = await trained(client, "wsd", TOLD)
    found = await asked(client, job, lengths=[150, 300, 600])
    assert (found["law"], found["tells_decay"], found["position"]) == (None, True, TOLD)
    assert [one["name"] for one in found["evidence"]] == [job["job"]]
    assert [one["length"] for one in found["decays"]] == [150, 300, 600]
    for decay in found["decays"]:
        rates = run_on("wsd", TOLD, decay["schedule"], TOLD + decay["length"])
        low, high = decay["loss_90"]
        assert low < end_of(rates) < high
        assert high - low < 0.02 * decay["loss"]
        held = end_of(np.append(rates[:TOLD], np.full(decay["length"], rates[TOLD - 1])))
        assert decay["held"] == pytest.approx(held, rel=2e-3)
        assert decay["gain"] == pytest.approx(
            0.46 * (decay["held"] - decay["loss"]) / decay["held"]
        )
    planned = found["planned"]
    assert planned["loss_90"][0] < float(truth("wsd")[1][-1]) < planned["loss_90"][1]
    assert Schedule.model_validate(planned["schedule"]) == Schedule.model_validate(schedule("wsd"))
    assert found["now"]["loss"] == pytest.approx(float(truth("wsd")[1][TOLD - 1]), rel=1e-3)


async def test_longer_budgets_are_ranked_and_ready_to_run(
    client: httpx.AsyncClient, services: Services
) -> None:
    law = await family(client, services)
    job = await trained(client, "wsd", 1200, workload=WORKLOAD)
    found = await asked(client, job, extend=[1.5, 2.0])
    assert found["law"] == law
    assert [(one["factor"], one["total"]) for one in found["extensions"]] == [
        (1.5, 4500),
        (2.0, 6000),
    ]
    for longer in found["extensions"]:
        assert {one["name"] for one in longer["ways"]} == {
            "as it is",
            "longer cooldown",
            "two stages",
        }
        assert [one["rank"] for one in longer["ways"]] == [1, 2, 3]
        true = {
            one["name"]: end_of(run_on("wsd", 1200, one["schedule"], longer["total"]))
            for one in longer["ways"]
        }
        for one in longer["ways"]:
            assert one["loss_90"][0] < true[one["name"]] < one["loss_90"][1]
        assert true[longer["ways"][0]["name"]] < min(true.values()) + 2e-3
        (plain,) = [one for one in longer["ways"] if one["name"] == "as it is"]
        assert plain["gain"] == 0.0
        assert longer["ways"][0]["loss"] < found["planned"]["loss"]


async def test_a_curve_that_shows_no_decay_says_so_and_gives_no_number_for_one(
    client: httpx.AsyncClient,
) -> None:
    """Such a law is sure of losses that are off by seven of its sds (its truth is .03 lower after a decay)."""
    job = await trained(client, "wsd", 1200)
    found = await asked(client, job)
    assert not found["tells_decay"]
    assert any("do not tell the response to decay" in each for each in found["warnings"])
    assert [one["length"] for one in found["decays"]] == [150, 300, 600, 1200]
    for each in (*found["decays"], found["planned"], *found["extensions"][0]["ways"]):
        assert (each["loss"], each["loss_90"]) == (None, None)
        assert each.get("gain") is None
        assert each.get("rank") is None
    rates = truth("wsd")[0][:1200]
    for decay in found["decays"]:
        # Holding the rate is more of what was seen.
        held = end_of(np.append(rates, np.full(decay["length"], PEAK)))
        assert decay["held"] == pytest.approx(held, rel=3e-3)
        assert Schedule.model_validate(decay["schedule"]).at(1200) == 1.0
    assert found["now"]["loss"] == pytest.approx(float(truth("wsd")[1][1199]), rel=2e-3)


async def test_half_of_a_cosine_tells_nothing_of_holding_either(client: httpx.AsyncClient) -> None:
    found = await asked(client, await trained(client, "cosine", 1500))
    assert not found["tells_decay"]
    assert [one["held"] for one in found["decays"]] == [None] * 4


async def test_a_law_of_the_family_tells_what_the_curve_does_not(
    client: httpx.AsyncClient, services: Services
) -> None:
    law = await family(client, services)
    job = await trained(client, "wsd", 1200, workload=WORKLOAD)
    found = await asked(client, job, lengths=[300, 600])
    assert (found["law"], found["tells_decay"]) == (law, True)
    assert [one["name"] for one in found["evidence"]] == ["run constant", "run cosine"]
    assert abs(found["shift"]) < 3e-3
    for decay in found["decays"]:
        true = end_of(run_on("wsd", 1200, decay["schedule"], 1200 + decay["length"]))
        assert decay["loss_90"][0] < true < decay["loss_90"][1]
        assert decay["gain"] > 0.0 or decay["length"] < 600
    assert found["planned"]["loss_90"][0] < float(truth("wsd")[1][-1])
    assert found["planned"]["loss_90"][1] > float(truth("wsd")[1][-1])


async def test_a_law_of_another_size_is_moved_to_the_level_of_the_job_and_is_less_sure(
    client: httpx.AsyncClient, services: Services
) -> None:
    law = await family(client, services)
    same = await trained(client, "wsd", 1200, workload=WORKLOAD)
    larger = await trained(
        client, "wsd", 1200, level=0.95, workload={**WORKLOAD, "parameters": 248e6}
    )
    near, far = [await asked(client, job, lengths=[600]) for job in (same, larger)]
    assert far["law"] == law
    assert 1.0 + far["shift"] == pytest.approx(0.95 * (1.0 + near["shift"]), rel=1e-6)
    (decay,), (plain,) = far["decays"], near["decays"]
    assert decay["loss"] == pytest.approx(0.95 * plain["loss"], rel=1e-6)
    assert decay["gain"] == pytest.approx(plain["gain"])
    assert np.ptp(decay["loss_90"]) > 3.0 * np.ptp(plain["loss_90"])
    words = " ".join(far["warnings"])
    assert "of runs whose size differs by a factor of 2" in words
    assert "% off law" in words


async def test_a_job_that_has_just_begun_rests_on_its_family(
    client: httpx.AsyncClient, services: Services
) -> None:
    young = await trained(client, "wsd", 160, workload=WORKLOAD)
    path = f"/v1/jobs/{young['job']}/outlook"
    assert "16 times" in problem_of(await client.get(path), 422, "NOT_FITTED")["detail"]
    law = await family(client, services)
    assert (await asked(client, young))["law"] == law


async def test_what_was_fitted_is_fitted_anew_only_where_the_job_went_on(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []

    def counted(standing: Standing) -> Basis:
        fits.append(standing.at)
        return fit_own(standing)

    monkeypatch.setattr("pacesetter_service.jobs.outlooks.fit_own", counted)
    job = await trained(client, "wsd", TOLD)
    first = await asked(client, job)
    assert await asked(client, job) == first
    assert fits == [TOLD]
    lrs, losses = truth("wsd")
    part = slice(TOLD, TOLD + 100)
    more = rows(99, TOLD, 100, lr=lrs[part].tolist(), loss=losses[part].tolist())
    await send(client, job, {**more, "position": TOLD + 100})
    assert (await asked(client, job))["position"] == TOLD + 100
    assert fits == [TOLD, TOLD + 100]


async def test_what_a_person_set_is_what_is_planned(client: httpx.AsyncClient) -> None:
    job = await trained(client, "wsd", TOLD)
    wish = {"kind": "multiplier", "multiplier": 0.1, "by": "me"}
    reply = await client.post(f"/v1/jobs/{job['job']}/overrides", json=wish)
    assert reply.status_code == 201, reply.text
    found = await asked(client, job, lengths=[300])
    plan = Schedule.model_validate(found["planned"]["schedule"])
    assert plan.at(TOLD) == pytest.approx(0.1)
    true = end_of(run_on("wsd", TOLD, found["planned"]["schedule"], STEPS))
    assert found["planned"]["loss"] == pytest.approx(true, rel=5e-3)
    assert any("the schedule in force has" in each for each in found["warnings"])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"lengths": 0}, "INVALID_REQUEST"),
        ({"lengths": [300, -5]}, "INVALID_REQUEST"),
        ({"lengths": "many"}, "INVALID_REQUEST"),
        ({"lengths": STEPS - TOLD + 1}, "BEYOND_BUDGET"),
        ({"lengths": [1] * 21}, "INVALID_REQUEST"),
        ({"extend": 1.0}, "INVALID_REQUEST"),
        ({"extend": 17}, "INVALID_REQUEST"),
        ({"extend": "nan"}, "INVALID_REQUEST"),
    ],
    ids=str,
)
async def test_what_is_no_length_or_factor_is_a_problem_document(
    client: httpx.AsyncClient, query: dict[str, Any], code: str
) -> None:
    job = await trained(client, "wsd", TOLD)
    problem_of(await client.get(f"/v1/jobs/{job['job']}/outlook", params=query), 422, code)


async def test_a_job_that_tells_nothing_is_a_problem_document(client: httpx.AsyncClient) -> None:
    async def problem(job: Document, status: int, code: str) -> Document:
        return problem_of(await client.get(f"/v1/jobs/{job['job']}/outlook"), status, code)

    await problem({"job": "job_unknown"}, 404, "JOB_NOT_FOUND")
    await problem(await register(client), 422, "NO_CURVE")
    tokens = await register(client, external_id="tokens", budget={"clock": "tokens", "total": 1000})
    await problem(tokens, 422, "CLOCK_NOT_STEPS")
    flat = await register(client, external_id="flat")
    await send(client, flat, began(), {**rows(2, 0, 500, loss=[2.0] * 500), "position": 500})
    await problem(flat, 422, "NO_CURVE")
    short = await register(client, external_id="short")
    await send(client, short, began(), {**rows(2), "position": 10})
    await problem(short, 422, "NOT_FITTED")
    broken = await trained(client, "wsd", TOLD)
    nans = rows(99, TOLD, 10, loss=["NaN"] * 10)
    await send(client, broken, {**nans, "position": TOLD + 10})
    assert "diverged" in (await problem(broken, 422, "NOT_FITTED"))["detail"]
    await client.post(f"/v1/jobs/{broken['job']}:complete")
    await problem(broken, 409, "JOB_ENDED")
    whole = await trained(client, "wsd", STEPS)
    await problem(whole, 409, "BUDGET_USED")


async def test_a_job_of_another_project_looks_like_none(
    anonymous: httpx.AsyncClient, guarded: Services
) -> None:
    anonymous.headers.update(bearer(ADMIN_TOKEN))
    job = await trained(anonymous, "wsd", TOLD)
    path = f"/v1/jobs/{job['job']}/outlook"
    del anonymous.headers["authorization"]
    assert (await anonymous.get(path)).status_code == 401
    cases: list[tuple[Scope, str, int]] = [
        ("read", "default", 200),
        ("job", "default", 200),
        ("worker", "default", 403),
        ("read", "theirs", 404),
    ]
    for scope, project, status in cases:
        token = bearer(await make_token(guarded, scope, project=project))
        assert (await anonymous.get(path, headers=token)).status_code == status, (scope, project)
    own = await anonymous.get(path, headers=bearer(job["token"]))
    assert own.status_code == 200
