"""The real process: where it listens, who gets in, how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.service.http.support import spec

pytestmark = pytest.mark.faults

DEADLINE_SECONDS = 60.0
STREAMS = 50
COMMAND = [sys.executable, "-m", "pacesetter_service.cli"]


def environment(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PACESETTER_")}
    return {**kept, "OMP_NUM_THREADS": "1", **changes}


def run(*arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def start(data_dir: Path, *arguments: str, **changes: str) -> "subprocess.Popen[bytes]":
    # A file, not a pipe: a pipe that nobody reads fills up and stops the server.
    with (data_dir / "log").open("ab") as log:
        return subprocess.Popen(
            [
                *COMMAND,
                "serve",
                *("--port", "0", "--data-dir", str(data_dir), "--url-file", str(data_dir / "url")),
                *arguments,
            ],
            env=environment(**changes),
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def url_of(data_dir: Path, process: "subprocess.Popen[bytes]") -> str:
    ends = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        if (data_dir / "url").exists():
            return (data_dir / "url").read_text().strip()
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise AssertionError(f"it did not start: {(data_dir / 'log').read_text()}")


@pytest.fixture
def server(tmp_path: Path) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    process = start(tmp_path)
    yield url_of(tmp_path, process), process
    process.kill()
    process.wait()


def open_stream(url: str, path: str) -> socket.socket:
    """Ask for the stream and read until its first event has come."""
    place = urlsplit(url)
    assert place.hostname is not None
    connection = socket.create_connection((place.hostname, place.port or 0), timeout=20)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()
    )
    seen = b""
    while b"event: status" not in seen:
        chunk = connection.recv(65536)
        assert chunk, seen
        seen += chunk
    return connection


def rest_of(connection: socket.socket) -> bytes:
    seen = b""
    while chunk := connection.recv(65536):
        seen += chunk
    connection.close()
    return seen


def test_sigterm_ends_50_open_streams_within_10_seconds(
    server: "tuple[str, subprocess.Popen[bytes]]",
    tmp_path: Path,
) -> None:
    url, process = server
    job = httpx.post(f"{url}/v1/jobs", json=spec()).json()["job"]
    streams = [open_stream(url, f"/v1/jobs/{job}/segments") for _ in range(STREAMS)]
    assert f"pacesetter_segment_streams {STREAMS}.0" in httpx.get(f"{url}/metrics").text
    process.send_signal(signal.SIGTERM)
    status = process.wait(timeout=10)
    log = (tmp_path / "log").read_text()
    assert status == 0, log
    assert "Traceback" not in log
    for stream in streams:
        assert b"event: reconnect" in rest_of(stream)


def test_sigterm_ends_a_long_poll_with_an_answer(
    server: "tuple[str, subprocess.Popen[bytes]]",
) -> None:
    url, process = server
    job = httpx.post(f"{url}/v1/jobs", json=spec()).json()["job"]
    place = urlsplit(url)
    connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=20)
    connection.sendall(
        f"GET /v1/jobs/{job}/segments?after=1000&wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    # A request on another connection is answered only after this one has been read.
    assert httpx.get(f"{url}/healthz").status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert rest_of(connection).startswith(b"HTTP/1.1 200")


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    jobs = []
    for _ in range(2):
        (tmp_path / "url").unlink(missing_ok=True)
        process = start(tmp_path)
        url = url_of(tmp_path, process)
        jobs.append(httpx.post(f"{url}/v1/jobs", json=spec()).json()["job"])
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    assert jobs[0] == jobs[1]


def test_a_public_address_with_a_token_asks_for_it(tmp_path: Path) -> None:
    token = "an-admin-token-for-this-test"
    process = start(tmp_path, "--host", "0.0.0.0", PACESETTER_ADMIN_TOKEN=token)
    try:
        url = url_of(tmp_path, process)
        assert httpx.get(f"{url}/v1/jobs").status_code == 401
        good = httpx.get(f"{url}/v1/jobs", headers={"authorization": f"Bearer {token}"})
        assert good.status_code == 200
    finally:
        process.terminate()
        process.wait(timeout=20)
    assert token not in (tmp_path / "log").read_text()


def test_the_command_line_makes_tokens_and_names_mistakes(tmp_path: Path) -> None:
    made = run("token", "create", "--scope", "read", "--data-dir", str(tmp_path))
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"pace_[A-Za-z0-9]{43}", made.stdout.strip())
    assert made.stdout.strip() not in made.stderr
    bad = run("serve", PACESETTER_PORT="many")
    assert bad.returncode == 2
    assert "PACESETTER_PORT" in bad.stderr
    assert "Traceback" not in bad.stderr
