"""Real processes to kill: the controller on a fixed port and data folder, and a training job."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

DEADLINE_SECONDS = 90.0
SHORTEST_PAUSE = 0.02
"""Between two looks: as long where a process is to be killed at its worst moment, such as a decision of some tenths."""
Value = TypeVar("Value")


def eventually(
    read: Callable[[], Value | None],
    what: str,
    seconds: float = DEADLINE_SECONDS,
    longest_pause: float = 0.1,
) -> Value:
    """Return the first value of ``read`` that is not None (or False); fail after ``seconds``.

    It pauses for a tenth of what it has waited: looks take processor time from what they wait for.
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        value = read()
        if value:
            return value
        time.sleep(min(max(0.1 * waited, SHORTEST_PAUSE), longest_pause))
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def free_port() -> int:
    """Return a port that nobody listens on.

    Not one that the system hands out: while the controller is down, any connection of another test could get that.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("100 ports from 20000 to 32000 are all taken")


class ControllerProcess:
    """`pacesetter-server serve` on one port and one data folder, through any number of starts."""

    def __init__(self, folder: Path, database: str | None = None, **environment: str) -> None:
        self.environment = environment
        self.folder, self.database, self.port = folder, database, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "controller.log"
        self.api = httpx.Client(base_url=self.url, timeout=10.0)
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, *, wait: bool = True) -> None:
        command = [sys.executable, "-m", "pacesetter_service.cli", "serve", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--data-dir", str(self.folder)]
        if self.database is not None:
            command += ["--database", self.database]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
            )
        if wait:
            eventually(self.is_ready, f"the controller to be ready; see {self.log}")

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the controller ended:\n{self.log.read_text()[-3000:]}")
        try:
            return self.api.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL, as a machine that loses power would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and fail if it takes longer than 10 s."""
        self.api.close()
        if self.process is not None and self.is_running:
            self.process.terminate()
            self.process.wait(timeout=10)

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON of a GET that must succeed."""
        return self.api.get(path, params=parameters).raise_for_status().json()

    def job_id(self, external_id: str) -> str | None:
        """Return the id of the job with ``external_id``, or None while there is none."""
        jobs = self.get("/v1/jobs", page_size=100)["jobs"]
        return next((job["id"] for job in jobs if job["external_id"] == external_id), None)

    def events(self, job: str, kind: str | None = None) -> list[dict[str, Any]]:
        """Return every event of ``job``, oldest first."""
        events: list[dict[str, Any]] = []
        token = ""
        while True:
            query = {"page_size": 1000, **({"page_token": token} if token else {})}
            page = self.get(f"/v1/jobs/{job}/events", **query)
            events += page["events"]
            token = page.get("next_page_token") or ""
            if not token:
                return [event for event in events if kind in (None, event["type"])]


class JobProcess:
    """One start of ``tests/faults/job.py``."""

    def __init__(self, folder: Path, name: str, url: str, external_id: str, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log, self.output = folder / f"{name}.jsonl", folder / f"{name}.out"
        environment = {
            **os.environ,
            "PACESETTER_URL": url,
            "PACESETTER_DIR": str(folder / "journal"),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "tests.faults.job", "--external-id", external_id]
        command += ["--log", str(self.log), *options]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    def rows(self) -> list[dict[str, Any]]:
        """Return the steps logged so far; a line that is still being written is left out."""
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return [row for row in rows if "step" in row]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def finish(self, seconds: float = DEADLINE_SECONDS) -> list[dict[str, Any]]:
        """Wait for a clean exit and return the steps."""
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError(f"the job hangs:\n{self.output.read_text()[-3000:]}") from error
        assert code == 0, self.output.read_text()[-3000:]
        return self.rows()


class JobRanks:
    """The ranks of one start of the job, a process each."""

    def __init__(
        self, ranks: int, folder: Path, name: str, url: str, external_id: str, *options: str
    ) -> None:
        meeting = ("--ranks", str(ranks), "--rendezvous", str(folder / f"{name}.rendezvous"))
        self.ranks = [
            JobProcess(
                folder / f"rank{rank}",
                name,
                url,
                external_id,
                *("--rank", str(rank), *meeting, *options),
            )
            for rank in range(ranks)
        ]

    def kill(self) -> None:
        for rank in self.ranks:
            rank.kill()

    def finish(self) -> list[list[dict[str, Any]]]:
        """Wait for a clean exit of every rank and return the steps of each."""
        return [rank.finish() for rank in self.ranks]


def main_line(rows: list[dict[str, Any]]) -> dict[int, float]:
    """Return the learning rate at every main-line position; a position taken twice keeps its last."""
    return {row["position"]: row["lr"] for row in rows if row["main"]}
