"""Every contender against one of them, paired by seed, from the JSON of a run.

python -m benchmarks.quality.paired "family: linear" families.json
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.figures import Estimate, estimate, log_ratios

Losses = dict[tuple[str, str], dict[int, float]]
"""Loss on split B by task and contender, then by seed."""


def losses_of(document: Mapping[str, Any]) -> Losses:
    """Return the losses of a run's document."""
    found: Losses = {}
    for score in document["scores"]:
        found.setdefault((score["task"], score["contender"]), {})[score["seed"]] = score["B"]
    return found


def table(losses: Losses, other: str) -> str:
    """Return a Markdown table: a row for each contender, a column for each task.

    Raises:
        ValueError: ``other`` took part nowhere; the message lists who did.
    """
    tasks = list(dict.fromkeys(task for task, _ in losses))
    names = list(dict.fromkeys(name for _, name in losses))
    if other not in names:
        raise ValueError(f"nobody is called {other!r}; there are: {'; '.join(names)}")
    lines = [["contender", *tasks], ["---", *["---:"] * len(tasks)]]
    lines += [[name, *(_cell(losses, task, name, other) for task in tasks)] for name in names]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(losses: Losses, task: str, name: str, other: str) -> str:
    ratios = log_ratios(losses.get((task, name), {}), losses.get((task, other), {}))
    return shown(estimate(ratios)) if ratios and name != other else ""


def shown(gap: Estimate) -> str:
    """Return a gap in per cent with its standard error, in bold where it is clear."""
    text = f"{100.0 * math.expm1(gap.mean):+.1f}"
    if math.isfinite(gap.error):
        text += f" ± {100.0 * gap.error:.1f}"
    return f"**{text}**" if gap.clearly_below_zero or gap.clearly_above_zero else text


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table of the run that the command line names."""
    parser = argparse.ArgumentParser(prog="benchmarks.quality.paired", description=__doc__)
    parser.add_argument("other", help="the contender that all are set against")
    parser.add_argument("run", type=Path, help="what --json wrote")
    given = parser.parse_args(argv)
    print(table(losses_of(json.loads(given.run.read_text())), given.other))


if __name__ == "__main__":
    main()
