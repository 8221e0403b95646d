"""A controller with short leases, and workers as processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from pacesetter_workers.executors.cluster import use_own_token

from tests.faults.harness import ControllerProcess, eventually
from tests.workers.support import OWN

# Ray reads it when it is imported, which modules of these tests do.
use_own_token()

LEASE_SECONDS = 3


class WorkerProcess:
    """One start of ``pacesetter-worker`` from the root of the repository."""

    def __init__(self, url: str, folder: Path, name: str, *options: str) -> None:
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "pacesetter_workers.cli", "--url", url, "--name", name]
        command += ["--folder", str(folder / "checkpoints"), *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def kill(self) -> None:
        """SIGKILL, as a machine that loses power would."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stop it in the middle of whatever it does, its trials included."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            process.suspend()
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)
        for process in psutil.Process(self.process.pid).children(recursive=True):
            process.resume()

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60.0)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError(f"the worker stays:\n{self.log.read_text()[-3000:]}") from error


class Fleet:
    """A controller, and workers that are gone when the test is."""

    def __init__(self, controller: ControllerProcess, folder: Path) -> None:
        self.controller, self.folder = controller, folder
        self.workers: list[WorkerProcess] = []

    def worker(self, name: str, *options: str) -> WorkerProcess:
        """Start a worker."""
        started = WorkerProcess(self.controller.url, self.folder, name, *options)
        self.workers.append(started)
        return started

    def experiment(self, proxy: str, trials: int, **changes: Any) -> str:
        """Register a search over random learning rates; return its id."""
        known = proxy in ("byte_lm", "mlp", "noop") or ":" in proxy
        spec: Mapping[str, Any] = {
            "name": proxy,
            "proxy": proxy if known else f"{OWN}:{proxy}",
            "space": {"lr": {"kind": "range", "low": 2.0**-12, "high": 2.0**-4}},
            "strategy": {"name": "random"},
            "max_trials": trials,
            **changes,
        }
        reply = self.controller.api.post("/v1/experiments", json=spec)
        assert reply.is_success, reply.text
        return str(reply.json()["id"])

    def trials(self, experiment: str) -> list[dict[str, Any]]:
        """Return every trial of an experiment, by number."""
        trials: list[dict[str, Any]] = []
        token = ""
        while True:
            query = {"page_size": 100, **({"page_token": token} if token else {})}
            page = self.controller.get(f"/v1/experiments/{experiment}/trials", **query)
            trials += page["trials"]
            token = page.get("next_page_token") or ""
            if not token:
                return sorted(trials, key=lambda trial: int(trial["number"]))

    def ended(self, experiment: str, count: int, seconds: float = 90.0) -> list[dict[str, Any]]:
        """Wait until ``count`` trials are over; return all."""

        def over() -> list[dict[str, Any]] | None:
            trials = self.trials(experiment)
            done = [one for one in trials if one["status"] not in ("queued", "leased")]
            return trials if len(done) >= count else None

        return eventually(over, f"{count} trials of {experiment}; see {self.folder}", seconds)

    def leased(self, experiment: str, step: int) -> dict[str, Any]:
        """Wait until some trial is leased and has reached ``step``; return it."""

        def running() -> dict[str, Any] | None:
            found = (one for one in self.trials(experiment) if one["status"] == "leased")
            return next((one for one in found if one["step"] >= step), None)

        return eventually(running, f"a trial of {experiment} at step {step}")


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerProcess]:
    """A controller that runs, with leases of three seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACESETTER_LEASE_SECONDS", str(LEASE_SECONDS))
        process = ControllerProcess(tmp_path_factory.mktemp("controller"))
        process.start()
        yield process
        process.stop()


@pytest.fixture
def fleet(controller: ControllerProcess, tmp_path: Path) -> Iterator[Fleet]:
    """Nothing runs yet but the controller."""
    opened = Fleet(controller, tmp_path)
    yield opened
    for worker in opened.workers:
        if worker.process.poll() is None:
            worker.kill()
