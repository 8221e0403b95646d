"""The stream of segments and the long poll, over real sockets."""

import asyncio
import contextlib
import dataclasses
import json
from pathlib import Path

import httpx
from pacesetter_service.http.metrics import Metrics
from pacesetter_service.http.services import Services, open_services
from pacesetter_service.settings import Settings
from sqlalchemy.pool import QueuePool

from tests.service.http.conftest import ADMIN_TOKEN
from tests.service.http.support import (
    DEADLINE_SECONDS,
    Document,
    began,
    events_of,
    listening,
    register,
    rows,
    send,
)

EVENT_STREAM = {"accept": "text/event-stream"}


async def override(client: httpx.AsyncClient, registration: Document, multiplier: float) -> int:
    """Let a person set a multiplier; return the segment's seq."""
    reply = await client.post(
        f"/v1/jobs/{registration['job']}/overrides",
        json={"kind": "multiplier", "multiplier": multiplier},
    )
    assert reply.status_code == 201, reply.text
    seq: int = reply.json()["segments"][-1]
    return seq


async def running_job(client: httpx.AsyncClient) -> tuple[Document, int]:
    """Register a job that reports; return it with the newest seq."""
    registration = await register(client)
    await send(client, registration, began(), rows(2))
    page = (await client.get(f"/v1/jobs/{registration['job']}/segments")).json()
    return registration, max((segment["seq"] for segment in page["segments"]), default=0)


async def test_a_stream_sends_what_is_there_and_what_comes(services: Services) -> None:
    async with listening(services) as url, httpx.AsyncClient(base_url=url) as client:
        registration, newest = await running_job(client)
        path = f"/v1/jobs/{registration['job']}/segments"
        async with client.stream("GET", path, headers=EVENT_STREAM) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["cache-control"] == "no-cache"
            assert stream.headers["x-accel-buffering"] == "no"
            lines = stream.aiter_lines()
            old = await events_of(lines, newest)
            seq = await override(client, registration, 0.5)
            (new,) = await events_of(lines, 1)
    assert [int(event["id"]) for event in old] == list(range(1, newest + 1))
    assert int(new["id"]) == seq == newest + 1
    segment = json.loads(new["data"])
    assert (segment["seq"], segment["origin"]) == (seq, "person")
    assert segment["from"] == "current"


async def test_a_stream_resumes_after_the_last_event_id(services: Services) -> None:
    async with listening(services) as url, httpx.AsyncClient(base_url=url) as client:
        registration, newest = await running_job(client)
        sent = [await override(client, registration, value) for value in (0.9, 0.8, 0.7)]
        path = f"/v1/jobs/{registration['job']}/segments"
        headers = {**EVENT_STREAM, "last-event-id": str(sent[0])}
        async with client.stream("GET", f"{path}?after=0", headers=headers) as stream:
            events = await events_of(stream.aiter_lines(), 2)
    assert sent[0] == newest + 1
    assert [int(event["id"]) for event in events] == sent[1:]


async def test_the_first_lines_say_when_to_come_back_and_how_the_job_is(
    services: Services,
) -> None:
    async with listening(services) as url, httpx.AsyncClient(base_url=url) as client:
        registration, _ = await running_job(client)
        path = f"/v1/jobs/{registration['job']}/segments"
        async with client.stream("GET", path, params={"stream": "1"}) as stream:
            (first,) = await events_of(stream.aiter_lines(), 1, "status")
    assert first["retry"] == "3000"
    assert json.loads(first["data"]) == {"status": "running"}


async def test_an_old_stream_ends_with_reconnect(services: Services) -> None:
    settings = dataclasses.replace(services.settings, stream_seconds=0.3)
    short = dataclasses.replace(services, settings=settings)
    async with listening(short) as url, httpx.AsyncClient(base_url=url) as client:
        registration, _ = await running_job(client)
        path = f"/v1/jobs/{registration['job']}/segments"
        async with client.stream("GET", path, headers=EVENT_STREAM) as stream:
            lines = stream.aiter_lines()
            (event,) = await events_of(lines, 1, "reconnect")
            assert [line async for line in lines] == []
    assert event["data"] == "{}"


async def test_a_closed_stream_is_not_counted_any_more(services: Services) -> None:
    async with listening(services) as url, httpx.AsyncClient(base_url=url) as client:
        registration, _ = await running_job(client)
        path = f"/v1/jobs/{registration['job']}/segments"
        async with client.stream("GET", path, headers=EVENT_STREAM) as stream:
            await events_of(stream.aiter_lines(), 1, "status")
            assert "pacesetter_segment_streams 1.0" in services.metrics.render().decode()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while "pacesetter_segment_streams 0.0" not in services.metrics.render().decode():
                await asyncio.sleep(0.01)


async def test_a_long_poll_returns_as_soon_as_there_is_a_segment(services: Services) -> None:
    async with listening(services) as url, httpx.AsyncClient(base_url=url, timeout=40) as client:
        registration, newest = await running_job(client)
        path = f"/v1/jobs/{registration['job']}/segments"
        poll = asyncio.create_task(client.get(path, params={"after": newest, "wait": 30}))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not services.controller._wakeups._waiting:
                await asyncio.sleep(0)
        assert not poll.done()
        seq = await override(client, registration, 0.5)
        async with asyncio.timeout(DEADLINE_SECONDS):
            page = (await poll).json()
    assert [segment["seq"] for segment in page["segments"]] == [seq]
    assert page["status"] == "running"


async def test_a_long_poll_without_news_returns_empty(services: Services) -> None:
    async with listening(services) as url, httpx.AsyncClient(base_url=url) as client:
        registration, newest = await running_job(client)
        path = f"/v1/jobs/{registration['job']}/segments"
        page = await client.get(path, params={"after": newest, "wait": 0.2})
        assert page.json()["segments"] == []
        assert (await client.get(path, params={"wait": 31})).status_code == 422


async def test_an_older_session_is_sent_nothing(services: Services) -> None:
    async with listening(services) as url, httpx.AsyncClient(base_url=url) as client:
        old, newest = await running_job(client)
        assert newest >= 1
        await register(client, nonce="start-2")
        path = f"/v1/jobs/{old['job']}/segments"
        page = await client.get(path, params={"session": old["session"]})
        assert page.json()["segments"] == []


async def test_an_old_job_token_names_its_session(guarded: Services) -> None:
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    async with (
        listening(guarded) as url,
        httpx.AsyncClient(base_url=url, headers=headers) as client,
    ):
        old, _ = await running_job(client)
        new = await register(client, nonce="start-2")
        path = f"/v1/jobs/{old['job']}/segments"
        for registration, some in ((old, False), (new, True)):
            bearer = {"authorization": f"Bearer {registration['token']}"}
            page = await client.get(path, headers=bearer)
            assert bool(page.json()["segments"]) is some


async def test_streams_hold_no_database_connection(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=database_url, port=0, secret="s" * 32)
    async with (
        open_services(settings, Metrics()) as services,
        listening(services) as url,
        httpx.AsyncClient(base_url=url) as client,
        contextlib.AsyncExitStack() as streams,
    ):
        registration, _ = await running_job(client)
        path = f"/v1/jobs/{registration['job']}/segments"
        opened = []
        for _ in range(20):
            stream = client.stream("GET", path, headers=EVENT_STREAM)
            opened.append((await streams.enter_async_context(stream)).aiter_lines())
        for lines in opened:
            await events_of(lines, 1, "status")
        # What was read last is given back a moment after it was sent.
        async with asyncio.timeout(DEADLINE_SECONDS):
            while checked_out(services):
                await asyncio.sleep(0.01)
        seq = await override(client, registration, 0.5)
        for lines in opened:
            assert [int(event["id"]) for event in await events_of(lines, seq)][-1] == seq


def checked_out(services: Services) -> int:
    """Return how many connections of the pool are in use."""
    pool = services.controller._store.engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()
