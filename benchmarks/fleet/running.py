"""Work of the fleet: a whole order of jobs through one service, and the arms that it is compared with."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
from pacesetter import Limits

from benchmarks.fleet.generator import FleetJob
from benchmarks.quality import steered
from benchmarks.quality.address import describe, tree_hash
from benchmarks.quality.contenders import absent_lr
from benchmarks.quality.contests import SEARCH
from benchmarks.quality.score import Score
from benchmarks.quality.steered import Steering, run_steered
from benchmarks.quality.work import Work
from demo.service import serving

CAP = 0.15
SEED = 11
"""Of weights and data: one a job, the same in every arm, so that arms compare pairwise."""

REMEMBERED_SECONDS = 60.0
"""Within which a job that has ended is evidence for the next one."""

Arm = Literal["on", "off", "prior"]


@dataclass(frozen=True)
class Order(Work):
    """All jobs of a fleet, one after another in one order, with what each learned from those before it."""

    jobs: tuple[FleetJob, ...]
    order: int

    def run(self) -> dict[str, Any]:
        """Train them all; the result has a score and a place for each job."""
        scores = []
        with service():
            for place in self.places():
                score = _trained(self.jobs[place], "on", self.jobs[place].task.steps)
                await_memory(score.job)
                scores.append({"place": place, "score": asdict(score)})
        return {"scores": scores}

    def places(self) -> list[int]:
        """Return the jobs in this order; the first order is as they were drawn."""
        count = len(self.jobs)
        if self.order == 0:
            return list(range(count))
        return [int(place) for place in np.random.default_rng(self.order).permutation(count)]

    def document(self) -> dict[str, Any]:
        """Return the jobs and everything that decides: search, and what the service makes of ended jobs."""
        return {
            "jobs": [_described(job) for job in self.jobs],
            "order": self.order,
            "search": tree_hash(SEARCH),
            "service": tree_hash("service/pacesetter_service"),
            "seed": SEED,
        }

    def modules(self) -> tuple[str, ...]:
        """Return the jobs' loop and recipes."""
        return steered.__name__, *sorted({type(job.task.recipe).__module__ for job in self.jobs})

    def about(self) -> str:
        """Return one line for people."""
        return f"order {self.order} of {len(self.jobs)} jobs"


@dataclass(frozen=True)
class Alone(Work):
    """One job without memory: searching for itself (``off``), or on its prior alone (``prior``)."""

    job: FleetJob
    arm: Arm
    steps: int

    def run(self) -> dict[str, Any]:
        """Train with the service that the environment names; the result is a :class:`Score`."""
        return asdict(_trained(self.job, self.arm, self.steps))

    def document(self) -> dict[str, Any]:
        """Return the job, the arm and the code of the search."""
        return {
            "job": _described(self.job),
            "arm": self.arm,
            "steps": self.steps,
            "search": tree_hash(SEARCH),
            "seed": SEED,
        }

    def modules(self) -> tuple[str, ...]:
        """Return the job's loop and its recipe."""
        return steered.__name__, type(self.job.task.recipe).__module__

    def about(self) -> str:
        """Return one line for people."""
        return f"{self.job.task.name} {self.arm} steps {self.steps}"


@contextmanager
def service() -> Iterator[str]:
    """Run a service of one's own on an empty database, and name it to the client."""
    before = {name: os.environ.get(name) for name in ("PACESETTER_URL", "PACESETTER_DIR")}
    with (
        tempfile.TemporaryDirectory(prefix="pacesetter-fleet-") as folder,
        serving(Path(folder) / "service") as url,
    ):
        os.environ.update(PACESETTER_URL=url, PACESETTER_DIR=str(Path(folder) / "jobs"))
        try:
            yield url
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def await_memory(job: str | None) -> None:
    """Wait until what a job taught is there for the next one.

    Raises:
        RuntimeError: It is not there in time: the figure would be that of a fleet that does not learn.
    """
    deadline = time.monotonic() + REMEMBERED_SECONDS
    url = os.environ["PACESETTER_URL"]
    while time.monotonic() < deadline:
        reply = httpx.get(f"{url}/v1/curves", params={"job": str(job)}, timeout=60.0)
        if reply.raise_for_status().json()["curves"]:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the curve of job {job} was not kept within {REMEMBERED_SECONDS:g} s")


def _trained(job: FleetJob, arm: Arm, steps: int) -> Score:
    """Train a job to the end of ``steps``, no rate given."""
    steering = Steering(
        strategy="zero_tuning",
        parameters={"trust": 0.0, "remember": arm == "on"},
        cap=0.0 if arm == "prior" else CAP,
        limits=Limits(),
        target=job.target,
    )
    return run_steered(job.task, steering, absent_lr(job.task), steps, SEED)


def _described(job: FleetJob) -> dict[str, Any]:
    task = job.task
    return {"recipe": describe(task.recipe), "steps": task.steps, "target": job.target.model_dump()}
