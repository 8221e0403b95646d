"""A small service on a real socket, with faults to switch on."""

import asyncio
import gzip
import json
import threading
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pacesetter.protocol import Segment
from starlette.types import Receive, Scope, Send

from tests.client.transport.samples import eventually
from tests.faults.harness import free_port


@dataclass
class Session:
    """What the service has stored of one session."""

    id: str
    external_id: str
    records: list[dict[str, Any]] = field(default_factory=list)
    ledger: dict[str, Any] | None = None
    deliveries: int = 0

    @property
    def last(self) -> int:
        return max((record["number"] for record in self.records), default=0)

    @property
    def numbers(self) -> list[int]:
        return [record["number"] for record in self.records]


class TornResponse(Response):
    """A response that breaks off in the middle: the service took the request and the answer was lost."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"1000"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"last', "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class FakeService:
    """Registers jobs, stores records by number, and hands out segments; every fault is a switch."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.segments: list[dict[str, Any]] = []
        self.requests: list[tuple[str, dict[str, str], int]] = []
        self.registrations: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.faults: deque[str] = deque()
        """One for each coming report: 500, 503, 429, 413, drop (not stored), torn (stored, answer lost)."""
        self.poison: set[int] = set()
        self.hanging = False
        self.refuse_registration: tuple[int, str] | None = None
        self.broken_nonces: set[str] = set()
        self.answer_everything: tuple[int, dict[str, str]] | None = None
        self.stream_mode = "ok"
        """ok, silent, page (not a stream), brief (ends after what is there), none (404)."""
        self.reply_fields: dict[str, Any] = {}
        self.repeat_all_segments = False
        self.status_events: list[str] = []
        self.streams_opened: list[str | None] = []
        self.polls: list[int] = []
        self.last_record_lag = 0
        self.token: str | None = None
        self.certificate: Path | None = None
        self._port = free_port()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def url(self) -> str:
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._stopping = False
        config = uvicorn.Config(
            self._app(),
            host="127.0.0.1",
            port=self._port,
            log_config=None,
            log_level="critical",
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=1,
            ssl_certfile=self.certificate,
        )
        server = uvicorn.Server(config)
        self._server = server
        self._thread = threading.Thread(target=server.run, name="fake-service", daemon=True)
        self._thread.start()
        eventually(lambda: server.started)

    def stop(self) -> None:
        """Be away: nobody listens on the port any more."""
        self._stopping = True
        self.hanging = False
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(20.0)
            assert not self._thread.is_alive()
            self._server = self._thread = None

    def add_segment(self, segment: Segment | dict[str, Any]) -> None:
        document = (
            segment
            if isinstance(segment, dict)
            else json.loads(segment.model_dump_json(by_alias=True))
        )
        self.segments.append(document)

    def session(self, nonce: str = "nonce-1") -> Session:
        return self.sessions[nonce]

    def numbers(self, nonce: str = "nonce-1") -> list[int]:
        return self.sessions[nonce].numbers if nonce in self.sessions else []

    def _app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_route("/v1/jobs", self._register, methods=["POST"])
        app.add_api_route("/v1/jobs/{job}/reports", self._report, methods=["POST"])
        app.add_api_route(
            "/v1/jobs/{job}/segments", self._segments, methods=["GET"], response_model=None
        )
        return app

    async def _gate(self, request: Request) -> Response | None:
        body = await request.body()
        self.requests.append((request.url.path, dict(request.headers), len(body)))
        while self.hanging:
            await asyncio.sleep(0.005)
        if self.answer_everything is not None:
            status, headers = self.answer_everything
            return _problem(status, f"CODE_{status}", headers)
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return _problem(401, "UNAUTHENTICATED")
        return None

    async def _register(self, request: Request) -> Response:
        gate = await self._gate(request)
        if gate is not None:
            return gate
        if self.refuse_registration is not None:
            return _problem(*self.refuse_registration)
        spec = json.loads(await _content(request))
        assert request.headers["idempotency-key"] == spec["nonce"]
        if spec["nonce"] in self.broken_nonces:
            return _problem(500, "INTERNAL")
        self.registrations.append(spec["nonce"])
        session = self.sessions.setdefault(
            spec["nonce"], Session(f"s-{len(self.sessions) + 1}", spec["external_id"])
        )
        number = list(self.sessions).index(spec["nonce"]) + 1
        reply = {
            "job": "job-1",
            "session": session.id,
            "session_number": number,
            "token": self.token,
            "status": "registered",
            "authority": "steer",
            "strategy": "fixed",
            "segments": self.segments,
            "a_field_from_the_future": 1,
        }
        return JSONResponse(reply)

    async def _report(self, request: Request, job: str) -> Response:
        gate = await self._gate(request)
        if gate is not None:
            return gate
        fault = self.faults.popleft() if self.faults else ""
        if fault.isdigit():
            headers = {"Retry-After": "0"} if fault in {"503", "429"} else {}
            return _problem(int(fault), f"CODE_{fault}", headers)
        if fault == "drop":
            return TornResponse()
        report = json.loads(await _content(request))
        self.bodies.append(report)
        if any(record["number"] in self.poison for record in report["records"]):
            return _problem(422, "INVALID_RECORD")
        session = next(one for one in self.sessions.values() if one.id == report["session"])
        self._store(session, report)
        if fault == "torn":
            return TornResponse()
        known = 0 if self.repeat_all_segments else report["seen"]
        reply = {
            "last_record": session.last - self.last_record_lag,
            "segments": [one for one in self.segments if one["seq"] > known],
            "status": "running",
            **self.reply_fields,
        }
        return JSONResponse(reply)

    def _store(self, session: Session, report: dict[str, Any]) -> None:
        numbers = [record["number"] for record in report["records"]]
        assert numbers == sorted(set(numbers)), "records of a report are in order"
        session.deliveries += len(numbers)
        last = session.last
        session.records.extend(r for r in report["records"] if r["number"] > last)
        session.ledger = report["ledger"] or session.ledger

    async def _segments(
        self, request: Request, job: str, after: int = 0, wait: float = 0.0
    ) -> Response:
        gate = await self._gate(request)
        if gate is not None:
            return gate
        if "text/event-stream" not in request.headers["accept"]:
            return await self._poll(after, wait)
        seen = request.headers.get("last-event-id")
        self.streams_opened.append(seen)
        if self.stream_mode == "none":
            return _problem(404, "NO_STREAM")
        if self.stream_mode == "page":
            return Response("<html>log in</html>", media_type="text/html")
        return StreamingResponse(self._events(int(seen or 0)), media_type="text/event-stream")

    async def _poll(self, after: int, wait: float) -> Response:
        self.polls.append(after)
        for _ in range(int(wait / 0.01)):
            if self._stopping or any(one["seq"] > after for one in self.segments):
                break
            await asyncio.sleep(0.01)
        newer = [one for one in self.segments if one["seq"] > after]
        return JSONResponse({"segments": newer, "status": "running"})

    async def _events(self, after: int) -> AsyncIterator[str]:
        if self.stream_mode == "silent":
            while not self._stopping and self.stream_mode == "silent":
                await asyncio.sleep(0.01)
            return
        yield ": hello\nretry: 10\n\n"
        told = 0
        while not self._stopping:
            for segment in [one for one in self.segments if one["seq"] > after]:
                after = segment["seq"]
                yield f"event: segment\nid: {after}\ndata: {json.dumps(segment)}\n\n"
            for status in self.status_events[told:]:
                yield f'event: status\ndata: {{"status":"{status}"}}\n\n'
            told = len(self.status_events)
            if self.stream_mode == "brief":
                break
            yield ": ping\n\n"
            await asyncio.sleep(0.02)
        yield "event: reconnect\ndata: {}\n\n"


def _problem(status: int, code: str, headers: dict[str, str] | None = None) -> Response:
    document = {
        "title": code,
        "status": status,
        "detail": f"detail of {code}",
        "code": code,
        "hint": "Do something else.",
    }
    return JSONResponse(document, status, headers, media_type="application/problem+json")


async def _content(request: Request) -> bytes:
    body = await request.body()
    return gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body
