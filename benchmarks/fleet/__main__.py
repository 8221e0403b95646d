"""Many jobs one after another through the real service: does each make the next one cheaper, and better?

python -m benchmarks.fleet --quick      eight jobs, one order: five minutes
python -m benchmarks.fleet              forty jobs in five orders; stopped and started again it goes on where it was

Arms: with memory; without it (each job searches for itself); and the prior alone, charged for the search's steps. Loss
is that on data which steered nothing.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import reporting
from benchmarks.fleet.figures import entries, families, report_on
from benchmarks.fleet.generator import FINAL_SEED, FleetJob, draw
from benchmarks.fleet.running import CAP, SEED, Alone, Order, service
from benchmarks.quality.cache import Cache
from benchmarks.quality.pool import Pool
from benchmarks.quality.score import Score, score
from benchmarks.quality.work import Work

JOBS, ORDERS, SETTLED = 40, 5, 20
QUICK_JOBS, QUICK_ORDERS, QUICK_SETTLED = 8, 1, 5
FOLDER = Path(".cache/fleet")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print the curve."""
    parser = reporting.arguments(__doc__)
    parser.add_argument("--seed", type=int, default=FINAL_SEED, help="of the generator")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--orders", type=int)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=FOLDER)
    given = parser.parse_args(argv)
    jobs = draw(given.seed, given.jobs or (QUICK_JOBS if given.quick else JOBS))
    orders = given.orders or (QUICK_ORDERS if given.quick else ORDERS)
    settled = QUICK_SETTLED if given.quick else SETTLED
    # One service for the arms without memory; each order has its own.
    with service(), Cache(given.cache) as cache, Pool(cache, given.processes) as pool:
        results = pool.results(works(jobs, orders))
    ran, off, prior = _split(results, len(jobs), orders)
    found = entries(ran, off, prior, [job.task.steps for job in jobs])
    report = reporting.Report("fleet", seeds=[given.seed, SEED])
    report_on(report, found, settled)
    names = {place: job.target.family for place, job in enumerate(jobs)}
    for name, (count, above_prior, above_off) in families(found, names).items():
        words = f"{name}, {count} runs: loss over the prior's, over that without memory"
        report.row(words, f"{_percent(above_prior)}, {_percent(above_off)}", "%")
    report.print()
    if given.json:
        whole = {**report.document(), "entries": [asdict(entry) for entry in found]}
        Path(given.json).write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n")


def works(jobs: tuple[FleetJob, ...], orders: int) -> list[Work]:
    """Return all that is to be trained: orders first, as they take longest."""
    found: list[Work] = [Order(jobs, order) for order in range(orders)]
    found += [Alone(job, "off", job.task.steps) for job in jobs]
    for job in jobs:
        found += [Alone(job, "prior", steps) for steps in (job.task.steps, _longest(job))]
    return found


def _longest(job: FleetJob) -> int:
    return math.floor(job.task.steps * (1.0 + CAP))


def _split(
    results: Sequence[Any], jobs: int, orders: int
) -> tuple[list[list[tuple[int, Score]]], list[Score], list[tuple[Score, Score]]]:
    """Return the orders, the scores without memory and those of the prior out of the results of :func:`works`."""
    ran = [
        [(int(one["place"]), score(one["score"])) for one in result["scores"]]
        for result in results[:orders]
    ]
    alone = [score(result) for result in results[orders:]]
    off, rest = alone[:jobs], alone[jobs:]
    return ran, off, list(zip(rest[::2], rest[1::2], strict=True))


def _percent(log_ratio: float) -> str:
    return f"{100.0 * math.expm1(log_ratio):+.2f}"


if __name__ == "__main__":
    main()
