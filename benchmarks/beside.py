"""Strategy ``proxy`` with four workers beside the job, against ``zero_tuning``: how long, and how good.

Three tasks of the quality benchmark, no rate given, two seeds. A step of a trial takes as long as a step of the job
(``benchmarks.quality.beside``), so wall-clock is the steps that the job takes. The benchmark of the quality holds the
contender (``proxy: absent``) against sweeps as well, in hours.

python -m benchmarks.beside --quick                    one task, one seed
python -m benchmarks.beside --generated 20261201 12    twelve tasks that no constant was set on, a quarter of an hour
"""

from collections.abc import Sequence

import numpy as np
import torch
from pacesetter import Limits

from benchmarks.branching import controller, standard_error
from benchmarks.quality.contenders import absent_lr
from benchmarks.quality.generator import draw
from benchmarks.quality.score import Score
from benchmarks.quality.steered import Steering, run_steered
from benchmarks.quality.tasks import named
from benchmarks.quality.tasks.base import Task
from benchmarks.reporting import Report, arguments

WORKERS, CAP = 4, 0.15
BAR = 1.0 + CAP
DEVELOPMENT = 1000
"""Seed of the draw, and which of its tasks: images under RMSprop, and under SGD with momentum."""
DRAWN = (0, 4)
UNTRUSTED = {"trust": 0.0}


def main(argv: Sequence[str] | None = None) -> None:
    """Train everything, and print the table."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--generated", nargs=2, type=int, metavar=("SEED", "COUNT"), help="draw other tasks"
    )
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    seeds = [4] if given.quick else [4, 5]
    tasks = list(draw(*given.generated)) if given.generated else development(quick=given.quick)
    report = Report("beside", seeds=seeds)
    above: list[float] = []
    longest = 0.0
    with controller():
        for task in tasks:
            pairs = [both(task, seed) for seed in seeds]
            found = [float(np.log(ours.B / alone.B)) for ours, alone in pairs]
            taken = [ours.steps / task.steps for ours, _ in pairs]
            beside = float(np.mean([ours.beside_steps / task.steps for ours, _ in pairs]))
            report.row(f"{task.name}: loss over zero_tuning's", 100.0 * float(np.mean(found)), "%")
            report.row(f"{task.name}: steps over the budget, the most", max(taken), "x")
            report.row(f"{task.name}: steps of the workers over it", beside, "x")
            above += found
            longest = max(longest, *taken)
    report.row("wall-clock over the budget, the most", longest, "x", f"<= {BAR:g}", longest <= BAR)
    text = f"loss over zero_tuning's, all (se {100.0 * standard_error(above):.1f})"
    report.row(text, 100.0 * float(np.mean(above)), "%")
    report.print()
    report.save(given.json)


def development(*, quick: bool) -> list[Task]:
    """Return the tasks that it was built on."""
    drawn = draw(DEVELOPMENT, max(DRAWN) + 1)
    return [*named("digits-logistic"), *(() if quick else (drawn[each] for each in DRAWN))]


def both(task: Task, seed: int) -> tuple[Score, Score]:
    """Return what the job with workers and the job without reach, from the same rate that nobody chose."""
    beside = Steering("proxy", UNTRUSTED, CAP, Limits(), workers=WORKERS)
    alone = Steering("zero_tuning", UNTRUSTED, CAP, Limits())
    lr = absent_lr(task)
    return (
        run_steered(task, beside, lr, task.steps, seed),
        run_steered(task, alone, lr, task.steps, seed),
    )


if __name__ == "__main__":
    main()
