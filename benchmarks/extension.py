"""A budget extended by half while the byte language model trains, against a run that had it from the start.

The job is steered by the real controller (strategy ``fixed``) with a base schedule for the old budget; a person extends
it at a quarter, at half and at three quarters of that. The run that had the budget from the start has the same peak,
warm-up, shape and batches. Losses are on a split that decided nothing; seeds are paired. Beside them: what the run
ends at that is not extended.
"""

import os
import time
from collections.abc import Sequence

import httpx
import numpy as np
import pacesetter
from pacesetter.schedules import WSD, Linear, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily

from benchmarks.branching import controller, standard_error
from benchmarks.quality.engine import train
from benchmarks.quality.steered import Batches
from benchmarks.quality.tasks import named
from benchmarks.quality.tasks.base import Task
from benchmarks.reporting import Report, arguments

LR = 2.0**-7
"""The best of a sweep by factors of 2 for WSD with a decay over a fifth, at the new budget."""
WARMUP = 75
BAR = 0.005
SHARES = (0.25, 0.5, 0.75)
"""Of the old budget: where it is extended."""
BASES: dict[str, AnyFamily] = {"linear": Linear(), "wsd": WSD(cooldown=0.2)}
WAITING_SECONDS = 120.0


def main(argv: Sequence[str] | None = None) -> None:
    """Train everything, and print the table."""
    given = arguments(__doc__).parse_args(argv)
    (task,) = named("bytes-lm")
    new = 300 if given.quick else task.steps
    old, seeds = 2 * new // 3, list(range(200, 201 if given.quick else 203))
    report = Report("extension", seeds=seeds)
    with controller():
        for name, body in BASES.items():
            add_rows(report, task, name, body, old, new, seeds)
    report.print()
    report.save(given.json)


def add_rows(
    report: Report,
    task: Task,
    name: str,
    body: AnyFamily,
    old: int,
    new: int,
    seeds: Sequence[int],
) -> None:
    """Train one base schedule, planned and extended, and add its figures."""
    planned = [train(task, base(body, new, new), LR, new, seed).B for seed in seeds]
    short = [train(task, base(body, old, new), LR, old, seed).B for seed in seeds]
    for share in SHARES:
        at = round(share * old)
        found = [steered(task, base(body, old, new), LR, seed, at=at, total=new) for seed in seeds]
        above = [np.log(one / other) for one, other in zip(found, planned, strict=True)]
        mean, error = float(np.mean(above)), standard_error(above)
        text = f"{name}: extended at {share:.0%} of {old}: loss above a run planned for {new} (se {100 * error:.2f})"
        report.row(text, 100 * mean, "%", f"<= {100 * BAR:g}", mean <= BAR)
        report.row(f"{name}: extended at {share:.0%}: the worst seed", 100 * float(max(above)), "%")
    above = [np.log(one / other) for one, other in zip(short, planned, strict=True)]
    report.row(
        f"{name}: not extended: loss above a run planned for {new}",
        100 * float(np.mean(above)),
        "%",
    )


def base(body: AnyFamily, length: int, longest: int) -> Schedule:
    """Return a base schedule; the warm-up is the same for both budgets."""
    return Schedule(length=length, warmup=Warmup(length=min(WARMUP, longest // 15)), body=body)


def steered(
    task: Task,
    schedule: Schedule,
    lr: float,
    seed: int,
    *,
    strategy: str = "fixed",
    target: pacesetter.Target | None = None,
    at: int | None = None,
    total: int | None = None,
) -> float:
    """Return the loss on B of a job; it is extended to ``total`` when it stands at ``at``, where these are given."""
    total = total or schedule.length
    trial = task.open(seed, lr)
    external_id = f"extension-{time.time_ns()}"
    run = pacesetter.attach(
        trial.model,
        trial.optimizers,
        name="extension",
        external_id=external_id,
        budget=pacesetter.Steps(schedule.length),
        base=schedule,
        strategy=strategy,
        target=target,
        strategy_parameters={"guard": False},
        limits=pacesetter.Limits(max_budget=total),
        rollback="none",
        waiting_seconds=WAITING_SECONDS,
        register_seconds=WAITING_SECONDS,
        seed=seed,
    )
    for batch in run.batches(Batches(trial)):
        if run.position == at and run.budget < total:
            extend(run, external_id, at, total)
        loss = trial.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        run.step(loss)
    result = run.finish()
    if result.position != total or result.fallbacks:
        raise RuntimeError(f"the job was not extended: {result}")
    return trial.validate("B")


def extend(run: pacesetter.Run, external_id: str, at: int, total: int) -> None:
    """Extend the job, and return once the segment for the new budget has arrived.

    A job tells its rows twice a second. Here it tells them first, so that the place of the change is that of the job,
    not of the last report: that depends on how fast the machine is.
    """
    run._conductor.send_rows()
    run._transport.flush()
    with httpx.Client(base_url=os.environ["PACESETTER_URL"]) as api:
        job = next(
            each
            for each in api.get("/v1/jobs").json()["jobs"]
            if each["external_id"] == external_id
        )
        deadline = time.monotonic() + WAITING_SECONDS
        while api.get(f"/v1/jobs/{job['id']}").json()["main_position"] < at:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the service never heard of position {at}")
            time.sleep(0.01)
        body = {"kind": "budget", "total": total, "by": "benchmark"}
        api.post(f"/v1/jobs/{job['id']}/overrides", json=body).raise_for_status()
    if not run._transport.wait(WAITING_SECONDS):
        raise RuntimeError("no segment came")


if __name__ == "__main__":
    main()
