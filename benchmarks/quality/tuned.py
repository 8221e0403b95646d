"""What a sweep of everything reaches: the tuned reference of each task, at half, once and twice its budget."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import stdev

import numpy as np

from benchmarks.quality.engine import SHAPES, Outcome, ShapeName
from benchmarks.quality.pool import Pool
from benchmarks.quality.sweeps import SEEDS_TO_CHOOSE, Sweep, run_sweeps, steps_at
from benchmarks.quality.tasks.base import Task
from benchmarks.quality.work import Training, outcome

OTHER_LENGTHS = (0.5, 2.0)
"""Where the best shape is swept besides, so that a loss can be read as a number of steps."""
OTHER_POINTS = 5
GRID_POINTS = 9
START_SHAPE: ShapeName = "linear"
"""Of the client's default base schedule: a user's good rate is the best one for it."""


@dataclass(frozen=True)
class Reference:
    """The best cell of a sweep on one task, and what it reaches on seeds that did not choose it."""

    task: Task
    steps: int
    shape: ShapeName
    log2_lr: float
    losses: dict[int, dict[int, float]]
    """Split B by length and fresh seed, each length at its own best rate."""
    right_lr: float
    """Best rate of a linear decay at the budget."""
    best_by_shape: dict[ShapeName, float]
    """log2 of the best rate at the budget, refined between the points of the grid."""
    swept_steps: int
    """Steps of the sweep at the budget, one seed."""

    @property
    def at_budget(self) -> dict[int, float]:
        """Losses at the budget, by seed."""
        return self.losses[self.steps]

    @property
    def seed_sd(self) -> float:
        """Standard deviation of the loss at the budget over seeds; 0 for one seed."""
        found = list(self.at_budget.values())
        return stdev(found) if len(found) > 1 else 0.0


def seeds_to_choose(task: Task) -> tuple[int, ...]:
    """Return the seeds that choose the best cell; one where nothing is random."""
    return SEEDS_TO_CHOOSE[:1] if task.kind == "quadratic" else SEEDS_TO_CHOOSE


def tuned_references(
    pool: Pool,
    tasks: Sequence[Task],
    scale: float,
    fresh_seeds: Callable[[Task], Sequence[int]],
    shapes: Sequence[ShapeName] = SHAPES,
) -> list[Reference]:
    """Return the reference of every task at ``scale`` times its budget."""
    grids = [
        Sweep(task, shape, steps_at(task, scale), seeds_to_choose(task))
        for task in tasks
        for shape in shapes
    ]
    run_sweeps(pool, grids, [math.log2(sweep.task.lr_grid_center) for sweep in grids], GRID_POINTS)
    by_task = {t.name: [sweep for sweep in grids if sweep.task is t] for t in tasks}
    chosen = [min(found, key=_best_loss) for found in by_task.values()]
    others = [
        Sweep(best.task, best.shape, steps_at(best.task, scale * factor), best.seeds)
        for best in chosen
        for factor in OTHER_LENGTHS
    ]
    centers = [best.best for best in chosen for _ in OTHER_LENGTHS]
    run_sweeps(pool, others, centers, OTHER_POINTS)
    works = {
        best.task.name: [
            Training(sweep.task, sweep.shape, 2.0**sweep.best, sweep.steps, seed)
            for sweep in (best, *(other for other in others if other.task is best.task))
            for seed in fresh_seeds(best.task)
        ]
        for best in chosen
    }
    pool.results([work for found in works.values() for work in found])
    return [
        _reference(pool, best, by_task[best.task.name], works[best.task.name]) for best in chosen
    ]


def _best_loss(sweep: Sweep) -> float:
    return sweep.mean(sweep.best, "A")


def _reference(
    pool: Pool, best: Sweep, grids: Sequence[Sweep], works: Sequence[Training]
) -> Reference:
    outcomes: list[Outcome] = [outcome(result) for result in pool.results(works)]
    losses: dict[int, dict[int, float]] = {}
    for work, found in zip(works, outcomes, strict=True):
        losses.setdefault(work.steps, {})[work.seed] = found.B
    by_shape = {sweep.shape: sweep for sweep in grids}
    start = by_shape.get(START_SHAPE, best)
    return Reference(
        task=best.task,
        steps=best.steps,
        shape=best.shape,
        log2_lr=best.best,
        losses=losses,
        right_lr=2.0**start.best,
        best_by_shape={shape: refined(sweep) for shape, sweep in by_shape.items()},
        swept_steps=sum(len(sweep.outcomes) for sweep in grids) * best.steps,
    )


def refined(sweep: Sweep) -> float:
    """Return log2 of the best rate as the vertex of a parabola through the log losses around the best point."""
    best = sweep.best
    around = [best - 1.0, best, best + 1.0]
    if any(exponent not in sweep.outcomes for exponent in around):
        return best
    low, middle, high = (float(np.log(sweep.mean(exponent, "A"))) for exponent in around)
    curvature = low + high - 2.0 * middle
    return best if curvature <= 0.0 else best + 0.5 * (low - high) / curvature
