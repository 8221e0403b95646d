"""Tuned references: sweeps of learning rate, base shape and horizon. ``python -m benchmarks.quality.references``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.cache import DEFAULT_FOLDER, Cache
from benchmarks.quality.engine import SHAPES, ShapeName
from benchmarks.quality.generator import draw
from benchmarks.quality.pool import Pool
from benchmarks.quality.sweeps import SEEDS_TO_CHOOSE, Sweep, sweep_horizons
from benchmarks.quality.tasks import Task, named


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    found = argparse.ArgumentParser(prog="benchmarks.quality.references", description=__doc__)
    found.add_argument("--tasks", default="all", help="comma-separated names, or 'all', or 'none'")
    found.add_argument(
        "--generated", nargs=2, type=int, metavar=("SEED", "COUNT"), help="drawn tasks besides"
    )
    found.add_argument("--shapes", default=",".join(SHAPES), help="comma-separated base shapes")
    found.add_argument("--lrs", type=int, default=9, help="points by factors of 2, before edges")
    found.add_argument("--seeds", default=",".join(map(str, SEEDS_TO_CHOOSE)))
    found.add_argument("--horizons", default="1", help="shares of the budget, such as 1,1/4,2")
    found.add_argument("--cache", type=Path, default=DEFAULT_FOLDER)
    found.add_argument("--processes", type=int, default=2)
    found.add_argument("--json", type=Path, help="write every cell here")
    return found


def chosen_tasks(names: str, generated: Sequence[int] | None) -> tuple[Task, ...]:
    """Return the named tasks, then the drawn ones."""
    tasks = () if names == "none" else named(names)
    return (*tasks, *draw(*generated)) if generated else tasks


def horizons(text: str) -> list[float]:
    """Return the numbers of a list such as ``1,1/16,2``."""
    pairs = [part.partition("/") for part in text.split(",")]
    return [float(over) / float(under or 1) for over, _, under in pairs]


def chosen_shapes(text: str) -> list[ShapeName]:
    """Return the shapes of a comma-separated list.

    Raises:
        ValueError: A name is unknown.
    """
    found = [shape for shape in SHAPES if shape in text.split(",")]
    if len(found) != len(text.split(",")):
        raise ValueError(f"shapes {text!r}: choose of {', '.join(SHAPES)}")
    return found


def line(sweep: Sweep) -> str:
    """Return one line: the best cell, then split A by rate."""
    best = sweep.best
    cells = " ".join(f"{e:g}:{sweep.mean(e, 'A'):.4g}" for e in sorted(sweep.outcomes))
    return (
        f"{sweep.task.name:<24} {sweep.steps:>6} {sweep.shape:<7} 2^{best:<5g} "
        f"A {sweep.mean(best, 'A'):.4f} B {sweep.mean(best, 'B'):.4f} "
        f"sd {sweep.spread(best, 'B'):.4f} | {cells}"
    )


def document(sweep: Sweep) -> dict[str, Any]:
    """Return a sweep as JSON values."""
    cells = [
        {"log2_lr": e, "seed": seed, "A": o.A, "B": o.B, "lost": o.lost, "seconds": o.seconds}
        for e in sorted(sweep.outcomes)
        for seed, o in zip(sweep.seeds, sweep.outcomes[e], strict=True)
    ]
    about = {"task": sweep.task.name, "shape": sweep.shape, "steps": sweep.steps}
    return {**about, "best": sweep.best, "cells": cells}


def main(argv: Sequence[str] | None = None) -> None:
    """Fill the cache and print one line for each task, horizon and shape."""
    given = parser().parse_args(argv)
    tasks = chosen_tasks(given.tasks, given.generated)
    seeds = tuple(int(seed) for seed in given.seeds.split(","))
    shapes = chosen_shapes(given.shapes)
    with Cache(given.cache) as cache, Pool(cache, given.processes) as pool:
        sweeps = sweep_horizons(pool, tasks, shapes, horizons(given.horizons), seeds, given.lrs)
    for sweep in sorted(sweeps, key=lambda s: (s.task.name, s.steps, s.shape)):
        print(line(sweep))
    if given.json:
        given.json.write_text(json.dumps([document(sweep) for sweep in sweeps], indent=1) + "\n")


if __name__ == "__main__":
    main()
