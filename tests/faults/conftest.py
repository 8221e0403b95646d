"""A controller to kill, and the run that nobody disturbed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import ControllerProcess, JobProcess


@dataclass(frozen=True)
class Undisturbed:
    """What a job does when nothing fails: its steps, and its segments as the controller has them."""

    rows: list[dict[str, Any]]
    segments: list[dict[str, Any]]


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ControllerProcess]:
    process = ControllerProcess(tmp_path / "controller")
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Run the job once from end to end: the reference for every fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    controller = ControllerProcess(folder / "controller")
    controller.start()
    try:
        rows = JobProcess(folder, "job", controller.url, "reference").finish()
        job = controller.job_id("reference")
        assert job is not None
        return Undisturbed(rows, segments_of(controller, job))
    finally:
        controller.stop()


def segments_of(controller: ControllerProcess, job: str) -> list[dict[str, Any]]:
    """Return what makes up each segment of the job, oldest first."""
    page = controller.get(f"/v1/jobs/{job}/segments", after=0, wait=0)
    keys = ("seq", "after", "kind", "from", "start", "length", "policy", "data")
    return [{key: segment[key] for key in keys} for segment in page["segments"]]
