"""Laws over HTTP, and predictions by them: of stored curves, and of a stored law without any fit."""

import csv
from typing import Any

import httpx
import pytest
from pacesetter_service.http.services import Services
from pacesetter_service.laws.repository import LawFilter

from benchmarks.public_curves import FITTED, FOLDER, WARMUP
from tests.service.http.conftest import ADMIN_TOKEN
from tests.service.http.curves import BODIES, PEAK, STEPS, curve, schedule, truth, upload
from tests.service.http.support import began, register, rows, send
from tests.service.http.test_auth import bearer, make_token
from tests.service.http.test_bad_input import problem_of

CANDIDATES = {name: {"schedule": schedule(name), "base_lr": PEAK} for name in BODIES}


async def sent(client: httpx.AsyncClient, body: str, /, **changes: Any) -> str:
    reply = await client.post("/v1/curves", json=upload(body, **changes))
    assert reply.status_code == 201, reply.text
    curve_id: str = reply.json()["id"]
    return curve_id


async def fitted(services: Services) -> str:
    """Fit what is due, and return the law that it came to; the background may have been faster."""
    await services.controller.fit_laws()
    (law,) = (await services.controller.laws.page(LawFilter())).items
    return law.id


async def test_a_law_is_listed_with_what_it_rests_on(
    client: httpx.AsyncClient, services: Services
) -> None:
    ids = [await sent(client, body) for body in ("constant", "cosine")]
    law_id = await fitted(services)
    (law,) = (await client.get("/v1/laws")).json()["laws"]
    assert (law["id"], law["fitted"], law["problem"]) == (law_id, True, "")
    assert [one["id"] for one in law["evidence"]] == ids
    assert (law["about"]["family"], law["about"]["parameters"]) == ("gpt", 124e6)
    assert law["longest"] == STEPS
    whole = (await client.get(f"/v1/laws/{law_id}")).json()
    document = whole.pop("law")
    assert whole == law
    assert len(document["members"]) == 2
    key = (await client.get(f"/v1/curves/{ids[0]}")).json()["key"]
    for params, found in (({"key": key}, 1), ({"family": "x"}, 0), ({"regime": "lora"}, 0)):
        reply = await client.get("/v1/laws", params=params)
        assert len(reply.json()["laws"]) == found
    problem_of(await client.get("/v1/laws/law_x"), 404, "LAW_NOT_FOUND")


async def test_a_stored_law_predicts_as_a_fit_of_its_curves_does(
    client: httpx.AsyncClient, services: Services
) -> None:
    ids = [await sent(client, body) for body in ("constant", "cosine")]
    asked = {"candidates": CANDIDATES, "reference": "cosine"}
    by_law = await client.post("/v1/predictions", json={**asked, "law": await fitted(services)})
    assert by_law.status_code == 200, by_law.text
    by_curves = await client.post("/v1/predictions", json={**asked, "stored": ids})
    assert by_curves.json() == by_law.json()
    inline = {**asked, "curves": [curve("constant"), curve("cosine")]}
    assert (await client.post("/v1/predictions", json=inline)).json() == by_law.json()
    losses = {name: float(truth(name)[1][-1]) for name in BODIES}
    for one in by_law.json()["candidates"]:
        assert one["loss_90"][0] < losses[one["name"]] < one["loss_90"][1]


async def test_stored_curves_join_others_in_a_question(client: httpx.AsyncClient) -> None:
    stored = await sent(client, "constant")
    body = {"stored": [stored], "curves": [curve("cosine")], "candidates": CANDIDATES}
    found = (await client.post("/v1/predictions", json=body)).json()
    assert [one["name"] for one in found["evidence"]] == ["run constant", "run cosine"]


async def test_the_curve_of_a_job_joins_by_itself(
    client: httpx.AsyncClient, services: Services
) -> None:
    lrs, losses = truth("cosine")
    job = await register(
        client,
        external_id="cosine",
        budget={"clock": "steps", "total": STEPS},
        base=schedule("cosine"),
        groups=[{"name": "all", "base_lr": PEAK, "optimizer": "AdamW", "parameters": 1000}],
        workload={"family": "gpt"},
        regime="pretrain",
    )
    records = [began()]
    for number, first in enumerate(range(0, STEPS, 200), 2):
        part = slice(first, first + 200)
        columns = {"lr": lrs[part].tolist(), "loss": losses[part].tolist()}
        records.append(rows(number, first, 200, **columns))
    last = {"type": "finished", "number": 17, "segment": 0, "position": STEPS}
    await send(client, job, *records, {**last, "validation_loss": 3.5})
    await services.controller.record_curves()
    (found,) = (await client.get("/v1/curves", params={"job": job["job"]})).json()["curves"]
    assert (found["source"], found["record"]["completed"]) == ("job", True)
    assert (found["record"]["final_loss"], found["record"]["validated"]) == (3.5, True)
    problem_of(await client.delete(f"/v1/curves/{found['id']}"), 409, "CURVE_OF_A_JOB")
    (event,) = (
        await client.get(f"/v1/jobs/{job['job']}/events", params={"type": "curve_kept"})
    ).json()["events"]
    assert event["body"]["curve"] == found["id"]
    law_id = await fitted(services)
    (evidence,) = (await client.get(f"/v1/laws/{law_id}")).json()["evidence"]
    assert evidence["id"] == found["id"]


async def test_a_law_that_could_not_be_fitted_predicts_nothing(
    client: httpx.AsyncClient, services: Services
) -> None:
    await sent(client, "cosine", losses=[loss - 10 for loss in upload()["losses"]])
    body = {"law": await fitted(services), "candidates": CANDIDATES}
    document = problem_of(await client.post("/v1/predictions", json=body), 422, "NOT_FITTED")
    assert "not above zero" in document["detail"]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"law": "law_x"}, 404, "LAW_NOT_FOUND"),
        ({"stored": ["crv_x"]}, 404, "CURVE_NOT_FOUND"),
        ({"law": "law_x", "stored": ["crv_x"]}, 422, "INVALID_REQUEST"),
        ({"law": "law x"}, 422, "INVALID_REQUEST"),
        ({"stored": ["crv_x"] * 21}, 422, "INVALID_REQUEST"),
        (
            {"stored": ["crv_x"] * 20, "jobs": ["job_x"] * 20, "curves": [curve("cosine")]},
            422,
            "INVALID_REQUEST",
        ),
    ],
    ids=["no law", "no curve", "both", "a bad id", "too many", "too many in all"],
)
async def test_a_question_that_names_nothing_is_a_problem_document(
    client: httpx.AsyncClient, changes: dict[str, Any], status: int, code: str
) -> None:
    body = {"candidates": CANDIDATES, **changes}
    problem_of(await client.post("/v1/predictions", json=body), status, code)


@pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the public curves are not at {FOLDER}; they stay outside the repo"
)
async def test_public_curves_predict_one_that_was_not_uploaded(
    client: httpx.AsyncClient, services: Services
) -> None:
    """Four runs of 100M parameters as they were published, as CSV; the fifth decays linearly over its last sixth."""
    folder = FOLDER / "multipowerlaw" / "csv_100"
    about: dict[str, str | float] = {"family": "llama", "parameters": 1e8, "warmup": WARMUP}
    for name in (*FITTED, "wsdcon_3"):
        content = (folder / f"{name}.csv").read_bytes()
        headers = {"content-type": "text/csv"}
        reply = await client.post(
            "/v1/curves", content=content, params={**about, "name": name}, headers=headers
        )
        assert reply.status_code == 201, reply.text
    wsd = {
        "length": 24_000,
        "warmup": {"length": WARMUP},
        "floor": 0.1,
        "body": {"family": "wsd", "cooldown": 1 / 6},
    }
    body = {
        "law": await fitted(services),
        "candidates": {"wsd": {"base_lr": PEAK, "schedule": wsd}},
    }
    found = (await client.post("/v1/predictions", json=body)).json()
    assert sorted(one["name"] for one in found["evidence"]) == sorted((*FITTED, "wsdcon_3"))
    (wsd_found,) = found["candidates"]
    rows = list(csv.DictReader((folder / "wsdld_20000_24000.csv").read_text().splitlines()))
    true = float(rows[-1]["loss"])
    assert wsd_found["loss"] == pytest.approx(true, rel=3e-3)
    assert wsd_found["loss_90"][0] < true < wsd_found["loss_90"][1]
    assert wsd_found["loss_90"][1] - wsd_found["loss_90"][0] < 0.06


# -- must show 9: what a law makes of odd curves --


async def predicted(client: httpx.AsyncClient, services: Services) -> dict[str, Any]:
    body = {"law": await fitted(services), "candidates": CANDIDATES, "reference": "cosine"}
    reply = await client.post("/v1/predictions", json=body)
    assert reply.status_code == 200, reply.text
    document: dict[str, Any] = reply.json()
    return document


async def test_one_curve_is_answered_with_a_warning(
    client: httpx.AsyncClient, services: Services
) -> None:
    await sent(client, "constant")
    found = await predicted(client, services)
    assert any("do not tell the response to decay" in each for each in found["warnings"])


async def test_stretches_at_rate_zero_give_no_wrong_confident_number(
    client: httpx.AsyncClient, services: Services
) -> None:
    """Steps at a rate of zero move no weights: a run that stands still for a while ends like one without."""
    lrs, losses = truth("cosine")
    at = 1500
    steps = [
        *range(10, at + 1, 10),
        *range(at + 10, at + 501, 10),
        *range(at + 510, STEPS + 501, 10),
    ]
    still = [step if step <= at else max(at, step - 500) for step in steps]
    rates = [
        0.0 if at < step <= at + 500 else float(lrs[own - 1])
        for step, own in zip(steps, still, strict=True)
    ]
    values = [float(losses[own - 1]) for own in still]
    await sent(client, "cosine", steps=steps, lrs=rates, losses=values, warmup=0)
    await sent(client, "constant")
    found = await predicted(client, services)
    true = {name: float(truth(name)[1][-1]) for name in BODIES}
    for one in found["candidates"]:
        assert one["loss"] == pytest.approx(true[one["name"]], rel=0.03)


async def test_a_run_that_diverged_is_no_evidence_for_a_law(
    client: httpx.AsyncClient, services: Services
) -> None:
    for body in ("constant", "cosine"):
        await sent(client, body)
    await sent(client, "wsd", losses=[*upload("wsd")["losses"][:200], *["NaN"] * 86])
    law = (await client.get(f"/v1/laws/{await fitted(services)}")).json()
    assert [one["name"] for one in law["evidence"]] == ["run constant", "run cosine"]


# -- who may, and what is counted --


async def test_laws_of_another_project_look_like_none(
    anonymous: httpx.AsyncClient, guarded: Services
) -> None:
    ours = bearer(await make_token(guarded, "read", "register", project="ours"))
    theirs = bearer(await make_token(guarded, "read", project="theirs"))
    for body in ("constant", "cosine"):
        reply = await anonymous.post("/v1/curves", json=upload(body), headers=ours)
    curve_id = reply.json()["id"]
    law_id = await fitted(guarded)
    assert (await anonymous.get(f"/v1/laws/{law_id}", headers=ours)).status_code == 200
    problem_of(await anonymous.get(f"/v1/laws/{law_id}", headers=theirs), 404, "LAW_NOT_FOUND")
    assert (await anonymous.get("/v1/laws", headers=theirs)).json()["laws"] == []
    for named, code in (
        ({"law": law_id}, "LAW_NOT_FOUND"),
        ({"stored": [curve_id]}, "CURVE_NOT_FOUND"),
    ):
        body_ = {**named, "candidates": CANDIDATES}
        reply = await anonymous.post("/v1/predictions", json=body_, headers=theirs)
        problem_of(reply, 404, code)
    assert (await anonymous.get("/v1/laws")).status_code == 401
    admin = bearer(ADMIN_TOKEN)
    assert len((await anonymous.get("/v1/laws", headers=admin)).json()["laws"]) == 1


async def test_uploads_and_fits_are_counted(client: httpx.AsyncClient, services: Services) -> None:
    await sent(client, "cosine")
    await client.post("/v1/curves", json=upload())
    await fitted(services)
    text = (await client.get("/metrics")).text
    assert "pacesetter_curves_total 1.0" in text
    assert 'pacesetter_law_fit_duration_seconds_count{outcome="fitted"} 1.0' in text
