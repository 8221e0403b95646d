"""A controller to kill, and the run that nobody disturbed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.harness import ControllerProcess, JobProcess


@dataclass(frozen=True)
class Undisturbed:
    """What a job does when nothing fails: its steps, and its segments as the controller has them."""

    rows: list[dict[str, Any]]
    segments: list[dict[str, Any]]

    def step_at(self, position: int, *, main: bool = True) -> int:
        """Return the first step at or beyond ``position`` that is on the main line, or off it."""
        rows = (row for row in self.rows if row["main"] is main and row["position"] >= position)
        return int(next(rows)["step"])


@pytest.fixture(scope="session")
def any_controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerProcess]:
    """One port and one data folder for all tests: what a test kills, the next one starts again."""
    process = ControllerProcess(tmp_path_factory.mktemp("controller"))
    yield process
    process.stop()


@pytest.fixture
def controller(any_controller: ControllerProcess) -> ControllerProcess:
    """A controller that runs."""
    if not any_controller.is_running:
        any_controller.start()
    return any_controller


@pytest.fixture(scope="session")
def undisturbed(
    any_controller: ControllerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """Run the job once from end to end: the reference for every fault."""
    if not any_controller.is_running:
        any_controller.start()
    folder = tmp_path_factory.mktemp("undisturbed")
    rows = JobProcess(folder, "job", any_controller.url, "reference").finish()
    job = any_controller.job_id("reference")
    assert job is not None
    return Undisturbed(rows, segments_of(any_controller, job))


def segments_of(controller: ControllerProcess, job: str) -> list[dict[str, Any]]:
    """Return what makes up each segment of the job, oldest first."""
    page = controller.get(f"/v1/jobs/{job}/segments", after=0, wait=0)
    keys = ("seq", "after", "kind", "from", "start", "length", "policy", "data")
    return [{key: segment[key] for key in keys} for segment in page["segments"]]
