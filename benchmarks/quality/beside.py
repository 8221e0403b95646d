"""Workers beside a job, on a clock of steps: a step of a trial takes as long as a step of the job.

So many workers on machines of their own are simulated on two shared cores: trials are planned, claimed, heard and
answered by the real service, and really trained; only *when* each of them ends is reckoned. The job stands still while
a trial trains here, and goes on until it stands where that trial would have ended.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pacesetter
from pacesetter.schedules import Schedule

from benchmarks.quality.engine import train
from benchmarks.quality.tasks.base import Task

DEADLINE_SECONDS = 300.0
"""For the service to plan or to answer, on a machine that others use."""
LOOK_SECONDS = 0.02


@dataclass
class _Running:
    """A trial that a worker is at."""

    ends: float
    """Step of the job at which it has ended."""
    trial: str
    result: dict[str, Any]


@dataclass
class Workers:
    """The workers of one job.

    Attributes:
        url: Of the service.
        external_id: Of the job.
        task: What the job trains, and its proxies shorter.
        seed: Of every trial: same weights and batches.
        count: How many trials run at a time.
        proxy: A name that nobody else claims.
        steps: That all trials took together.
        trials: How many there were.
    """

    url: str
    external_id: str
    task: Task
    seed: int
    count: int
    proxy: str = field(default_factory=lambda: f"quality:beside_{uuid4().hex}")
    steps: int = 0
    trials: int = 0
    running: list[_Running] = field(default_factory=list)
    _idle: bool = False
    _id: str = ""

    def __post_init__(self) -> None:
        self._api = httpx.Client(base_url=self.url, timeout=60.0)

    def catch_up(self, run: pacesetter.Run, clock: float) -> None:
        """Do everything that has happened beside the job by the time it has taken ``clock`` steps."""
        while True:
            over = [one for one in self.running if one.ends <= clock]
            if over:
                self._end(run, over)
            elif self._idle or len(self.running) >= self.count or not self._begin(clock):
                return

    def close(self) -> None:
        """Give up what still runs: the job has ended, and its experiment with it."""
        self._api.close()

    def _begin(self, clock: float) -> bool:
        """Claim what is free, and train it; return whether there was anything."""
        leases = self._wait_for(self._claim, "trials to be planned")
        self._idle = not leases
        for lease in leases:
            trial = lease["trial"]
            lr, steps = float(trial["parameters"]["lr"]), int(trial["parameters"]["steps"])
            outcome = train(self.task, Schedule.default_base(steps), lr, steps, self.seed)
            self.steps += outcome.steps
            self.trials += 1
            cost = {"steps": outcome.steps, "flops": float(outcome.steps), "seconds": 0.0}
            loss = None if outcome.diverged else outcome.A
            result = {"token": lease["token"], "loss": loss, "cost": cost}
            self.running.append(_Running(clock + outcome.steps, trial["id"], result))
        return bool(leases)

    def _claim(self) -> list[dict[str, Any]] | None:
        """Return leases; none where the strategy waits for what runs, or is through; None while it is being asked."""
        wish = {"worker": "beside", "proxies": [self.proxy], "most": self.count - len(self.running)}
        leases: list[dict[str, Any]] = self._post("/v1/trials:claim", wish)["leases"]
        experiment = self._get(f"/v1/experiments/{self._job()['experiment']}")
        if leases or experiment["status"] != "running":
            return leases
        return None if experiment["planning"] or not self.running else []

    def _end(self, run: pacesetter.Run, over: list[_Running]) -> None:
        """Tell how trials ended, and hold the job until its strategy has heard it."""
        run._conductor.send_rows()
        run._transport.flush()
        before = self._job()["last_seq"]
        for one in over:
            self._post(f"/v1/trials/{one.trial}:finish", one.result)
            self.running.remove(one)
        self._idle = False
        ended = self.trials - len(self.running)
        self._wait_for(lambda: self._heard(ended), f"the job to hear of {ended} trials")
        if self._job()["last_seq"] > before:
            run._transport.wait(DEADLINE_SECONDS)

    def _heard(self, trials: int) -> bool | None:
        job, query = self._job(), {"type": "studied", "page_size": 200}
        events = self._get(f"/v1/jobs/{job['id']}/events", **query)["events"]
        told = any(event["body"]["trials"] >= trials for event in events)
        return True if told and not self._job()["planning"] else None

    def _job(self) -> dict[str, Any]:
        """Return the job as it stands; it registers before its first step."""
        if not self._id:
            listed = self._get("/v1/jobs", page_size=200)["jobs"]
            self._id = next(one["id"] for one in listed if one["external_id"] == self.external_id)
        found: dict[str, Any] = self._get(f"/v1/jobs/{self._id}")
        return found

    def _wait_for(self, look: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {DEADLINE_SECONDS:g} s for {what}")
            time.sleep(LOOK_SECONDS)
        return found

    def _get(self, path: str, **query: Any) -> Any:
        return self._api.get(path, params=query).raise_for_status().json()

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._api.post(path, json=body).raise_for_status().json()
