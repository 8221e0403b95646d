import asyncio
import json
from typing import Any

import httpx
import pytest
from pacesetter.schedules import KNOWN_FAMILIES
from pacesetter_service.http.idempotency import fingerprint
from pacesetter_service.http.services import Services

from tests.service.http.support import began, register, rows, send, spec


async def test_registration_is_idempotent_by_external_id_and_nonce(
    client: httpx.AsyncClient,
) -> None:
    first = await client.post("/v1/jobs", json=spec())
    again = await client.post("/v1/jobs", json=spec())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["location"] == f"/v1/jobs/{first.json()['job']}"
    for key in ("job", "session", "session_number"):
        assert first.json()[key] == again.json()[key]


async def test_another_nonce_opens_a_new_session_of_the_same_job(
    client: httpx.AsyncClient,
) -> None:
    first = await register(client)
    second = await register(client, nonce="start-2")
    assert second["job"] == first["job"]
    assert (first["session_number"], second["session_number"]) == (1, 2)
    old = await send(client, first, began())
    assert old["session_current"] is False
    assert old["segments"] == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"nonce": "start-2", "budget": {"clock": "tokens", "total": 2000}}, "another clock"),
        ({"nonce": "start-2", "base": {"length": 1000, "peak": 0.5}}, "another base schedule"),
        ({"budget": {"clock": "steps", "total": 2000}}, "another budget"),
    ],
)
async def test_what_makes_another_job_is_a_conflict_with_a_hint(
    client: httpx.AsyncClient, other: dict[str, Any], words: str
) -> None:
    await register(client)
    reply = await client.post("/v1/jobs", json=spec(**other))
    assert (reply.status_code, reply.json()["code"]) == (409, "EXTERNAL_ID_TAKEN")
    assert words in reply.json()["detail"]
    assert reply.json()["hint"]


async def test_a_start_with_another_budget_is_a_new_session_that_has_it(
    client: httpx.AsyncClient,
) -> None:
    first = await register(client)
    longer = spec(nonce="start-2", budget={"clock": "steps", "total": 2000})
    reply = await client.post("/v1/jobs", json=longer)
    assert (reply.status_code, reply.json()["session_number"]) == (201, 2)
    job = (await client.get(f"/v1/jobs/{first['job']}")).json()
    assert (job["budget"], job["spec"]["budget"]["total"]) == (2000, 2000)
    events = (await client.get(f"/v1/jobs/{first['job']}/events?type=budget")).json()["events"]
    assert [(e["body"]["cause"], e["body"]["before"], e["body"]["total"]) for e in events] == [
        ("restart", 1000, 2000)
    ]


async def test_validate_only_stores_nothing(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/jobs?validate_only=true", json=spec())
    assert reply.status_code == 200
    assert (await client.get("/v1/jobs")).json()["jobs"] == []


async def test_an_idempotency_key_replays_the_stored_reply(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "abc"}
    first = await client.post("/v1/jobs", json=spec(), headers=key)
    again = await client.post("/v1/jobs", json=spec(), headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]


async def test_an_idempotency_key_with_another_body_is_422(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "abc"}
    await client.post("/v1/jobs", json=spec(), headers=key)
    reply = await client.post("/v1/jobs", json=spec(name="other"), headers=key)
    assert reply.status_code == 422
    assert reply.json()["code"] == "IDEMPOTENCY_KEY_REUSED"


async def test_a_failed_request_gives_its_key_back(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "abc"}
    await register(client)
    conflict = spec(nonce="start-2", budget={"clock": "tokens", "total": 5})
    for _ in range(2):
        assert (await client.post("/v1/jobs", json=conflict, headers=key)).status_code == 409
    assert (await client.post("/v1/jobs", json=spec(), headers=key)).status_code == 200


async def claim(services: Services, path: str, body: bytes) -> None:
    """Begin a request under the key ``abc`` and never end it, as a killed service would."""
    seen = fingerprint("POST", path, "", body)
    record = await services.controller.begin_idempotent("local", "abc", seen)
    assert record.outcome == "new"


async def test_a_key_in_flight_is_a_conflict_that_says_when_to_try_again(
    services: Services, client: httpx.AsyncClient
) -> None:
    registration = await register(client)
    path = f"/v1/jobs/{registration['job']}/overrides"
    body = b'{"kind": "multiplier", "multiplier": 0.5}'
    await claim(services, path, body)
    headers = {"idempotency-key": "abc", "content-type": "application/json"}
    reply = await client.post(path, content=body, headers=headers)
    assert reply.status_code == 409
    assert reply.json()["code"] == "REQUEST_IN_FLIGHT"
    assert reply.headers["retry-after"] == "1"


async def test_a_registration_does_not_wait_for_one_that_was_killed(
    services: Services, client: httpx.AsyncClient
) -> None:
    body = json.dumps(spec()).encode()
    await claim(services, "/v1/jobs", body)
    headers = {"idempotency-key": "abc", "content-type": "application/json"}
    first = await client.post("/v1/jobs", content=body, headers=headers)
    assert first.status_code == 201
    again = await client.post("/v1/jobs", content=body, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()


async def test_two_equal_requests_at_once_happen_once(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "abc"}
    replies = await asyncio.gather(
        *(client.post("/v1/jobs", json=spec(), headers=headers) for _ in range(8))
    )
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.text for reply in replies}) == 1
    assert len((await client.get("/v1/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize("key", ["", "with space", "x" * 201])
async def test_a_malformed_idempotency_key_is_400(client: httpx.AsyncClient, key: str) -> None:
    reply = await client.post("/v1/jobs", json=spec(), headers={"idempotency-key": key})
    assert reply.status_code == 400
    assert reply.json()["code"] == "INVALID_IDEMPOTENCY_KEY"


async def test_jobs_are_listed_page_by_page_newest_first(client: httpx.AsyncClient) -> None:
    made = [(await register(client, external_id=f"run-{n}"))["job"] for n in range(5)]
    found: list[str] = []
    token = ""
    sizes = []
    while True:
        page = (await client.get("/v1/jobs", params={"page_size": 2, "page_token": token})).json()
        sizes.append(len(page["jobs"]))
        found += [job["id"] for job in page["jobs"]]
        token = page["next_page_token"]
        if not token:
            break
    assert found == made[::-1]
    assert sizes == [2, 2, 1]


async def test_a_page_token_from_elsewhere_is_refused(client: httpx.AsyncClient) -> None:
    job = (await register(client))["job"]
    for path in ("/v1/jobs", f"/v1/jobs/{job}/events"):
        reply = await client.get(path, params={"page_token": "elsewhere"})
        assert reply.status_code == 422
        assert reply.json()["code"] == "BAD_PAGE_TOKEN"


async def test_events_are_listed_page_by_page_without_gaps(client: httpx.AsyncClient) -> None:
    registration = await register(client)
    await send(client, registration, began(), *(rows(2 + n, first=10 * n) for n in range(5)))
    path = f"/v1/jobs/{registration['job']}/events"
    whole = (await client.get(path, params={"page_size": 100})).json()["events"]
    numbers: list[int] = []
    token = ""
    while True:
        page = (await client.get(path, params={"page_size": 3, "page_token": token})).json()
        numbers += [event["number"] for event in page["events"]]
        token = page["next_page_token"]
        if not token:
            break
    assert numbers == [event["number"] for event in whole]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 6


async def test_events_are_listed_by_type(client: httpx.AsyncClient) -> None:
    registration = await register(client)
    await send(client, registration, began(), rows(2), rows(3, first=10))
    path = f"/v1/jobs/{registration['job']}/events"
    only = (await client.get(f"{path}?type=measurements&page_size=1")).json()
    assert [event["type"] for event in only["events"]] == ["measurements"]
    token = only["next_page_token"]
    rest = (await client.get(f"{path}?type=measurements&page_token={token}")).json()
    assert [event["body"]["number"] for event in only["events"] + rest["events"]] == [2, 3]
    assert rest["next_page_token"] == ""
    two = (await client.get(f"{path}?type=registered&type=session_began")).json()["events"]
    assert [event["type"] for event in two] == ["registered", "session_began"]
    assert (await client.get(f"{path}?type=nothing")).json()["events"] == []
    assert (await client.get(f"{path}?type=1%3B")).status_code == 422


async def test_the_curve_shows_the_kept_branch_or_every_session(client: httpx.AsyncClient) -> None:
    first = await register(client)
    await send(client, first, began(), rows(2, count=50))
    second = await register(client, nonce="start-2")
    await send(client, second, began(position=30), rows(2, first=30, count=20))
    path = f"/v1/jobs/{first['job']}/curve"
    kept = (await client.get(path)).json()
    assert kept["columns"]["position"] == [float(p) for p in range(50)]
    assert kept["sessions"] == [1] * 30 + [2] * 20
    everything = (await client.get(f"{path}?all_sessions=true")).json()
    assert everything["rows_total"] == 70
    assert everything["sessions"] == [1] * 50 + [2] * 20


async def test_a_job_can_be_read_and_renamed(client: httpx.AsyncClient) -> None:
    job = (await register(client, tags={"team": "a"}))["job"]
    path = f"/v1/jobs/{job}"
    assert (await client.get(path)).json()["spec"]["budget"] == {"clock": "steps", "total": 1000}
    patched = await client.patch(path, json={"name": "new", "tags": {"team": "b"}})
    assert patched.json()["name"] == "new"
    assert (await client.get(path)).json()["tags"] == {"team": "b"}
    assert (await client.patch(path, json={})).status_code == 422


async def test_verbs_change_the_status(client: httpx.AsyncClient) -> None:
    registration = await register(client)
    await send(client, registration, began(), rows(2))
    path = f"/v1/jobs/{registration['job']}"
    expected = {"pause": "paused", "resume": "running", "complete": "completed"}
    for verb, status in expected.items():
        reply = await client.post(f"{path}:{verb}")
        assert (reply.status_code, reply.json()["status"]) == (200, status)
    late = await client.post(f"{path}:pause")
    assert late.status_code == 409
    assert late.json()["hint"]


async def test_verbs_of_an_unknown_job_are_404(client: httpx.AsyncClient) -> None:
    for verb in ("pause", "resume", "cancel", "complete"):
        assert (await client.post(f"/v1/jobs/nothing:{verb}")).status_code == 404


async def test_a_person_overrides_and_hands_back(client: httpx.AsyncClient) -> None:
    registration = await register(client)
    await send(client, registration, began(), rows(2))
    path = f"/v1/jobs/{registration['job']}"
    sent = await client.post(
        f"{path}/overrides", json={"kind": "multiplier", "multiplier": 0.5, "by": "ann"}
    )
    assert sent.status_code == 201
    assert (await client.get(path)).json()["overridden"] is True
    segments = (await client.get(f"{path}/segments")).json()["segments"]
    assert segments[-1]["seq"] == sent.json()["segments"][-1]
    assert segments[-1]["policy"]["peak"] == 0.5
    assert segments[-1]["origin"] == "person"
    back = await client.post(f"{path}/overrides", json={"kind": "strategy"})
    assert back.status_code == 201
    assert (await client.get(path)).json()["overridden"] is False


async def test_a_person_extends_a_job_that_lets_others_do_so(client: httpx.AsyncClient) -> None:
    able = {"capabilities": {"budget_changes": True}, "limits": {"max_budget": 1500}}
    registration = await register(client, **able)
    await send(client, registration, began(), rows(2))
    path = f"/v1/jobs/{registration['job']}"
    wish = {"kind": "budget", "total": 1500, "by": "ann", "reason": "more data"}
    sent = await client.post(f"{path}/overrides", json=wish)
    assert sent.status_code == 201
    newest = (await client.get(f"{path}/segments")).json()["segments"][-1]
    assert [newest["seq"]] == sent.json()["segments"]
    assert (newest["budget"], newest["start"] + newest["length"]) == (1500, 1500)
    job = (await client.get(path)).json()
    assert (job["budget"], job["spec"]["budget"]["total"], job["overridden"]) == (1500, 1000, False)
    assert (await client.get(f"{path}/ledger")).json()["budget"] == 1500
    (event,) = (await client.get(f"{path}/events?type=budget")).json()["events"]
    assert event["number"] == sent.json()["event"]
    assert (event["body"]["by"], event["body"]["reason"]) == ("ann", "more data")


@pytest.mark.parametrize(
    ("changes", "total", "code", "words"),
    [
        ({"capabilities": {}}, 1500, "NO_BUDGET_CHANGES", "start it again with the new budget"),
        ({}, 1501, "ABOVE_MAX_BUDGET", "stay within max_budget"),
        ({}, 999, "SHORTER_MAIN", "stay within allow_shorter_main"),
        ({}, 1000, "BUDGET_UNCHANGED", "another total"),
        ({}, 0, "INVALID_REQUEST", "/openapi.json"),
        ({}, 2**53 + 1, "INVALID_REQUEST", "/openapi.json"),
    ],
)
async def test_a_budget_that_cannot_be_is_refused_with_what_to_do(
    client: httpx.AsyncClient, changes: dict[str, Any], total: int, code: str, words: str
) -> None:
    able = {"capabilities": {"budget_changes": True}, "limits": {"max_budget": 1500}}
    registration = await register(client, **{**able, **changes})
    await send(client, registration, began(), rows(2))
    path = f"/v1/jobs/{registration['job']}"
    reply = await client.post(f"{path}/overrides", json={"kind": "budget", "total": total})
    assert (reply.status_code, reply.json()["code"]) == (422, code)
    assert words in reply.json()["hint"]
    assert (await client.get(path)).json()["budget"] == 1000


async def test_a_report_sent_twice_counts_once(client: httpx.AsyncClient) -> None:
    registration = await register(client)
    for _ in range(2):
        reply = await send(client, registration, began(), rows(2, count=10))
        assert reply["last_record"] == 2
        assert reply["problems"] == []
    curve = await client.get(f"/v1/jobs/{registration['job']}/curve")
    assert curve.json()["rows_total"] == 10
    assert curve.json()["columns"]["step"] == [float(step) for step in range(1, 11)]


async def test_curve_schedule_and_ledger_of_a_job(client: httpx.AsyncClient) -> None:
    registration = await register(client)
    await send(client, registration, began(), rows(2, count=50))
    path = f"/v1/jobs/{registration['job']}"
    curve = (await client.get(f"{path}/curve?columns=loss")).json()
    assert set(curve["columns"]) == {"position", "step", "loss"}
    assert len(curve["columns"]["loss"]) == 50
    assert curve["kinds"] == ["main"] * 50
    assert (curve["segments"], curve["sessions"]) == ([0] * 50, [1] * 50)
    assert (await client.get(f"{path}/curve?columns=,")).status_code == 422
    pieces = (await client.get(f"{path}/schedule")).json()["pieces"]
    assert pieces[0]["start"] == 0
    ledger = (await client.get(f"{path}/ledger")).json()
    assert ledger["budget"] == 1000


async def test_families_are_listed_with_their_tiers(client: httpx.AsyncClient) -> None:
    families = (await client.get("/v1/families")).json()["families"]

    assert [family["name"] for family in families] == list(KNOWN_FAMILIES)
    tiers = {family["name"]: family["tier"] for family in families}
    assert (tiers["wsd"], tiers["rex"], tiers["uba"]) == (
        "recommended",
        "supported",
        "experimental",
    )
    assert all(family["summary"] for family in families)


async def test_strategies_are_listed_with_what_a_user_needs_to_choose_one(
    client: httpx.AsyncClient,
) -> None:
    found = {
        each["name"]: each for each in (await client.get("/v1/strategies")).json()["strategies"]
    }
    assert {"fixed", "zero_tuning", "autolrs"} <= set(found)
    tuning = found["zero_tuning"]
    assert tuning["tier"] in ("recommended", "supported")
    assert (tuning["default_cap"], "300 steps" in tuning["needs"]) == (0.15, True)
    assert (tuning["handles_budget"], found["fixed"]["handles_budget"]) == (False, True)
    assert tuning["parameters"]["properties"]["trust"]["default"] == 0.5
    assert tuning["summary"].startswith("Finds the peak learning rate")
    objectives = found["autolrs"]["parameters"]["anyOf"]
    assert ["keep_share" in each["properties"] for each in objectives] == [True, False]


async def test_operations_answer(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json()["status"] == "ok"
    assert (await client.get("/readyz")).status_code == 200
    front = await client.get("/")
    assert front.headers["content-type"].startswith("text/html")
    registration = await register(client)
    await send(client, registration, began(), rows(2, count=7))
    text = (await client.get("/metrics")).text
    assert "pacesetter_rows_total 7.0" in text
    assert "pacesetter_records_total 2.0" in text
    assert 'route="/v1/jobs/{job}/reports",status="200"} 1.0' in text
    assert registration["job"] not in text


async def test_every_answer_carries_a_request_id(client: httpx.AsyncClient) -> None:
    given = await client.get("/healthz", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    replaced = await client.get("/nothing", headers={"x-request-id": "bad id\t"})
    assert len(replaced.headers["x-request-id"]) == 16
