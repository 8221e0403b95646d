"""Would gradient statistics at the start have told ``zero_tuning`` more of the best rate than it knew?

For every task: the error of the rate that it chose (octaves from the sweep's best), and statistics of the untrained
model's gradient. One that helped would predict the error on tasks that it was not fitted to, better than their mean.

python -m benchmarks.quality.covariates       after the tables: references and runs come from their cache
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.__main__ import controller
from benchmarks.quality.board import BELIEF_SHAPE, Board, Plan, measure
from benchmarks.quality.cache import DEFAULT_FOLDER, Cache
from benchmarks.quality.contenders import contenders_named
from benchmarks.quality.pool import Pool
from benchmarks.quality.references import chosen_tasks
from benchmarks.quality.tasks.base import Task, Trial
from benchmarks.reporting import Report, arguments

DRAWS = ((20261123, 12), (20261124, 12))
CONTENDER = "zero_tuning: no rate"
BATCHES, SEEDS = 16, (0, 1, 2)
STEP = 1e-3
"""Length of the finite difference, over the norm of the parameters."""

NAMES = ("log2 |G|", "log2 of the noise scale in batches", "log2 of the greedy rate")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--cache", type=Path, default=DEFAULT_FOLDER)
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for names, draw in (("all", None), *(("none", draw) for draw in DRAWS)):
        plan = Plan(chosen_tasks(names, draw), contenders_named(CONTENDER), seeds=10)
        with controller(plan), Cache(given.cache) as cache, Pool(cache, 2) as pool:
            board = measure(pool, plan)
        for task in plan.tasks:
            error = _error(board, task)
            if error is not None:
                rows.append((error, *_statistics(task)))
    report = Report("covariates", seeds=list(SEEDS))
    _judge(report, np.array(rows))
    report.print()
    report.save(given.json)


def _error(board: Board, task: Task) -> float | None:
    """Return by how many octaves the chosen rate lies above the best one, in the mean over seeds."""
    (best,) = [r.best_by_shape.get(BELIEF_SHAPE) for r in board.references if r.task is task]
    scores = board.scores.get((task.name, CONTENDER), {})
    chosen = [score.log2_lr for score in scores.values() if score.log2_lr is not None]
    return None if best is None or not chosen else float(np.mean(chosen)) - best


def _statistics(task: Task) -> tuple[float, ...]:
    """Return the statistics of the untrained model, in the mean over seeds."""
    return tuple(np.mean([_of_trial(task.open(seed)) for seed in SEEDS], axis=0))


def _of_trial(trial: Trial) -> tuple[float, ...]:
    parameters = [p for p in trial.model.parameters() if p.requires_grad]
    gradients = [_gradient(trial, parameters, place) for place in range(BATCHES)]
    mean = torch.stack(gradients).mean(0)
    single = float(np.mean([float(each @ each) for each in gradients]))
    whole = float(mean @ mean)
    signal = max((BATCHES * whole - single) / (BATCHES - 1), 1e-12 * whole)
    noise = max(single - signal, 1e-12 * single)
    rate = _greedy_rate(trial, parameters, mean)
    return 0.5 * math.log2(signal), math.log2(noise / signal), math.log2(rate)


def _gradient(trial: Trial, parameters: list[torch.nn.Parameter], place: int) -> Tensor:
    trial.model.zero_grad()
    trial.loss(trial.batch_at(place)).backward()  # type: ignore[no-untyped-call]  # torch's
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters]
    ).double()


def _greedy_rate(trial: Trial, parameters: list[torch.nn.Parameter], mean: Tensor) -> float:
    """Return the rate of the best single step along the direction that the optimizer takes first."""
    sign_like = "sgd" not in type(trial.optimizers[0]).__name__.lower()
    direction = mean.sign() if sign_like else mean
    length = STEP * math.sqrt(sum(float(p.detach().square().sum()) for p in parameters) + 1.0)
    scale = length / float(direction.norm())
    _move(parameters, direction, -scale)
    moved = torch.stack([_gradient(trial, parameters, place) for place in range(BATCHES)]).mean(0)
    _move(parameters, direction, scale)
    curvature = float(direction @ (mean - moved)) / scale
    return float(direction @ mean) / max(curvature, 1e-6 * float(direction @ mean))


@torch.no_grad()
def _move(parameters: list[torch.nn.Parameter], direction: Tensor, scale: float) -> None:
    begin = 0
    for parameter in parameters:
        part = direction[begin : begin + parameter.numel()].view_as(parameter)
        parameter.add_(part.to(parameter.dtype), alpha=scale)
        begin += parameter.numel()


def _judge(report: Report, rows: np.ndarray) -> None:
    """Add how well each statistic, and all of them, predict the error of a task that is left out."""
    errors = rows[:, 0]
    report.row(
        f"tasks ({len(errors)}): mean error of the chosen rate", float(errors.mean()), "octaves"
    )
    alone = _left_out(errors, np.empty((len(errors), 0)))
    report.row("left out, by the mean of the others: rms", alone, "octaves")
    for column, name in enumerate(NAMES, 1):
        found = _left_out(errors, rows[:, column : column + 1])
        report.row(f"left out, by {name}: rms", found, "octaves", f"< {alone:.2f}", found < alone)
    found = _left_out(errors, rows[:, 1:])
    report.row("left out, by all three: rms", found, "octaves", f"< {alone:.2f}", found < alone)


def _left_out(errors: np.ndarray, features: np.ndarray) -> float:
    """Return the root mean square error of a linear fit at each task, made without it."""
    design = np.column_stack([np.ones(len(errors)), features])
    off = []
    for place in range(len(errors)):
        kept = np.arange(len(errors)) != place
        fitted = np.linalg.lstsq(design[kept], errors[kept], rcond=None)[0]
        off.append(errors[place] - float(design[place] @ fitted))
    return float(np.sqrt(np.mean(np.square(off))))


if __name__ == "__main__":
    main()
