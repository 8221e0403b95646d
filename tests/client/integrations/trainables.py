"""Trainings that Tune runs in these tests: a parabola, stepped down at the trial's rate."""

import tempfile
import time
from pathlib import Path
from typing import Any

from ray import tune

STEPS = 6


def descend(config: dict[str, Any]) -> None:
    """Six steps; the rate halves after the third."""
    x = 1.0
    for step in range(1, STEPS + 1):
        lr = config["lr"] if step <= STEPS // 2 else config["lr"] / 2
        x -= lr * 2.0 * x
        tune.report({"loss": x * x, "lr": lr, "peak": config["lr"], "step": step})


def plain(config: dict[str, Any]) -> None:
    """Six results without a rate or a step of their own."""
    for step in range(1, STEPS + 1):
        tune.report({"loss": config["lr"] / step})


def fails(config: dict[str, Any]) -> None:
    """Raises after two results."""
    for step in (1, 2):
        tune.report({"loss": 1.0 / step, "step": step})
    raise ZeroDivisionError("no data here")


def waits(config: dict[str, Any]) -> None:
    """Takes a step as soon as the file of its configuration names it, or a later one."""
    gate = Path(config["gate"])
    for step in range(1, STEPS + 1):
        while int(gate.read_text() or 0) < step:
            time.sleep(0.02)
        tune.report({"loss": 1.0 / step, "step": step})
    Path(gate.parent, "done").touch()


def picky(config: dict[str, Any]) -> None:
    """Raises after a step at a rate above 2^-4."""
    tune.report({"loss": 1.0, "step": 1})
    if config["lr"] > 2.0**-4:
        raise ZeroDivisionError("too fast")


def keeps(config: dict[str, Any]) -> None:
    """Keeps its step, raises after the third, and goes on from there when it is started again."""
    kept = tune.get_checkpoint()
    first = 1
    if kept is not None:
        with kept.as_directory() as folder:
            first = 1 + int(Path(folder, "step").read_text())
    for step in range(first, STEPS + 1):
        if step == 4 and first == 1:
            raise RuntimeError("stopped here")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "step").write_text(str(step))
            tune.report(
                {"loss": 1.0 / step, "step": step},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )
