"""Four jobs at once on one PostgreSQL, and each of them alone: the same segments, the same steps.

While the four train, the process that plans is stopped for a while, in the middle of what it does, so that all four
wait for it at the same time; whatever the service answers then, it answers without planning.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.harness import ControllerProcess, eventually
from tests.protocol.text_job import SETTINGS

pytestmark = pytest.mark.slow

JOB_SECONDS = 240.0
SPEC = {
    "nonce": "1",
    "budget": {"total": 1000},
    "base": {"length": 1000},
    "groups": [{"name": "all", "base_lr": 0.1}],
    "capabilities": {"rollback": "memory"},
}
NewDatabase = Callable[[], AbstractContextManager[str]]


@dataclass(frozen=True)
class Job:
    """What a job did: its steps, its segments without what only tells when they were made, and why they were."""

    rows: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    decisions: list[dict[str, Any]]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [segment for segment in self.segments if segment["kind"] == kind]

    def codes(self) -> set[str]:
        return {decision["code"] for decision in self.decisions}


@dataclass(frozen=True)
class Standstill:
    """What the service did while its planning process was stopped and four jobs waited for it."""

    planner: int
    server: int
    health: int
    report: int
    bystander: dict[str, Any]
    """Registered meanwhile, with a strategy that needs no process of its own."""
    sent: dict[str, tuple[int, int]]
    """Segments of each job that had been sent before all four waited, and after everything else was answered."""


@dataclass(frozen=True)
class Together:
    """Four jobs, each a process, trained at once."""

    jobs: dict[str, Job]
    standstill: Standstill


def register(controller: ControllerProcess, name: str, strategy: dict[str, Any]) -> dict[str, Any]:
    spec = {**SPEC, "name": name, "external_id": name, "strategy": strategy}
    reply = controller.api.post("/v1/jobs", json=spec)
    assert reply.status_code == 201, reply.text
    registration: dict[str, Any] = reply.json()
    return registration


@contextlib.contextmanager
def service(folder: Path, database: str) -> Iterator[ControllerProcess]:
    """A service whose planning process has answered once: a job that registers gets its first segments at once."""
    controller = ControllerProcess(folder, database)
    try:
        controller.start()
        job = register(controller, "first", {"name": "zero_tuning"})["job"]
        eventually(lambda: segments(controller, job), "the planning process to answer")
        yield controller
    finally:
        controller.stop()


def segments(controller: ControllerProcess, job: str) -> list[dict[str, Any]]:
    page: dict[str, Any] = controller.get(f"/v1/jobs/{job}/segments", after=0, wait=0)
    return list(page["segments"])


def train(
    folder: Path, gate: Path, jobs: Sequence[tuple[str, ControllerProcess]]
) -> "subprocess.Popen[bytes]":
    """Start one process that trains ``jobs`` one after the other."""
    command = [sys.executable, "-m", "tests.protocol.text_job"]
    command += ["--folder", str(folder), "--gate", str(gate)]
    for name, controller in jobs:
        command += ["--job", name, controller.url]
    journal = folder / f"journal-{jobs[0][0]}"
    environment = {**os.environ, "PACESETTER_DIR": str(journal), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment)


def finish(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    try:
        assert [process.wait(timeout=JOB_SECONDS) for process in processes] == [0] * len(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def what_it_did(controller: ControllerProcess, folder: Path, name: str) -> Job:
    job = controller.job_id(name)
    assert job is not None
    lines = (folder / f"{name}.jsonl").read_text().splitlines()
    decisions = [event["body"] for event in controller.events(job, "decision")]
    keys = ("strategy", "code", "text", "numbers")
    return Job(
        rows=[json.loads(line) for line in lines],
        segments=segments(controller, job),
        decisions=[{key: decision[key] for key in keys} for decision in decisions],
    )


def planning_process(controller: ControllerProcess) -> psutil.Process:
    assert controller.process is not None
    children = psutil.Process(controller.process.pid).children()
    found = [one for one in children if "pacesetter_service.planning.process" in one.cmdline()]
    (process,) = found
    return process


@contextlib.contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """Stop a process where it stands, as SIGSTOP does; it goes on afterwards."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def stand_still(controller: ControllerProcess, gate: Path) -> Standstill:
    """Stop planning, let the jobs run until each of them waits for an answer, and ask the service other things."""
    assert controller.process is not None
    planner = planning_process(controller)
    jobs = {
        name: eventually(partial(controller.job_id, name), f"{name} to register")
        for name in SETTINGS
    }
    for name, job in jobs.items():
        eventually(partial(segments, controller, job), f"the first segments of {name}")
    before = {name: len(segments(controller, job)) for name, job in jobs.items()}
    with stopped(planner):
        gate.touch()
        for name, job in jobs.items():
            eventually(partial(controller.events, job, "segment_ended"), f"{name} to wait")
        health = controller.api.get("/healthz").status_code
        bystander = register(controller, "bystander", {"name": "fixed"})
        record = {"type": "session_began", "number": 1, "segment": 0, "position": 0}
        report = controller.api.post(
            f"/v1/jobs/{bystander['job']}/reports",
            json={"session": bystander["session"], "records": [record]},
        )
        after = {name: len(segments(controller, job)) for name, job in jobs.items()}
    sent = {name: (before[name], after[name]) for name in jobs}
    server = controller.process.pid
    return Standstill(planner.pid, server, health, report.status_code, bystander, sent)


@pytest.fixture(scope="module")
def together(
    new_postgresql_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Together:
    folder = tmp_path_factory.mktemp("together")
    gate = folder / "gate"
    with new_postgresql_database() as url, service(folder / "service", url) as controller:
        processes = [train(folder, gate, [(name, controller)]) for name in SETTINGS]
        try:
            standstill = stand_still(controller, gate)
        finally:
            gate.touch()
            finish(processes)
        jobs = {name: what_it_did(controller, folder, name) for name in SETTINGS}
    return Together(jobs, standstill)


@pytest.fixture(scope="module")
def alone(
    new_postgresql_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Job]:
    """Each job with a service and a database of its own, when the others are over or have not begun."""
    folder = tmp_path_factory.mktemp("alone")
    gate = folder / "gate"
    gate.touch()
    with ExitStack() as stack:
        services = {
            name: stack.enter_context(
                service(folder / name, stack.enter_context(new_postgresql_database()))
            )
            for name in SETTINGS
        }
        finish([train(folder, gate, list(services.items()))])
        return {name: what_it_did(services[name], folder, name) for name in SETTINGS}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_job_among_four_does_to_the_bit_what_it_does_alone(
    together: Together, alone: dict[str, Job], name: str
) -> None:
    one, other = together.jobs[name], alone[name]
    assert one.segments == other.segments
    assert one.decisions == other.decisions
    assert one.rows == other.rows
    assert [row["position"] for row in one.rows if row["main"]] == list(range(SETTINGS[name].steps))


def test_probes_were_bought_and_rates_were_changed(together: Together) -> None:
    """Else there would have been nothing to disturb."""
    for name in ("bigram", "perceptron"):
        assert {"range_test", "rung", "measured", "main"} <= together.jobs[name].codes()
        assert len(together.jobs[name].of_kind("probe")) >= 3
    for name in ("layer", "transformer"):
        assert {"worth_probing", "measured"} <= together.jobs[name].codes()
        assert len(together.jobs[name].of_kind("probe")) >= 2
    assert "changed" in together.jobs["layer"].codes() | together.jobs["transformer"].codes()


def test_the_service_answers_while_all_four_wait_for_a_process_that_stands_still(
    together: Together,
) -> None:
    found = together.standstill
    assert found.planner != found.server
    assert (found.health, found.report) == (200, 200)
    assert found.bystander["segments"]
    assert all(before == after for before, after in found.sent.values())
