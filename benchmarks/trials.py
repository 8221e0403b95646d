"""Trials per second: our worker against Ray Tune, bare Ray tasks and a process pool, two at a time.

    python -m benchmarks.trials

Every contender runs in a process of its own, one after the other, warmed up by two trials. Trivial trials train
nothing; torch trials are the byte-level language model. Ours go through a controller, which plans, leases and stores.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
from pacesetter.leasing.calls import TrialCalls
from pacesetter.protocol import Trial, TrialPoint, Value
from pacesetter.transport.timing import Timing
from pacesetter_workers.cli import open_executor
from pacesetter_workers.executors.cluster import Cluster
from pacesetter_workers.executors.process import PINNED
from pacesetter_workers.proxies import resolve
from pacesetter_workers.running import RunningTrial
from pacesetter_workers.site import Site
from pacesetter_workers.worker import Worker

from benchmarks.reporting import Report, arguments
from demo.service import serving

SLOTS = 2
RATE_BAR, TIME_BAR = 5.0, 1.2
LOOK_SECONDS = 0.1
"""Between looks whether an experiment has ended: each takes the controller some milliseconds of what trials run on."""
KINDS: dict[str, tuple[str, dict[str, Value]]] = {
    "trivial": ("noop", {"lr": 2.0**-8}),
    "torch": ("byte_lm", {"lr": 2.0**-6, "steps": 60, "batch": 8}),
}
Run = Callable[[str, int], None]
"""Runs trials of a kind, and returns when all have ended."""


def main(argv: Sequence[str] | None = None) -> None:
    """Time every contender, and print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="medians are over so many")
    parser.add_argument("--contender", choices=CONTENDERS, help="time one, and print its JSON")
    given = parser.parse_args(argv)
    if given.contender:
        print(json.dumps(measure(given.contender, given.quick)))
        return
    report = Report("trials", packages=("ray", "torch"))
    rounds = [in_turn(given.quick) for _ in range(1 if given.quick else given.rounds)]
    add_rows(report, rounds, given.quick)
    report.print()
    report.save(given.json)


def counts(contender: str, quick: bool) -> dict[str, int]:
    """Return how many trials of each kind are timed: Tune's own are slow, so there are fewer."""
    trivial = 20 if contender.startswith("tune") else 200
    return {"trivial": trivial // (4 if quick else 1), "torch": 4 if quick else 16}


def in_turn(quick: bool) -> dict[str, dict[str, float]]:
    """Time each contender in a process of its own; return seconds a trial by kind, and peak memory."""
    found = {}
    for contender in CONTENDERS:
        command = [sys.executable, "-m", "benchmarks.trials", "--contender", contender]
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                [*command, *(["--quick"] if quick else [])],
                stdout=output,
                env={**os.environ, **PINNED, "RAY_AIR_NEW_OUTPUT": "0"},
            )
            peak = peak_memory(process)
            if process.returncode:
                raise SystemExit(f"{contender} ended with status {process.returncode}")
            output.seek(0)
            found[contender] = {**json.loads(output.read().splitlines()[-1]), "memory": peak}
    return found


def peak_memory(process: "subprocess.Popen[bytes]") -> float:
    """Return the most that a process and all below it held at once, in MB, shared pages shared out."""
    peak = 0
    while process.poll() is None:
        total = 0
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(process.pid)
            for each in [parent, *parent.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    total += each.memory_full_info().pss
        peak = max(peak, total)
        time.sleep(0.5)
    return peak / 1e6


def measure(contender: str, quick: bool) -> dict[str, float]:
    """Return the seconds that a trial of each kind takes, two at a time."""
    found = {}
    with CONTENDERS[contender]() as run:
        for kind, count in counts(contender, quick).items():
            run(kind, SLOTS)
            began = time.perf_counter()
            run(kind, count)
            found[kind] = (time.perf_counter() - began) / count
    return found


class Unheard:
    """A channel to nobody."""

    def send(self, point: TrialPoint) -> None:
        """Drop it."""

    def alive(self) -> None:
        pass

    def is_cancelled(self) -> bool:
        """Never."""
        return False


def train(kind: str, number: int) -> float:
    """Run one trial in this process, as a peer's code would; return its loss."""
    proxy, parameters = KINDS[kind]
    trial = Trial(
        id=str(number),
        experiment="none",
        number=number,
        proxy=proxy,
        parameters=parameters,
        seed=number,
        attempt=1,
        progress_seconds=60.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome: Any = resolve(proxy, ())(RunningTrial(trial, Path(folder), Unheard()))
    return float(outcome.loss)


@contextmanager
def ours(executor: str) -> Iterator[Run]:
    """Our worker, with a controller beside it whose memory counts as well."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "controller") as url,
        httpx.Client(base_url=url, timeout=30.0) as api,
    ):
        site = Site(Path(folder))
        opened = open_executor(executor, site, SLOTS)
        worker = Worker("benchmark", site, opened, partial(TrialCalls, lambda: url, None, Timing()))
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield partial(through_controller, api)
        finally:
            worker.stopping.set()
            thread.join()


def through_controller(api: httpx.Client, kind: str, count: int) -> None:
    """Register an experiment and wait for its end."""
    proxy, parameters = KINDS[kind]
    fixed = {name: value for name, value in parameters.items() if name != "lr"}
    spec = {
        "name": kind,
        "proxy": proxy,
        "space": {"lr": {"kind": "range", "low": 2.0**-9, "high": 2.0**-6}},
        "fixed": fixed,
        "strategy": {"name": "random"},
        "max_trials": count,
    }
    experiment = api.post("/v1/experiments", json=spec).raise_for_status().json()["id"]
    while True:
        found = api.get(f"/v1/experiments/{experiment}").raise_for_status().json()
        if found["status"] != "running":
            break
        time.sleep(LOOK_SECONDS)
    if found["status"] != "completed" or found["trials"]["done"] != count:
        raise SystemExit(f"the experiment ended otherwise: {found}")


@contextmanager
def bare_tasks() -> Iterator[Run]:
    """Ray tasks, as plain as they come."""
    cluster = Cluster("local", SLOTS, 0)
    import ray

    task: Any = ray.remote(num_cpus=1, max_retries=0)(train)

    def run(kind: str, count: int) -> None:
        ray.get([task.remote(kind, number) for number in range(count)])

    yield run
    cluster.close()


@contextmanager
def tune(reuse_actors: bool) -> Iterator[Run]:
    """Ray Tune with a function as trainable, two trials at a time."""
    cluster = Cluster("local", SLOTS, 0)
    import ray.tune

    def trainable(kind: str, _config: dict[str, Any]) -> None:
        ray.tune.report({"loss": train(kind, 1)})

    def run(kind: str, count: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            tuner = ray.tune.Tuner(
                ray.tune.with_resources(partial(trainable, kind), {"cpu": 1}),
                param_space={"lr": ray.tune.uniform(0.0, 1.0)},
                tune_config=ray.tune.TuneConfig(
                    metric="loss",
                    mode="min",
                    num_samples=count,
                    max_concurrent_trials=SLOTS,
                    reuse_actors=reuse_actors,
                ),
                run_config=ray.tune.RunConfig(storage_path=folder, verbose=0),
            )
            results = tuner.fit()
            if len(results) != count or results.errors:
                raise SystemExit(f"Tune failed: {results.errors}")

    yield run
    cluster.close()


@contextmanager
def pool() -> Iterator[Run]:
    """A pool of processes."""
    with ProcessPoolExecutor(SLOTS, get_context("spawn")) as executor:

        def run(kind: str, count: int) -> None:
            list(executor.map(partial(train, kind), range(count)))

        yield run


CONTENDERS: dict[str, Any] = {
    "ours on ray": partial(ours, "ray"),
    "ours in processes": partial(ours, "process"),
    "bare ray tasks": bare_tasks,
    "process pool": pool,
    "tune": partial(tune, reuse_actors=False),
    "tune, reuse_actors": partial(tune, reuse_actors=True),
}


def add_rows(report: Report, rounds: list[dict[str, dict[str, float]]], quick: bool) -> None:
    """Add a row for each contender and kind, medians over the rounds, and the two ratios that have a bar."""
    for contender in CONTENDERS:
        for kind, count in counts(contender, quick).items():
            rate = median(1.0 / one[contender][kind] for one in rounds)
            report.row(f"{contender}: {count} {kind} trials", rate, "trials/s")
        report.row(
            f"{contender}: peak memory", median(o[contender]["memory"] for o in rounds), "MB"
        )
    for mine in ("ours on ray", "ours in processes"):
        for peer in ("tune", "tune, reuse_actors"):
            faster = median(one[peer]["trivial"] / one[mine]["trivial"] for one in rounds)
            # The bar is Tune's as it comes; what it reaches by reusing actors stands beside it.
            bar = (f">= {RATE_BAR:g}", faster >= RATE_BAR) if peer == "tune" else (None, None)
            report.row(f"{mine} / {peer}: rate of trivial trials", faster, "ratio", *bar)
        slower = median(one[mine]["torch"] / one["bare ray tasks"]["torch"] for one in rounds)
        report.row(
            f"{mine} / bare ray tasks: time of torch trials",
            slower,
            "ratio",
            f"<= {TIME_BAR:g}",
            slower <= TIME_BAR,
        )


if __name__ == "__main__":
    main()
