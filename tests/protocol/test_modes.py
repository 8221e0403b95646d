"""Ways to reach a service other than a plain address: a local one, later, and through a proxy."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pacesetter
import psutil
import pytest
import torch
from pacesetter import cli

from tests.faults.harness import ControllerProcess, eventually

STEPS = 450

LOCAL_JOB = """
import json, os, sys
from tests.protocol.test_modes import train
import psutil
result = train("local")
servers = [child.pid for child in psutil.Process().children() if "serve" in child.cmdline()]
print(json.dumps({"unsent": result.unsent_records, "job": result.job, "servers": servers}))
"""


def train(external_id: str, **options: Any) -> pacesetter.Result:
    """Train a linear model to the end of its budget."""
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 1)
    run = pacesetter.attach(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-2),
        name="modes",
        external_id=external_id,
        budget=pacesetter.Steps(STEPS),
        strategy="fixed",
        **options,
    )
    for batch in run.batches([torch.randn(4, 8) for _ in range(10)]):
        loss = model(batch).square().mean()
        loss.backward()
        run.step(loss)
    return run.finish()


def positions(controller: ControllerProcess, job: str) -> list[float]:
    """Return the positions of all rows that the service has of ``job``."""
    curve = controller.get(f"/v1/jobs/{job}/curve", max_points=10_000)
    return [float(position) for position in curve["columns"]["position"]]


@pytest.mark.faults
def test_a_local_service_starts_with_the_job_and_ends_with_it(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PACESETTER_URL": "local",
        "PACESETTER_DATA_DIR": str(tmp_path / "data"),
        "PACESETTER_DIR": str(tmp_path / "journal"),
    }
    job = subprocess.run(
        [sys.executable, "-c", LOCAL_JOB],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert job.returncode == 0, job.stderr[-3000:]
    said = json.loads(job.stdout.splitlines()[-1])
    assert said["unsent"] == 0
    [server] = said["servers"]
    eventually(lambda: not psutil.pid_exists(server), "the local server to end")
    # What it stored is there for whoever opens the same folder.
    later = ControllerProcess(tmp_path / "data")
    later.start()
    try:
        assert later.get(f"/v1/jobs/{said['job']}")["status"] == "completed"
        assert positions(later, said["job"]) == list(range(STEPS))
    finally:
        later.stop()


def test_what_was_recorded_offline_is_synced_once(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    result = train("recorded-offline", mode="offline", directory=tmp_path)
    assert result.job is None
    assert result.unsent_records > 0
    assert controller.job_id("recorded-offline") is None
    seen = []
    for _ in range(2):
        assert cli.main(["sync", str(tmp_path), "--url", controller.url]) == 0
        job = controller.job_id("recorded-offline")
        assert job is not None
        # The curve of the job is made in the background, in its own time.
        events = [each for each in controller.events(job) if each["type"] != "curve_kept"]
        seen.append((positions(controller, job), events))
    assert seen[0][0] == list(range(STEPS))
    assert seen[1] == seen[0]
    assert controller.get(f"/v1/jobs/{job}")["status"] == "completed"


@contextmanager
def forward_proxy(target: str) -> Iterator[tuple[str, list[str]]]:
    """Run an HTTP proxy that sends everything to ``target``; yield its address and the URLs that it was asked for."""
    asked: list[str] = []
    onward_sockets: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            asked.append(self.path)
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            onward = http.client.HTTPConnection(urlsplit(target).netloc, timeout=30)
            onward.connect()
            onward_sockets.append(onward.sock)
            headers = {**self.headers, "Host": urlsplit(target).netloc}
            onward.request(self.command, f"{url.path}?{url.query}", body or None, headers)
            with closing(onward), onward.getresponse() as reply:
                self.pass_back(reply)

        def pass_back(self, reply: http.client.HTTPResponse) -> None:
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            while block := reply.read1(65536):
                self.wfile.write(block)

        do_GET = do_POST = forward

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # closing it waits for the threads, so that no socket is left

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that leaves in the middle of a stream is no error here."""

    with Server(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        for each in onward_sockets:
            with suppress(OSError):  # most are closed already; a stream ends here
                each.shutdown(socket.SHUT_RDWR)


def test_the_proxy_of_the_environment_is_used(
    controller: ControllerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with forward_proxy(controller.url) as (address, asked):
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.setenv("PACESETTER_INSECURE_HTTP", "1")
        # Nobody but the proxy knows this host; the controller takes the address it listens on.
        result = train("through-a-proxy", url="http://pacesetter.invalid")
    assert result.unsent_records == 0
    assert asked[0] == "http://pacesetter.invalid/v1/jobs"
    assert any(url.endswith("/reports") for url in asked)
    job = controller.job_id("through-a-proxy")
    assert job is not None
    assert positions(controller, job) == list(range(STEPS))


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise ValueError"])
def test_a_process_that_ends_without_finish_sends_its_last_rows(
    controller: ControllerProcess, end: str
) -> None:
    external_id = f"unfinished-{end}"
    script = f"""
import sys, torch, pacesetter
model = torch.nn.Linear(8, 1)
run = pacesetter.attach(
    model, torch.optim.SGD(model.parameters(), lr=0.1), name="unfinished",
    external_id={external_id!r}, budget=pacesetter.Steps(100), url={controller.url!r},
)
for batch in run.batches([torch.randn(4, 8)]):
    model(batch).square().mean().backward()
    run.step(1.0)
    if run.position == 7:
        {end}
"""
    subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    # On a slow machine the two seconds of an exit are too short, and the journal has what is left.
    cli.main(["sync", os.environ["PACESETTER_DIR"], "--url", controller.url])
    job = controller.job_id(external_id)
    assert job is not None
    assert positions(controller, job) == [0, 1, 2, 3, 4, 5, 6]
