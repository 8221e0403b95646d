"""Runs of 124 million parameters: one peak at a time, with a cooldown among the fitted, and all peaks at once."""

from collections.abc import Iterable, Mapping

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
from benchmarks.laws.published import ATTEMPTS, attempted, scores
from benchmarks.public_curves import FITTED, Run, multi_power_curve
from benchmarks.reporting import Report


def runs_of_124m(report: Report) -> None:
    """Add errors on the 124M runs, one peak at a time."""
    for title in LAWS:
        error, finals = _errors(fits(title), others())
        ours = title == OURS
        name = f"124M, {title}"
        report.row(f"{name}: PredE, unseen", error, "", *bar(error, 0.0022 if ours else None))
        off = float(np.mean(np.abs(finals)))
        report.row(
            f"{name}: mean error of the final loss", off, "nats", *bar(off, 0.008 if ours else None)
        )
        report.row(f"{name}: bias of the final loss", float(np.mean(finals)), "nats")


def with_a_cooldown(report: Report) -> None:
    """Add what was tried for fits with a step or a cooldown: on 25M, and on 100M and 124M, which judge it."""
    fitted = {run.name for run in cooldowns().values()}
    judged = [run for run in others() if run.name not in fitted]
    for title, (make, wide) in ATTEMPTS.items():
        with attempted(wide):
            for size in (25, 100):
                law = make().fit([multi_power_curve(size, run) for run in FITTED])
                error = scores(law, size, fresh=True)[1]
                report.row(f"step or cooldown fitted, {title}: {size}M, PredE, unseen", error, "")
            laws = {
                lr: make().fit([*two_curves(lr), fresh_part(run)])
                for lr, run in cooldowns().items()
            }
        error, finals = _errors(laws, judged)
        regret, close, clear = order_and_regret(laws)
        name = f"step or cooldown fitted, {title}: 124M"
        report.row(f"{name}, PredE, unseen", error, "")
        report.row(f"{name}, mean error of the final loss", float(np.mean(np.abs(finals))), "nats")
        report.row(f"{name}, mean regret", float(np.mean(regret)), "nats")
        report.row(f"{name}, order right, gap .004-.012", close[0], "%")
        report.row(f"{name}, order right, gap above .012", clear[0], "%")


def _errors(laws: Mapping[float, FittedLaw], runs: Iterable[Run]) -> tuple[float, list[float]]:
    """Return the mean PredE on unseen points, and the errors of the final losses."""
    found, finals = [], []
    for run in runs:
        fresh = fresh_part(run)
        found.append(errors(laws[run.lr], fresh)[1])
        predicted = laws[run.lr].predict(run.curve.lrs, [run.curve.positions[-1]]).mean[0]
        finals.append(float(predicted) - run.final)
    return float(np.mean(found)), finals


def across_peaks(report: Report) -> None:
    """Add errors of one fit over all peaks, and of fits that leave a peak out."""
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
    curves = [run.curve.after(WARMUP_STEPS) for run in runs]
    error = float(np.mean([errors(law, curve)[1] for curve in curves]))
    report.row(f"{name}: PredE, all points", error, "")
    ends = [run for run in runs if run.steps == 50_000]
    predicted = [float(law.predict(run.curve.lrs).mean[0]) for run in ends]
    order = float(spearmanr(predicted, [run.final for run in ends]).statistic)
    report.row(f"{name}: Spearman of final losses at 50,000 steps", order, "")
