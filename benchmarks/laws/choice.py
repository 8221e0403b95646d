"""The choice of a schedule on the 124M table: regret and order, against two rivals that are free, and what it costs."""

import csv
import itertools
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from pacesetter_search.laws import FittedLaw
from pacesetter_search.laws.choice import choose, learning_rates, optimise_free, rank_under, zoo

from benchmarks.laws.fits import (
    FITTED_124M,
    LAWS,
    OURS,
    bar,
    clustered,
    final_losses,
    fits,
    mean_interval,
)
from benchmarks.public_curves import FOLDER, Run, runs_124m
from benchmarks.reporting import Report

CLOSE, CLEAR = 0.004, 0.012
"""Bounds of the true difference of two schedules whose order is asked for, in nats."""

Share = tuple[float, float, float]
"""In per cent, with its 90 % interval."""


@dataclass(frozen=True)
class Cell:
    """The runs of one peak and one length: true final losses by schedule, and the run that shows each."""

    lr: float
    steps: int
    finals: Mapping[str, float]
    runs: Mapping[str, Run]


@cache
def cells() -> tuple[Cell, ...]:
    """Return the cells with at least five schedules: the mean of repeated runs is the truth."""
    by_name = {run.name: run for run in runs_124m()}
    path = FOLDER / "lr_scheduling_124m" / "final_table_124m.csv"
    found: dict[tuple[float, int], dict[str, list[tuple[float, str]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    with path.open() as file:
        for row in csv.DictReader(file):
            key = float(row["lr"]), int(row["iters"])
            found[key][row["schedule"]].append((float(row["final_val_loss"]), row["run"]))
    made = []
    for (lr, steps), schedules in found.items():
        if lr not in FITTED_124M or len(schedules) < 5:
            continue
        finals = {
            name: float(np.mean([loss for loss, _ in each])) for name, each in schedules.items()
        }
        runs = {
            name: next(by_name[run] for _, run in each if run in by_name)
            for name, each in schedules.items()
        }
        made.append(Cell(lr, steps, finals, runs))
    return tuple(made)


def choice(report: Report) -> None:
    """Add regret and order of the schedules in each cell, for every law and for the two free rivals."""
    free = {
        "one schedule for all (WSD-linear .4)": [
            _regret(c, {"wsd_linear_0.4": 0.0}) for c in cells()
        ],
        "the order at another peak": _order_elsewhere(),
    }
    for name, regrets in free.items():
        _regrets(report, f"choice, {name}", regrets, bars=False)
    for title in LAWS:
        ours = title == OURS
        regrets, close, clear = order_and_regret(fits(title))
        _regrets(report, f"choice, {title}", regrets, bars=ours)
        if ours:
            for rival, theirs in free.items():
                _against(report, f"choice, {title} less {rival}", regrets, theirs)
        for words, (share, low, high), least in (
            ("gap .004-.012", close, 92.0),
            ("gap above .012", clear, 99.0),
        ):
            name = f"choice, {title}: order right, {words} (90 % from {low:.0f} to {high:.0f})"
            report.row(name, share, "%", *((f">= {least:g}", share >= least) if ours else ()))


def order_and_regret(laws: Mapping[float, FittedLaw]) -> tuple[list[float], Share, Share]:
    """Return the regret of each cell, and how often close pairs and clear ones are in their order."""
    regrets, close, clear = [], [], []
    for cell in cells():
        predicted = dict(
            zip(cell.runs, final_losses(laws, cell.runs.values()).values(), strict=True)
        )
        regrets.append(_regret(cell, predicted))
        ordered = list(_pairs(cell, predicted))
        close.append([right for gap, right in ordered if gap <= CLEAR])
        clear.append([right for gap, right in ordered if gap > CLEAR])
    return regrets, clustered(close), clustered(clear)


def choice_costs(report: Report) -> None:
    """Add how long it takes to rank and to choose at 50,000 steps, the best of five."""
    law = fits(OURS)[1e-3]
    schedules = dict(itertools.islice(zoo(50_000, 1e-3, 300).items(), 30))
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        rank_under(law, {name: learning_rates(each, 1e-3) for name, each in schedules.items()})
        spent.append(time.perf_counter() - began)
    report.row(
        "choice: 30 candidates of 50,000 steps ranked",
        1e3 * min(spent),
        "ms",
        "<= 200",
        min(spent) <= 0.2,
    )
    for words, work in (
        ("a free shape found", lambda: optimise_free(law, 50_000, 1e-3, 300)),
        ("everything ranked, tuned and a free shape", lambda: choose(law, 50_000, 1e-3, 300)),
    ):
        began = time.perf_counter()
        work()
        report.row(f"choice: {words}", time.perf_counter() - began, "s")


def _regret(cell: Cell, predicted: Mapping[str, float]) -> float:
    pick = min(predicted, key=lambda name: predicted[name])
    return cell.finals[pick] - min(cell.finals.values())


def _order_elsewhere() -> list[float]:
    """Return the regret of the best known order: of the same length at another peak, the mean over those peaks."""
    regrets = []
    for cell in cells():
        rivals = [other for other in cells() if other.steps == cell.steps and other.lr != cell.lr]
        shared = [
            {name: loss for name, loss in other.finals.items() if name in cell.finals}
            for other in rivals
        ]
        regrets.append(float(np.mean([_regret(cell, order) for order in shared])))
    return regrets


def _pairs(cell: Cell, predicted: Mapping[str, float]) -> Iterable[tuple[float, bool]]:
    for one, other in itertools.combinations(predicted, 2):
        gap = cell.finals[one] - cell.finals[other]
        if abs(gap) >= CLOSE:
            yield abs(gap), (predicted[one] - predicted[other]) * gap > 0.0


def _regrets(report: Report, name: str, regrets: Sequence[float], *, bars: bool) -> None:
    mean, low, high = mean_interval(regrets)
    words = f"{name}: mean regret (90 % from {low:.4f} to {high:.4f})"
    report.row(words, mean, "nats", *bar(mean, 0.0003 if bars else None))
    most = max(regrets)
    report.row(f"{name}: largest regret", most, "nats", *bar(most, 0.003 if bars else None))


def _against(report: Report, name: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Add what ours leaves less than a rival in the same cells."""
    mean, low, high = mean_interval([one - other for one, other in zip(ours, theirs, strict=True)])
    words = f"{name}: mean difference of regrets, by cell (90 % from {low:.4f} to {high:.4f})"
    report.row(words, mean, "nats", "interval below 0", high < 0.0)
