"""The search against tuned references and simple baselines, every step counted, scored on data that steered nothing.

python -m benchmarks.quality --quick      two tasks in five minutes
python -m benchmarks.quality              all of them; stopped and started again it goes on where it was
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import reporting
from benchmarks.quality.bars import add_bars
from benchmarks.quality.board import FIRST_FRESH_SEED, Board, Plan, measure
from benchmarks.quality.cache import DEFAULT_FOLDER, Cache
from benchmarks.quality.contenders import Steered, contenders_named
from benchmarks.quality.pool import Pool
from benchmarks.quality.references import chosen_shapes, chosen_tasks
from benchmarks.quality.report import document, plot, table
from benchmarks.quality.results import page
from demo.service import serving

QUICK_TASKS, QUICK_SEEDS, QUICK_SHAPES = "digits-logistic,digits-autoencoder", 3, "linear,wsd50"
QUICK_CONTENDERS = "no rate,base schedule,horizon,untuned,3-point,Prodigy"
PACKAGES = ("numpy", "torch", "scikit-learn", "prodigyopt", "dadaptation", "schedulefree")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    found = reporting.arguments(__doc__)
    found.add_argument("--tasks", help="comma-separated names, 'all' or 'none'")
    found.add_argument("--generated", nargs=2, type=int, metavar=("SEED", "COUNT"))
    found.add_argument("--contenders", help="words of their names, all, or families")
    found.add_argument("--shapes", help="base shapes of the references")
    found.add_argument("--seeds", type=int, help="fresh seeds; half as many for language models")
    found.add_argument("--scale", type=float, default=1.0, help="budget over the task's own")
    found.add_argument("--cap", type=float, default=0.15, help="steps beyond the budget, over it")
    found.add_argument("--cache", type=Path, default=DEFAULT_FOLDER)
    found.add_argument("--processes", type=int, default=2)
    found.add_argument("--results", type=Path, metavar="FILE", help="write the tables as Markdown")
    found.add_argument("--title", default="Named tasks", help="heading of these tables")
    found.add_argument("--plot", type=Path, metavar="FILE", help="save the picture")
    return found


def plan_of(given: argparse.Namespace) -> Plan:
    """Return what the command line asks for."""
    quick: bool = given.quick
    names = given.tasks or (QUICK_TASKS if quick else "all")
    contenders = given.contenders or (QUICK_CONTENDERS if quick else "all")
    shapes = given.shapes or (QUICK_SHAPES if quick else "linear,cosine,wsd20,wsd50")
    return Plan(
        tasks=chosen_tasks(names, given.generated),
        contenders=contenders_named(contenders),
        seeds=given.seeds or (QUICK_SEEDS if quick else 10),
        scale=given.scale,
        cap=given.cap,
        shapes=tuple(chosen_shapes(shapes)),
    )


@contextmanager
def controller(plan: Plan) -> Iterator[None]:
    """Start a controller for the contenders that need one, and tell the processes where it is."""
    if not any(isinstance(contender, Steered) for contender in plan.contenders):
        yield
        return
    with (
        tempfile.TemporaryDirectory(prefix="pacesetter-quality-") as folder,
        serving(Path(folder) / "service") as url,
    ):
        os.environ.update(PACESETTER_URL=url, PACESETTER_DIR=str(Path(folder) / "jobs"))
        yield


def reported(board: Board) -> reporting.Report:
    """Return the bars as a report."""
    seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + board.plan.seeds)
    report = reporting.Report("quality", seeds=list(seeds), packages=PACKAGES)
    add_bars(report, board)
    return report


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, print the tables, and write what was asked for."""
    given = parser().parse_args(argv)
    plan = plan_of(given)
    with controller(plan), Cache(given.cache) as cache, Pool(cache, given.processes) as pool:
        board = measure(pool, plan)
    report = reported(board)
    print(table(board))
    report.print()
    whole = {**report.document(), **document(board)}
    if given.json:
        Path(given.json).write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n")
    if given.results:
        given.results.write_text(page([(given.title, whole)]))
    if given.plot:
        plot(board, given.plot)


if __name__ == "__main__":
    main()
