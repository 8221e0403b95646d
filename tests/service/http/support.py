"""Bodies and servers for the tests of the HTTP edge."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any

import httpx
from pacesetter_service.app import app_for
from pacesetter_service.http.services import Services
from pacesetter_service.http.serving import bind, build_server

DEADLINE_SECONDS = 20.0

Document = dict[str, Any]


def spec(**changes: Any) -> Document:
    """Return the body of a registration."""
    return {
        "name": "small",
        "external_id": "run-1",
        "nonce": "start-1",
        "budget": {"clock": "steps", "total": 1000},
        "base": {"length": 1000, "body": {"family": "cosine"}},
        "groups": [{"name": "all", "base_lr": 0.001}],
        "strategy": {"name": "fixed"},
        **changes,
    }


def began(number: int = 1, position: int = 0) -> Document:
    """Return the first record of a session."""
    return {"type": "session_began", "number": number, "segment": 0, "position": position}


def rows(number: int, first: int = 0, count: int = 10, **columns: list[Any]) -> Document:
    """Return a record of measurements at steps ``first``, ``first + 1``, ..."""
    steps = [float(first + index) for index in range(count)]
    filled = {
        "position": steps,
        "step": [step + 1 for step in steps],
        "loss": [2.0 + math.exp(-step / 100) for step in steps],
        "lr": [0.001] * count,
        **columns,
    }
    return {
        "type": "measurements",
        "number": number,
        "segment": 0,
        "position": first,
        "columns": filled,
    }


async def register(client: httpx.AsyncClient, **changes: Any) -> Document:
    """Register a job and return the reply."""
    reply = await client.post("/v1/jobs", json=spec(**changes))
    assert reply.status_code in (200, 201), reply.text
    document: Document = reply.json()
    return document


async def send(client: httpx.AsyncClient, registration: Document, *records: Document) -> Document:
    """Send a report and return the reply."""
    reply = await client.post(
        f"/v1/jobs/{registration['job']}/reports",
        json={"session": registration["session"], "records": list(records)},
    )
    assert reply.status_code == 200, reply.text
    document: Document = reply.json()
    return document


@contextlib.asynccontextmanager
async def listening(services: Services) -> AsyncIterator[str]:
    """Serve on a real socket of this machine; yield the base URL."""
    with bind(services.settings) as listener:
        server = build_server(app_for(services), services.settings)
        running = asyncio.create_task(server.serve([listener]))
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not server.url and not running.done():
                    await asyncio.sleep(0.01)
            yield server.url
        finally:
            services.closing.set()
            server.should_exit = True
            await running


async def events_of(
    lines: AsyncIterator[str], wanted: int, event: str = "segment"
) -> list[dict[str, str]]:
    """Read server-sent events until ``wanted`` of one kind came; return those."""
    found: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for line in lines:
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
                continue
            if fields.get("event") == event:
                found.append(fields)
            if len(found) == wanted:
                return found
            fields = {}
    raise AssertionError(f"the stream ended after {len(found)} of {wanted} {event} events")
