"""One table, one plot and one JSON document of a board."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.quality.board import Board
from benchmarks.quality.figures import Standing, buys_loss
from benchmarks.quality.tuned import Reference

HEADINGS = (
    "contender",
    "loss above best",
    "se",
    "cost",
    "regret, seed sd",
    "steps / T",
    "lost",
    "seconds main + probe",
)


def document(board: Board) -> dict[str, Any]:
    """Return references, standings and every score as JSON values; what is not finite becomes null."""
    plan = board.plan
    found = {
        "failures": list(board.failures),
        "tables": table(board),
        "scale": plan.scale,
        "cap": plan.cap,
        "references": [_reference(reference) for reference in board.references],
        "standings": [asdict(one) for one in board.standings()],
        "scores": [
            {"task": task, "contender": name, "seed": seed, **asdict(score)}
            for (task, name), by_seed in board.scores.items()
            for seed, score in by_seed.items()
        ],
    }
    cleaned: dict[str, Any] = _finite(found)
    return cleaned


def table(board: Board) -> str:
    """Return a Markdown table for each task, best contender first, and one over all tasks."""
    standings = board.standings()
    parts = [_over_all(board, standings)]
    if board.failures:
        parts.append("Failed, and so left out:\n\n" + "\n".join(f"- {it}" for it in board.failures))
    for reference in board.references:
        here = [one for one in standings if one.task == reference.task.name]
        here.sort(key=lambda one: one.log_ratio.mean)
        parts.append(_heading(reference) + "\n\n" + _rows(HEADINGS, [_line(one) for one in here]))
    return "\n\n".join(parts) + "\n"


def plot(board: Board, path: Path) -> None:
    """Save a picture: a row for each contender, a dot for each task, at its loss above the tuned best."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    standings = board.standings()
    names = [contender.name for contender in board.plan.contenders]
    names = [name for name in names if any(one.contender == name for one in standings)]
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.35 * len(names)))
    for reference in board.references:
        here = {one.contender: one for one in standings if one.task == reference.task.name}
        ratios = [
            _percent(here[name].log_ratio.mean) if name in here else math.nan for name in names
        ]
        axes.plot(ratios, range(len(names)), "o", alpha=0.75, label=reference.task.name)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=10.0)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("loss on split B above the tuned best, % (linear up to 10, then logarithmic)")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)


def _over_all(board: Board, standings: Sequence[Standing]) -> str:
    headings = (
        "contender",
        "median",
        "worst",
        "within 2 %",
        "median cost",
        "steps / T",
        "lost",
        "tasks",
    )
    lines = []
    for contender in board.plan.contenders:
        found = [one for one in standings if one.contender == contender.name]
        if found:
            lines.append(_overall_line(contender.name, found))
    return "### All tasks\n\nLoss above the tuned best of each task.\n\n" + _rows(headings, lines)


def _overall_line(name: str, found: Sequence[Standing]) -> tuple[str, ...]:
    ratios = [_percent(one.log_ratio.mean) for one in found]
    costs = [one.cost for one in found if one.cost is not None]
    runs = sum(one.log_ratio.seeds for one in found)
    return (
        name,
        f"{median(ratios):+.1f} %",
        f"{max(ratios):+.1f} %",
        str(sum(ratio <= 2.0 for ratio in ratios)),
        f"{median(costs):.2f}" if costs else "",
        f"{max(one.steps for one in found):.3f}",
        f"{sum(one.lost for one in found)} of {runs}",
        str(len(found)),
    )


def _heading(reference: Reference) -> str:
    task, at_budget = reference.task, list(reference.at_budget.values())
    mean = sum(at_budget) / len(at_budget)
    falls = "" if buys_loss(reference) else "; more steps do not clearly lower it: read the regret"
    return (
        f"### {task.name}\n\n{task.optimizer}, T = {reference.steps}. Tuned best: {reference.shape} at 2^"
        f"{reference.log2_lr:g}, {mean:.4g} (seed sd {reference.seed_sd:.2g}, {len(at_budget)} seeds), found with "
        f"{reference.swept_steps / reference.steps:.0f} runs a seed{falls}."
    )


def _line(one: Standing) -> tuple[str, ...]:
    cost = "" if one.cost is None else f"{one.cost:.2f}"
    if one.cost_is_bound:
        cost = f"over {one.cost:.0f}"
    elif one.cost_range is not None and one.log_ratio.seeds > 1:
        cost += f" ({one.cost_range[0]:.2f} to {one.cost_range[1]:.2f})"
    probe = one.seconds.get("probe", 0.0)
    return (
        one.contender,
        f"{_percent(one.log_ratio.mean):+.1f} %",
        f"{100.0 * one.log_ratio.error:.1f}" if math.isfinite(one.log_ratio.error) else "",
        cost,
        f"{one.regret_sd:+.1f}" if math.isfinite(one.regret_sd) else "",
        f"{one.steps:.3f}",
        f"{one.lost} of {one.log_ratio.seeds}",
        f"{one.seconds.get('main', 0.0):.1f} + {probe:.1f}",
    )


def _rows(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (headings, rule, *lines))


def _reference(reference: Reference) -> dict[str, Any]:
    return {
        "task": reference.task.name,
        "steps": reference.steps,
        "shape": reference.shape,
        "log2_lr": reference.log2_lr,
        "losses": {str(length): found for length, found in reference.losses.items()},
        "seed_sd": reference.seed_sd,
        "best_by_shape": reference.best_by_shape,
        "buys_loss": buys_loss(reference),
    }


def _percent(log_ratio: float) -> float:
    return 100.0 * math.expm1(log_ratio)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
