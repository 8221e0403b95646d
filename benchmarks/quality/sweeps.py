"""Sweeps over learning rates, by factors of two, that move on while the best rate is at an edge."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from benchmarks.quality.engine import Outcome, ShapeName
from benchmarks.quality.pool import Pool
from benchmarks.quality.tasks.base import Split, Task
from benchmarks.quality.work import Training, outcome

MOST_EXTENSIONS = 8
SEEDS_TO_CHOOSE = (0, 1, 2)
"""The best cell is chosen on these and on split A; what is reported comes from other seeds and split B."""


@dataclass
class Sweep:
    """Outcomes of one task, shape and length, by rate (as log2) and in order of ``seeds``."""

    task: Task
    shape: ShapeName
    steps: int
    seeds: tuple[int, ...]
    outcomes: dict[float, list[Outcome]] = field(default_factory=dict)

    def mean(self, exponent: float, split: Split) -> float:
        """Return the mean loss at rate ``2 ** exponent``."""
        return fmean(getattr(found, split) for found in self.outcomes[exponent])

    def spread(self, exponent: float, split: Split) -> float:
        """Return the standard deviation over seeds; 0 for one seed."""
        losses = [getattr(found, split) for found in self.outcomes[exponent]]
        return stdev(losses) if len(losses) > 1 else 0.0

    @property
    def best(self) -> float:
        """The log2 of the rate that is best on split A."""
        return min(sorted(self.outcomes), key=lambda exponent: self.mean(exponent, "A"))

    @property
    def missing_edge(self) -> float | None:
        """The next rate to try, where the best one is the first or the last; else None."""
        exponents = sorted(self.outcomes)
        if self.best == exponents[0]:
            return exponents[0] - 1.0
        if self.best == exponents[-1]:
            return exponents[-1] + 1.0
        return None

    def work(self, exponents: Iterable[float]) -> list[Training]:
        """Return the trainings of some rates, rate by rate, seeds within."""
        return [
            Training(self.task, self.shape, 2.0**exponent, self.steps, seed)
            for exponent in exponents
            for seed in self.seeds
        ]


def steps_at(task: Task, fraction: float) -> int:
    """Return a share or a multiple of the task's budget in whole steps."""
    return max(1, round(task.steps * fraction))


def grid(center: float, points: int) -> list[float]:
    """Return exponents by whole octaves around ``center``; an even count has one more below, where runs survive."""
    first = round(center) - points // 2
    return [float(first + index) for index in range(points)]


def run_sweeps(pool: Pool, sweeps: Sequence[Sweep], centers: Sequence[float], points: int) -> None:
    """Fill ``sweeps``, then move on where the best is at an edge; all sweeps share each round of the pool."""
    rounds = [grid(center, points) for center in centers]
    for _ in range(1 + MOST_EXTENSIONS):
        works = [work for s, found in zip(sweeps, rounds, strict=True) for work in s.work(found)]
        results = iter(pool.results(works))
        for sweep, exponents in zip(sweeps, rounds, strict=True):
            for exponent in exponents:
                sweep.outcomes[exponent] = [outcome(next(results)) for _ in sweep.seeds]
        edges = [sweep.missing_edge for sweep in sweeps]
        rounds = [[] if edge is None else [edge] for edge in edges]
        if not any(rounds):
            return


def sweep_horizons(
    pool: Pool,
    tasks: Sequence[Task],
    shapes: Sequence[ShapeName],
    horizons: Sequence[float],
    seeds: tuple[int, ...],
    points: int,
) -> list[Sweep]:
    """Return the sweeps of every task, horizon and shape; later horizons start at the best of the one before."""
    found: list[Sweep] = []
    centers = {
        (task.name, shape): math.log2(task.lr_grid_center) for task in tasks for shape in shapes
    }
    for horizon in horizons:
        sweeps = [
            Sweep(task, shape, steps_at(task, horizon), seeds) for task in tasks for shape in shapes
        ]
        around = [centers[sweep.task.name, sweep.shape] for sweep in sweeps]
        run_sweeps(pool, sweeps, around, points)
        centers.update({(s.task.name, s.shape): s.best for s in sweeps})
        found.extend(sweeps)
    return found
