"""Answers that are kept, listed and given to jobs over HTTP; and whose evidence counts."""

import asyncio
from typing import Any

import httpx
import pytest
from pacesetter_service.http.services import Services

from tests.service.http.conftest import ADMIN_TOKEN
from tests.service.http.curves import upload
from tests.service.http.support import began, register, rows, send
from tests.service.http.test_auth import bearer, make_token
from tests.service.http.test_bad_input import problem_of

PATH = "/v1/recommendations"
ASKED: dict[str, Any] = {"parameters": 124e6, "tokens": 2.5e9}
SMALL: dict[str, Any] = {
    "parameters": 1e4,
    "tokens": 1000 * 64.0,
    "batch_tokens": 64.0,
    "regime": "finetune",
    "evidence": [{"parameters": 1e4, "tokens": 64_000.0, "batch_tokens": 64.0, "lr": 4e-4}],
}
"""What a job of a thousand steps may be given."""


async def kept(client: httpx.AsyncClient, body: dict[str, Any] | None = None) -> dict[str, Any]:
    reply = await client.post(PATH, json=body or ASKED)
    assert reply.status_code == 200, reply.text
    document: dict[str, Any] = reply.json()
    assert reply.headers["location"] == f"{PATH}/{document['id']}"
    return document


async def test_a_posted_question_s_answer_is_read_again_as_it_was_given(
    client: httpx.AsyncClient,
) -> None:
    found = await kept(client)
    again = await client.get(f"{PATH}/{found['id']}")
    assert (again.status_code, again.json()) == (200, found)
    asked = await client.get(PATH, params=ASKED)
    assert asked.json() == {**found, "id": None}
    listed = (await client.get(f"{PATH}:list")).json()["recommendations"]
    assert [one["id"] for one in listed] == [found["id"]]  # a GET stores nothing
    (item,) = listed
    assert item["target"] == found["target"]
    for name in ("status", "lr", "batch_tokens", "steps", "schedule_name"):
        assert item[name] == found[name]
    assert (item["project"], item["applied"]) == ("default", False)


async def test_the_list_pages_from_the_newest(client: httpx.AsyncClient) -> None:
    ids = [(await kept(client))["id"] for _ in range(3)]
    first = (await client.get(f"{PATH}:list", params={"page_size": 2})).json()
    token = first["next_page_token"]
    rest = (await client.get(f"{PATH}:list", params={"page_token": token})).json()
    seen = [one["id"] for page in (first, rest) for one in page["recommendations"]]
    assert seen == ids[::-1]
    assert rest["next_page_token"] == ""
    reply = await client.get(f"{PATH}:list", params={"page_token": "x"})
    problem_of(reply, 422, "BAD_PAGE_TOKEN")


async def test_one_key_is_one_answer(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "question-1"}
    one = await client.post(PATH, json=ASKED, headers=headers)
    other = await client.post(PATH, json=ASKED, headers=headers)
    assert one.json() == other.json()
    assert other.headers["idempotency-replayed"] == "true"
    assert len((await client.get(f"{PATH}:list")).json()["recommendations"]) == 1
    reply = await client.post(PATH, json={**ASKED, "tokens": 1e9}, headers=headers)
    problem_of(reply, 422, "IDEMPOTENCY_KEY_REUSED")


async def test_what_is_not_there_is_a_problem(client: httpx.AsyncClient) -> None:
    code = "RECOMMENDATION_NOT_FOUND"
    problem_of(await client.get(f"{PATH}/rec_x"), 404, code)
    job = await register(client)
    reply = await client.post(f"{PATH}/rec_x:apply", json={"job": job["job"]})
    problem_of(reply, 404, code)
    found = await kept(client)
    reply = await client.post(f"{PATH}/{found['id']}:apply", json={"job": "job_x"})
    problem_of(reply, 404, "JOB_NOT_FOUND")
    for body in ({}, {"job": ""}, {"job": job["job"], "because": "x"}, {"job": 3}):
        reply = await client.post(f"{PATH}/{found['id']}:apply", json=body)
        problem_of(reply, 422, "INVALID_REQUEST")


async def test_a_job_is_given_a_recommendation_in_one_call(client: httpx.AsyncClient) -> None:
    found = await kept(client, SMALL)
    job = await register(client)
    await send(client, job, began(), rows(2))
    body = {"job": job["job"], "by": "ada", "reason": "asked"}
    reply = await client.post(f"{PATH}/{found['id']}:apply", json=body)
    assert reply.status_code == 201, reply.text
    (seq,) = reply.json()["segments"]
    page = (await client.get(f"/v1/jobs/{job['job']}/segments", params={"wait": 0})).json()
    (segment,) = [one for one in page["segments"] if one["seq"] == seq]
    assert segment["policy"]["peak"] == pytest.approx(found["lr"] / 0.001)
    assert segment["policy"]["body"] == found["schedule"]["body"]
    events = (
        await client.get(f"/v1/jobs/{job['job']}/events", params={"type": "recommendation_applied"})
    ).json()["events"]
    assert [one["body"]["recommendation"] for one in events] == [found["id"]]
    (item,) = (await client.get(f"{PATH}:list")).json()["recommendations"]
    assert item["applied"]
    other = await client.post(
        f"{PATH}/{(await kept(client))['id']}:apply", json={"job": job["job"]}
    )
    assert "recommendation is for" in problem_of(other, 422, "OTHER_BUDGET")["detail"]


async def test_a_job_names_only_what_its_project_has(client: httpx.AsyncClient) -> None:
    found = await kept(client, SMALL)
    base = {"base": found["schedule"], "recommendation": found["id"]}
    assert (await register(client, **base))["status"] == "registered"
    body = {
        "name": "other",
        "external_id": "other",
        "nonce": "1",
        "budget": {"total": 1000},
        "base": {"length": 1000},
        "groups": [{"name": "all", "base_lr": 1e-3}],
        "recommendation": "rec_unknown",
    }
    for query in ({}, {"validate_only": "true"}):
        problem = problem_of(
            await client.post("/v1/jobs", json=body, params=query), 422, "UNKNOWN_RECOMMENDATION"
        )
        assert "the project has no recommendation 'rec_unknown'" in problem["detail"]
        assert "POST /v1/recommendations" in problem["hint"]


async def test_questions_that_come_together_after_a_change_are_answered_alike(
    client: httpx.AsyncClient, services: Services
) -> None:
    del services
    for peak in (3e-4, 6e-4):
        await client.post("/v1/curves", json=upload(peak=peak, name=f"{peak}"))
    asked = {**ASKED, "family": "gpt"}
    replies = await asyncio.gather(*(client.get(PATH, params=asked) for _ in range(8)))
    documents = [reply.json() for reply in replies]
    assert all(document == documents[0] for document in documents)
    runs = {one["id"] for one in documents[0]["evidence"] if one["kind"] == "run"}
    assert len(runs) == 2


# -- who may, and whose evidence counts --


async def test_projects_see_their_own_evidence_and_answers(
    anonymous: httpx.AsyncClient, guarded: Services
) -> None:
    ours = bearer(await make_token(guarded, "register", project="ours"))
    theirs = bearer(await make_token(guarded, "register", project="theirs"))
    for peak in (3e-4, 6e-4):
        body = upload(peak=peak, name=f"{peak}")
        reply = await anonymous.post("/v1/curves", json=body, headers=ours)
        assert reply.status_code == 201, reply.text
    asked = {**ASKED, "family": "gpt"}
    answers = [
        (await anonymous.post(PATH, json=asked, headers=headers)).json()
        for headers in (ours, theirs)
    ]
    kinds = [{one["kind"] for one in answer["evidence"]} for answer in answers]
    assert kinds == [{"law", "run"}, {"law"}]
    mine = f"{PATH}/{answers[0]['id']}"
    assert (await anonymous.get(mine, headers=ours)).status_code == 200
    problem_of(await anonymous.get(mine, headers=theirs), 404, "RECOMMENDATION_NOT_FOUND")
    listed = (await anonymous.get(f"{PATH}:list", headers=theirs)).json()["recommendations"]
    assert [one["id"] for one in listed] == [answers[1]["id"]]
    everything = (await anonymous.get(f"{PATH}:list", headers=bearer(ADMIN_TOKEN))).json()
    assert len(everything["recommendations"]) == 2


async def test_a_token_that_may_only_read_is_answered_and_leaves_nothing(
    anonymous: httpx.AsyncClient, guarded: Services
) -> None:
    read = bearer(await make_token(guarded, "read"))
    reply = await anonymous.post(PATH, json=ASKED, headers=read)
    assert (reply.status_code, reply.json()["id"]) == (200, None)
    assert "location" not in reply.headers
    assert (await anonymous.get(f"{PATH}:list", headers=read)).json()["recommendations"] == []


async def test_only_who_may_override_gives_a_job_a_recommendation(
    anonymous: httpx.AsyncClient, guarded: Services
) -> None:
    training = bearer(await make_token(guarded, "register", project="ours"))
    boss = bearer(await make_token(guarded, "admin", project="ours"))
    elsewhere = bearer(await make_token(guarded, "admin", project="theirs"))
    anonymous.headers.update(training)
    found = await kept(anonymous, SMALL)
    job = await register(anonymous)
    path, body = f"{PATH}/{found['id']}:apply", {"job": job["job"]}
    problem_of(await anonymous.post(path, json=body), 403, "FORBIDDEN")
    of_the_job = bearer(job["token"])  # good for what is under the job's own address
    problem_of(await anonymous.post(path, json=body, headers=of_the_job), 401, "UNAUTHENTICATED")
    reply = await anonymous.post(path, json=body, headers=elsewhere)
    problem_of(reply, 404, "RECOMMENDATION_NOT_FOUND")
    assert (await anonymous.post(path, json=body, headers=boss)).status_code == 201


# -- must show 9: a hard question is a problem document or an honest answer, never a wrong confident number --


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": 2.5e9, "steps": 10**15},
        {"tokens": 1e3, "steps": 1000, "batch_tokens": 1e6},
        {"batch_tokens": 5e9},
        {"parameters": "NaN"},
        {"tokens": "Infinity"},
        {"parameters": -124e6},
        {"epochs": "NaN"},
        {"width_ratio": 0},
        {"max_batch_tokens": 1, "batch_tokens": 2},
        {"schedule_family": "cosine", "extendable": True},
        {"schedule_family": {"family": "wsd", "cooldown": 7}},
        {"evidence": [{**ASKED, "batch_tokens": 5e9, "lr": 1e-3}]},
        {"evidence": [{**ASKED, "batch_tokens": 1e5, "lr": "NaN"}]},
        {"evidence": [{**ASKED, "batch_tokens": 1e5, "lr": 1e-3}] * 201},
        {"sweeps": [{**ASKED, "batch_tokens": 1e5, "runs": [{"lr": 1e-3, "loss": 3.0}] * 2}]},
        {
            "sweeps": [
                {
                    **ASKED,
                    "batch_tokens": 1e5,
                    "runs": [{"lr": 1e-3, "loss": 3.0}, {"lr": 2e-3, "loss": 3000.0}],
                }
            ]
        },
    ],
    ids=lambda changes: str(changes)[:60],
)
async def test_a_question_that_contradicts_itself_is_a_problem_and_leaves_nothing(
    client: httpx.AsyncClient, changes: dict[str, Any]
) -> None:
    reply = await client.post(PATH, json={**ASKED, **changes})
    problem = problem_of(reply, 422, "INVALID_REQUEST")
    assert problem["hint"]
    assert (await client.get(f"{PATH}:list")).json()["recommendations"] == []


@pytest.mark.parametrize(
    "size", [(1.0, 1.0), (1.0, 1e15), (1e15, 1e15), (1e15, 1.0), (2e7, 1e15), (7e11, 1.5e13)]
)
async def test_an_absurd_size_is_answered_with_what_is_not_known_of_it(
    client: httpx.AsyncClient, size: tuple[float, float]
) -> None:
    parameters, tokens = size
    reply = await client.post(PATH, json={"parameters": parameters, "tokens": tokens})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    if found["status"] == "no_evidence":
        assert found["lr"] is None
        assert "language models of 2e+07 parameters and more" in found["warnings"][0]
        return
    low, high = found["lr_90"]
    assert 0.0 < low < found["lr"] < high
    assert any("outside of what the law was fitted on" in one for one in found["warnings"])
    ordinary = (await client.post(PATH, json=ASKED)).json()
    assert found["sd_octaves"] > ordinary["sd_octaves"]


async def test_two_hundred_contradicting_optima_are_no_confident_number(
    client: httpx.AsyncClient,
) -> None:
    """Half of them at a thousandth of the rate of the others: a spread of ten octaves is not a width of a tenth."""
    place = {**ASKED, "batch_tokens": 1e5}
    agreeing = [{**place, "lr": 1e-3} for _ in range(200)]
    torn = [{**place, "lr": 1e-3 if at % 2 else 1e-6} for at in range(200)]
    widths = []
    for evidence in (agreeing, torn):
        reply = await client.post(PATH, json={**ASKED, "evidence": evidence})
        assert reply.status_code == 200, reply.text
        widths.append(reply.json()["sd_octaves"])
    assert widths[1] > widths[0]


async def test_curves_in_another_unit_are_refused_before_they_are_evidence(
    client: httpx.AsyncClient,
) -> None:
    body = upload(tokens=3.0)  # billions, given as ones
    problem_of(await client.post("/v1/curves", json=body), 422, "CONTRADICTORY_UNITS")
    found = (await client.post(PATH, json={**ASKED, "family": "gpt"})).json()
    assert {one["kind"] for one in found["evidence"]} == {"law"}


async def test_runs_that_diverged_or_ended_alike_are_no_best_peak(
    client: httpx.AsyncClient,
) -> None:
    lost = [*upload()["losses"][:200], *["NaN"] * 86]
    for peak, losses in ((1e-3, lost), (3e-3, lost)):
        body = upload(peak=peak, losses=losses, name=f"lost at {peak}")
        assert (await client.post("/v1/curves", json=body)).status_code == 201
    asked = {**ASKED, "family": "gpt"}
    found = (await client.post(PATH, json=asked)).json()
    assert found["lr"] == pytest.approx(5e-4, rel=1e-3)  # half of the least that was lost
    assert any("held back at 0.0005" in one for one in found["warnings"])
    alone = (await client.post(PATH, json=ASKED)).json()
    assert found["lr_90"] == alone["lr_90"]
    assert found["loss"] == alone["loss"]
