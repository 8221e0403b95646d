"""What the demo shows at the end: a table, a picture, and the same figures as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.training import Outcome


@dataclass(frozen=True)
class Stretch:
    """Rows that the service recorded, of one kind of segment and without a jump back."""

    kind: str
    positions: list[int]
    losses: list[float]
    learning_rates: list[float]


def print_table(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print one row a run: loss, steps, search overhead, seconds."""
    table = Table(title="Loss on text that steered nothing (nats a byte)")
    for heading in (
        "run",
        "before",
        "after",
        "main steps",
        "all steps",
        "search overhead",
        "seconds",
    ):
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for outcome in outcomes:
        table.add_row(
            outcome.name,
            f"{outcome.loss_before:.3f}",
            f"{outcome.loss_after:.3f}",
            str(outcome.main_steps),
            str(outcome.total_steps),
            f"{overhead(outcome):.0%}",
            f"{outcome.seconds:.0f}",
        )
    console.print(table)


def overhead(outcome: Outcome) -> float:
    """Return the steps that were not on the main line, as a share of the main line."""
    return outcome.total_steps / outcome.main_steps - 1.0


def verdict(steered: Outcome, same_main: Outcome, same_total: Outcome, tuned: Outcome) -> str:
    """Say in plain words what the figures show, whatever that is."""
    reached = steered.loss_after
    against = {
        run.name: difference(reached, run.loss_after) for run in (same_main, same_total, tuned)
    }
    return (
        f"From the same poor learning rate, steered ended {against[same_total.name]} the unsteered run of the same "
        f"total steps, search included, and {against[same_main.name]} the one of the same main steps. "
        f"It ended {against[tuned.name]} a run tuned by hand, whose sweep is not counted. One seed."
    )


def difference(reached: float, other: float) -> str:
    """Return "0.123 nats below" or above."""
    return f"{abs(reached - other):.3f} nats {'below' if reached < other else 'above'}"


def save_json(path: Path, outcomes: Sequence[Outcome], extra: dict[str, Any]) -> None:
    """Write every figure of the table, and ``extra``, to ``path``."""
    rows = [
        {
            "run": outcome.name,
            "loss_before": outcome.loss_before,
            "loss_after": outcome.loss_after,
            "main_steps": outcome.main_steps,
            "total_steps": outcome.total_steps,
            "search_overhead": overhead(outcome),
            "seconds": outcome.seconds,
        }
        for outcome in outcomes
    ]
    path.write_text(json.dumps({"runs": rows, **extra}, indent=2) + "\n")


def save_picture(path: Path, stretches: Sequence[Stretch], unsteered: Sequence[Outcome]) -> None:
    """Draw loss and learning rate over main-line position: probes thin, the main line bold."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 6.5), sharex=True, height_ratios=(3, 2))
    for shade, outcome in zip(("0.55", "0.75", "C2"), unsteered, strict=True):
        steps = range(len(outcome.losses))
        top.plot(steps, smooth(outcome.losses), color=shade, label=f"unsteered, {outcome.name}")
        bottom.plot(steps, outcome.learning_rates, color=shade)
    seen: set[str] = set()
    for stretch in stretches:
        main = stretch.kind == "main"
        style = {"color": "C0" if main else "C1", "linewidth": 2.2 if main else 0.6}
        label = None if stretch.kind in seen else ("steered, main line" if main else "probes")
        seen.add(stretch.kind)
        top.plot(stretch.positions, smooth(stretch.losses), label=label, **style)
        bottom.plot(stretch.positions, stretch.learning_rates, **style)
    top.set_ylabel("training loss (nats a byte)")
    top.set_ylim(1.5, 6.0)
    top.legend(frameon=False)
    bottom.set_yscale("log")
    bottom.set_ylim(1e-7, 1e-1)
    bottom.set_ylabel("learning rate")
    bottom.set_xlabel("main-line optimizer step")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def smooth(values: Sequence[float], decay: float = 0.9) -> list[float]:
    """Return the bias-corrected exponential moving average, so that a single batch's noise does not hide the line."""
    average, weight, result = 0.0, 0.0, []
    for value in values:
        average = decay * average + (1.0 - decay) * value
        weight = decay * weight + (1.0 - decay)
        result.append(average / weight)
    return result
