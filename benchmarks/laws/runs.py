"""Runs of 124 million parameters: one peak at a time, with a cooldown among the fitted, and all peaks at once."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from pacesetter_search.laws import AcrossPeaksLaw, EnsembleLaw, FittedLaw

from benchmarks.laws.choice import order_and_regret
from benchmarks.laws.fits import (
    FITTED_124M,
    LAWS,
    OURS,
    WARMUP_STEPS,
    bar,
    cooldowns,
    errors,
    fits,
    fresh_part,
    others,
    two_curves,
)
from benchmarks.laws.published import ATTEMPTS, TRUNK, attempted, scores
from benchmarks.public_curves import FITTED, Run, multi_power_curve
from benchmarks.reporting import Report


def runs_of_124m(report: Report) -> None:
    """Add errors on the 124M runs, one peak at a time."""
    for title in LAWS:
        found = _errors(fits(title), others())
        ours = title == OURS
        name = f"124M, {title}"
        report.row(f"{name}: PredE, all", found.every, "")
        report.row(
            f"{name}: PredE, unseen", found.unseen, "", *bar(found.unseen, 0.0022 if ours else None)
        )
        off = float(np.mean(np.abs(found.finals)))
        report.row(
            f"{name}: mean error of the final loss", off, "nats", *bar(off, 0.008 if ours else None)
        )
        report.row(f"{name}: bias of the final loss", float(np.mean(found.finals)), "nats")


def with_a_cooldown(report: Report) -> None:
    """Add what was tried for fits with a step or a cooldown: on 25M, and on 100M and 124M, which judge it."""
    fitted = {run.name for run in cooldowns().values()}
    judged = [run for run in others() if run.name not in fitted]
    for title, (make, wide) in ATTEMPTS.items():
        with attempted(wide):
            for size in (25, 100):
                law = make().fit([multi_power_curve(size, run) for run in FITTED])
                for words, less in (("all", ()), ("unseen", TRUNK), ("in no fitted run", FITTED)):
                    error = scores(law, size, less)[1]
                    name = f"step or cooldown fitted, {title}: {size}M, PredE, {words}"
                    report.row(name, error, "")
            laws = {
                lr: make().fit([*two_curves(lr), fresh_part(run)])
                for lr, run in cooldowns().items()
            }
        found = _errors(laws, judged)
        regret, close, clear = order_and_regret(laws)
        name = f"step or cooldown fitted, {title}: 124M"
        report.row(f"{name}, PredE, all", found.every, "")
        report.row(f"{name}, PredE, unseen", found.unseen, "")
        off = float(np.mean(np.abs(found.finals)))
        report.row(f"{name}, mean error of the final loss", off, "nats")
        report.row(f"{name}, mean regret", float(np.mean(regret)), "nats")
        report.row(f"{name}, order right, gap .004-.012", close[0], "%")
        report.row(f"{name}, order right, gap above .012", clear[0], "%")


class _Errors(NamedTuple):
    every: float
    """Mean PredE after the warm-up."""
    unseen: float
    """The same after each run's trunk."""
    finals: list[float]
    """Errors of the final losses; no run that is judged ends on its trunk."""


def _errors(laws: Mapping[float, FittedLaw], runs: Iterable[Run]) -> _Errors:
    every, fresh, finals = [], [], []
    for run in runs:
        law = laws[run.lr]
        every.append(errors(law, run.curve.after(WARMUP_STEPS))[1])
        fresh.append(errors(law, fresh_part(run))[1])
        predicted = law.predict(run.curve.lrs, [run.curve.positions[-1]]).mean[0]
        finals.append(float(predicted) - run.final)
    return _Errors(float(np.mean(every)), float(np.mean(fresh)), finals)


def across_peaks(report: Report) -> None:
    """Add errors of one fit over all peaks, and of fits that leave a peak out, of which then no point was fitted."""
    for title, law in (
        ("across peaks", AcrossPeaksLaw(1000.0)),
        ("annealing", LAWS["annealing"]()),
        ("ensemble", EnsembleLaw()),
    ):
        joint = law.fit([curve for lr in FITTED_124M for curve in two_curves(lr)])
        _across(report, f"124M, all peaks in one fit, {title}", joint, others())
        for left_out in FITTED_124M:
            kept = [curve for lr in FITTED_124M if lr != left_out for curve in two_curves(lr)]
            runs = [run for run in others() if run.lr == left_out]
            _across(report, f"124M, {left_out:g} left out, {title}", law.fit(kept), runs)


def _across(report: Report, name: str, law: FittedLaw, runs: Iterable[Run]) -> None:
    from scipy.stats import spearmanr

    runs = list(runs)
    found = _errors(dict.fromkeys((run.lr for run in runs), law), runs)
    report.row(f"{name}: PredE, all", found.every, "")
    report.row(f"{name}: PredE, unseen", found.unseen, "")
    ends = [run for run in runs if run.steps == 50_000]
    predicted = [float(law.predict(run.curve.lrs).mean[0]) for run in ends]
    order = float(spearmanr(predicted, [run.final for run in ends]).statistic)
    report.row(f"{name}: Spearman of final losses at 50,000 steps", order, "")
