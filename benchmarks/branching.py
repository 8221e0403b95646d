"""Three budgets from one trunk of the byte language model, each against a run that was made for it.

The trunk is steered by the real controller (strategy ``wsd_branch``), with its decays beside the main line (``wsd``)
or on it (``wsd_s``). A run made for a budget has the same peak, warm-up, shape of decay and first batches. All losses
are on a split that decided nothing. Beside them: what merged checkpoints of the trunk promise of a decay.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pacesetter
from pacesetter.averaging import CheckpointMerge, estimate_decay
from pacesetter.schedules import WSD, Schedule, Warmup

from benchmarks.quality.engine import train
from benchmarks.quality.steered import Batches
from benchmarks.quality.tasks import named
from benchmarks.quality.tasks.base import Task
from benchmarks.reporting import Report, arguments
from demo.service import serving

LR = 2.0**-7
"""The best of a sweep for WSD with a decay over a fifth, at the longest budget."""
DECAY, WARMUP, MERGED = 0.2, 75, 10
"""Share of a budget that is decay; steps of warm-up; checkpoints of a trunk that are merged."""
BAR = 0.01
Mode = Literal["wsd", "wsd_s"]
Losses = dict[int, float]
"""By budget."""


def main(argv: Sequence[str] | None = None) -> None:
    """Train everything, and print the table."""
    parser = arguments(__doc__)
    given = parser.parse_args(argv)
    (task,) = named("bytes-lm")
    total = 300 if given.quick else task.steps
    budgets, seeds = [total // 3, 2 * total // 3, total], range(200, 201 if given.quick else 203)
    report = Report("branching", seeds=list(seeds))
    with controller():
        own = [alone(task, budgets, seed) for seed in seeds]
        trunks = {mode: [trunk(task, budgets, seed, mode) for seed in seeds] for mode in MODES}
    for mode, found in trunks.items():
        add_rows(report, mode, budgets, own, found)
    report.print()
    report.save(given.json)


MODES: tuple[Mode, ...] = ("wsd", "wsd_s")


def alone(task: Task, budgets: Sequence[int], seed: int) -> Losses:
    """Return what runs made for each budget end at."""
    return {
        budget: train(
            task,
            Schedule(
                length=budget,
                warmup=Warmup(length=warmup_of(budgets)),
                body=WSD(cooldown=DECAY, shape="sqrt"),
            ),
            LR,
            budget,
            seed,
        ).B
        for budget in budgets
    }


class Trunk:
    """One steered run: what it reached at each budget, what merging promised, what it cost."""

    def __init__(self) -> None:
        self.reached: Losses = {}
        self.promised: Losses = {}
        self.steps = 0


def trunk(task: Task, budgets: Sequence[int], seed: int, mode: Mode) -> Trunk:
    """Train one trunk under the controller."""
    trial, found, total = task.open(seed, LR), Trunk(), budgets[-1]

    def hand_over(name: str) -> None:
        found.reached[int(name.removeprefix("budget-"))] = trial.validate("B")

    run = pacesetter.attach(
        trial.model,
        trial.optimizers,
        name="branching",
        budget=pacesetter.Steps(total),
        base=Schedule(length=total, warmup=Warmup(length=warmup_of(budgets))),
        validate=lambda: trial.validate("A"),
        strategy="wsd_branch",
        strategy_parameters={
            "budgets": list(budgets[:-1]),
            "decay": DECAY,
            "shape": "sqrt",
            "mode": mode,
            "guard": False,
        },
        on_branch=hand_over,
        waiting_seconds=120.0,
        register_seconds=120.0,
        seed=seed,
    )
    merges = {budget: merge_of(trial.model, budget) for budget in budgets[:-1] if mode == "wsd"}
    for batch in run.batches(Batches(trial)):
        loss = trial.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        run.step(loss)
        if run.on_main_line:
            promise(merges, run.position, lambda: trial.validate("B"), found)
    result = run.finish()
    found.reached[total] = trial.validate("B")
    ledger = result.ledger
    found.steps = ledger.main_steps + ledger.branch_steps + ledger.discarded_steps
    return found


def merge_of(model: Any, budget: int) -> CheckpointMerge:
    """Return what keeps checkpoints over the last fifth of a budget, weighted as its decay would."""
    begin, length = budget - round(DECAY * budget), round(DECAY * budget)
    decay = Schedule(zero=begin, length=length, body=WSD(cooldown=1.0, shape="sqrt"))
    return CheckpointMerge(model, MERGED + 1, decay=decay)


def promise(merges: dict[int, CheckpointMerge], position: int, validate: Any, found: Trunk) -> None:
    """Keep the trunk's weights where a merge wants them; at its budget, measure it."""
    for budget, merge in merges.items():
        length = round(DECAY * budget)
        into = position - (budget - length)
        if 0 <= into <= length and into % max(1, length // MERGED) == 0:
            merge.update(position)
        if position == budget:
            found.promised[budget] = estimate_decay(merge, validate)


def add_rows(
    report: Report,
    mode: Mode,
    budgets: Sequence[int],
    own: Sequence[Losses],
    found: Sequence[Trunk],
) -> None:
    """Add the figures of one mode."""
    for budget in budgets:
        ratios = [
            np.log(each.reached[budget] / losses[budget])
            for each, losses in zip(found, own, strict=True)
        ]
        mean, error = float(np.mean(ratios)), standard_error(ratios)
        name = f"{mode}: budget {budget}: loss above a run made for it (se {100 * error:.2f})"
        report.row(name, 100 * mean, "%", f"<= {100 * BAR:g}", mean <= BAR)
        promised = [
            np.log(each.promised[budget] / each.reached[budget])
            for each in found
            if budget in each.promised
        ]
        if promised:
            error = 100 * standard_error(promised)
            text = f"{mode}: budget {budget}: merged trunk above the real decay (se {error:.2f})"
            report.row(text, 100 * float(np.mean(promised)), "%")
    steps = float(np.mean([each.steps for each in found]))
    report.row(f"{mode}: steps, all budgets", steps, "steps")
    report.row(f"{mode}: over the runs made for each", steps / sum(budgets), "x")


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of a mean; NaN for a single value, of which nothing is known."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def warmup_of(budgets: Sequence[int]) -> int:
    """Return the warm-up of every run: at most a fifth of the shortest budget."""
    return min(WARMUP, budgets[0] // 5)


@contextmanager
def controller() -> Iterator[None]:
    """Start a controller, and tell the client where it is."""
    with (
        tempfile.TemporaryDirectory(prefix="pacesetter-branching-") as folder,
        serving(Path(folder) / "service") as url,
    ):
        os.environ.update(PACESETTER_URL=url, PACESETTER_DIR=str(Path(folder) / "jobs"))
        yield


if __name__ == "__main__":
    main()
