"""Laws on public loss curves: errors on all and on unseen points, the choice of a schedule, and coverage.

python -m benchmarks.laws            two minutes; needs the public curves, and says so where they are absent
python -m benchmarks.laws --quick    the published split only
"""

import csv
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from pacesetter_search.laws import (
    AnnealingLaw,
    Curve,
    EnsembleLaw,
    FittedLaw,
    FittedMultiPower,
    FunctionalScalingLaw,
    Law,
    MultiPowerLaw,
)

from benchmarks.public_curves import (
    FITTED,
    FOLDER,
    TESTED,
    Run,
    multi_power_curve,
    runs_124m,
    unseen,
)
from benchmarks.reporting import Report, arguments

PUBLISHED = {
    25: (3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013, 0.64142257),
    100: (2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644),
}
"""L0, A, alpha, B, C, beta and gamma of the Multi-Power Law, as released."""

REPRODUCED = {25: (0.9988, 0.00110), 100: (0.9983, 0.00142)}
"""R2 and PredE that belong to them."""

WARMUP_STEPS = 1000
"""First steps of the 124M runs that no law is about: three times their warm-up."""

FITTED_124M = {1e-4: ("230", "135"), 5e-4: ("231", "137"), 1e-3: ("232", "139")}
"""A constant run of 50,000 steps and a cosine to zero of 25,000, by peak learning rate."""

CLOSE, CLEAR = 0.004, 0.012
"""Bounds of the true difference of two schedules whose order is asked for, in nats."""

Z90 = 1.645
DRAWS = 2000
LAWS: Mapping[str, Callable[[], Law]] = {
    "annealing": lambda: AnnealingLaw(1000.0),
    "Multi-Power, prior": MultiPowerLaw,
    "Multi-Power, free": lambda: MultiPowerLaw(prior=False),
    "functional scaling": FunctionalScalingLaw,
    "ensemble": EnsembleLaw,
    "ensemble of the notes": lambda: EnsembleLaw(
        [AnnealingLaw(1000.0), AnnealingLaw(2000.0), MultiPowerLaw(prior=False)]
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    given = arguments(__doc__).parse_args(argv)
    if not FOLDER.is_dir():
        sys.exit(f"the public loss curves are not at {FOLDER}; they are no part of the repository")
    report = Report("laws", seeds=[0], packages=("numpy", "scipy"))
    published_split(report)
    if not given.quick:
        runs_of_124m(report)
        choice(report)
        coverage(report)
    report.print()
    report.save(given.json)


# -- the published split --


def published_split(report: Report) -> None:
    """Add errors on the runs of 25 and 100 million parameters."""
    for size in (25, 100):
        law = FittedMultiPower.of(*PUBLISHED[size])
        r2, error = scores(law, size)
        wanted = REPRODUCED[size]
        name = f"{size}M, published parameters"
        _near(report, f"{name}: R2", r2, wanted[0])
        _near(report, f"{name}: PredE", error, wanted[1])
        report.row(f"{name}: PredE, unseen", scores(law, size, fresh=True)[1], "")
        for name, runs, bars in (
            ("published split", FITTED, {25: 0.0011, 100: 0.0022}),
            ("constant and cosine", FITTED[1::-1], {25: 0.0016, 100: 0.0014}),
            ("cosine only", FITTED[:1], {100: 0.0016}),
        ):
            curves = [multi_power_curve(size, run) for run in runs]
            for title in (
                "ensemble",
                "annealing",
                "Multi-Power, prior",
                "Multi-Power, free",
                "functional scaling",
            ):
                began = time.perf_counter()
                fitted = LAWS[title]().fit(curves)
                seconds = time.perf_counter() - began
                every, fresh = scores(fitted, size)[1], scores(fitted, size, fresh=True)[1]
                figure = fresh if name == "published split" else every
                bar = bars.get(size) if title == "ensemble" else None
                words = f"{size}M, {name}, {title}: PredE"
                report.row(f"{words}, all (fit {seconds:.1f} s)", every, "")
                if name == "published split":
                    report.row(f"{words}, unseen", fresh, "", *_bar(figure, bar))
                elif bar is not None:
                    report.row(words, figure, "", *_bar(figure, bar))


def scores(law: FittedLaw, size: int, *, fresh: bool = False) -> tuple[float, float]:
    """Return R2 and PredE, means over the test curves; ``fresh``: on points that the constant run does not have."""
    trunk = multi_power_curve(size, "constant_24000")
    curves = [multi_power_curve(size, name) for name in TESTED]
    if fresh:
        curves = [unseen(curve, trunk) for curve in curves]
    found = [_errors(law, curve) for curve in curves]
    return float(np.mean([r2 for r2, _ in found])), float(np.mean([error for _, error in found]))


def _errors(law: FittedLaw, curve: Curve) -> tuple[float, float]:
    mean = law.predict(curve.lrs, curve.positions).mean
    off = mean - curve.losses
    r2 = 1.0 - float(np.sum(off**2) / np.sum((curve.losses - curve.losses.mean()) ** 2))
    return r2, float(np.mean(np.abs(off) / curve.losses))


def _near(report: Report, name: str, value: float, wanted: float) -> None:
    report.row(name, value, "", f"{wanted} to 1e-4", abs(value - wanted) <= 1e-4)


def _bar(value: float, bar: float | None) -> tuple[str, bool] | tuple[()]:
    return () if bar is None else (f"<= {bar}", value <= bar)


# -- 124 million parameters --


@dataclass(frozen=True)
class Cell:
    """The runs of one peak and one length: true final losses by schedule, and the run that shows each."""

    lr: float
    steps: int
    finals: Mapping[str, float]
    runs: Mapping[str, Run]


@cache
def fits(title: str) -> Mapping[float, FittedLaw]:
    """Return a law fitted to constant and cosine, by peak learning rate."""
    by_name = {run.name: run for run in runs_124m()}
    return {
        lr: LAWS[title]().fit([by_name[name].curve.after(WARMUP_STEPS) for name in names])
        for lr, names in FITTED_124M.items()
    }


def others() -> list[Run]:
    """Return the runs that are not fitted to, of the peaks that are."""
    fitted = {name for names in FITTED_124M.values() for name in names}
    return [run for run in runs_124m() if run.lr in FITTED_124M and run.name not in fitted]


def final_losses(title: str, runs: Iterable[Run]) -> dict[str, float]:
    """Return the predicted last loss of each run."""
    return {
        run.name: float(
            fits(title)[run.lr].predict(run.curve.lrs, [run.curve.positions[-1]]).mean[0]
        )
        for run in runs
    }


def runs_of_124m(report: Report) -> None:
    """Add errors on the 124M runs, one peak at a time."""
    for title in LAWS:
        errors, finals = [], []
        for run in others():
            fresh = run.curve.after(max(run.shared, WARMUP_STEPS) + 1)
            predicted = fits(title)[run.lr].predict(run.curve.lrs, fresh.positions).mean
            errors.append(float(np.mean(np.abs(predicted - fresh.losses) / fresh.losses)))
            finals.append(float(predicted[-1]) - run.final)
        error, final = float(np.mean(errors)), float(np.mean(np.abs(finals)))
        ours = title == "ensemble"
        name = f"124M, {title}"
        report.row(f"{name}: PredE, unseen", error, "", *_bar(error, 0.0022 if ours else None))
        report.row(
            f"{name}: mean error of the final loss",
            final,
            "nats",
            *_bar(final, 0.008 if ours else None),
        )
        report.row(f"{name}: bias of the final loss", float(np.mean(finals)), "nats")


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
        _regrets(report, f"choice, {name}", np.array(regrets), bars=False)
    for title in LAWS:
        regrets, close, clear = [], [], []
        for cell in cells():
            predicted = dict(
                zip(cell.runs, final_losses(title, cell.runs.values()).values(), strict=True)
            )
            regrets.append(_regret(cell, predicted))
            ordered = list(_pairs(cell, predicted))
            close.append([right for gap, right in ordered if gap <= CLEAR])
            clear.append([right for gap, right in ordered if gap > CLEAR])
        ours = title == "ensemble"
        _regrets(report, f"choice, {title}", np.array(regrets), bars=ours)
        for words, pairs, bar in (("gap .004-.012", close, 92.0), ("gap above .012", clear, 99.0)):
            share, low, high = _clustered(pairs)
            name = f"choice, {title}: order right, {words} (90 % from {low:.0f} to {high:.0f})"
            report.row(name, share, "%", *((f">= {bar:g}", share >= bar) if ours else ()))


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


def _regrets(report: Report, name: str, regrets: np.ndarray, *, bars: bool) -> None:
    generator = np.random.default_rng(0)
    means = [float(np.mean(generator.choice(regrets, regrets.size))) for _ in range(DRAWS)]
    low, high = np.quantile(means, [0.05, 0.95])
    mean, most = float(np.mean(regrets)), float(np.max(regrets))
    words = f"{name}: mean regret (90 % from {low:.4f} to {high:.4f})"
    report.row(words, mean, "nats", *_bar(mean, 0.0003 if bars else None))
    report.row(f"{name}: largest regret", most, "nats", *_bar(most, 0.003 if bars else None))


def _clustered(groups: Sequence[Sequence[bool]]) -> tuple[float, float, float]:
    """Return a share in per cent with its 90 % interval, where whole groups are drawn."""
    groups = [group for group in groups if group]
    generator = np.random.default_rng(0)
    sums = np.array([(sum(group), len(group)) for group in groups], dtype=np.float64)
    drawn = generator.integers(0, len(groups), (DRAWS, len(groups)))
    totals = sums[drawn].sum(axis=1)
    low, high = np.quantile(100.0 * totals[:, 0] / totals[:, 1], [0.05, 0.95])
    return 100.0 * float(sums[:, 0].sum() / sums[:, 1].sum()), float(low), float(high)


# -- coverage --


def coverage(report: Report) -> None:
    """Add how often 90 % intervals of the final loss hold it, on curves that were not fitted to.

    Runs of one peak share a trunk and a fit, so whole cells (peak and length) are drawn for the interval.
    """
    held: dict[tuple[float, int], list[bool]] = defaultdict(list)
    widths = []
    for run in others():
        found = fits("ensemble")[run.lr].predict(run.curve.lrs, [run.curve.positions[-1]])
        mean, sd = float(found.mean[0]), float(found.sd[0])
        held[run.lr, run.steps].append(abs(run.final - mean) <= Z90 * sd)
        widths.append(2.0 * Z90 * sd)
    share, low, high = _clustered(list(held.values()))
    name = f"124M, 90 % interval of the final loss: holds it, {len(widths)} curves in {len(held)} cells"
    report.row(
        f"{name} (90 % from {low:.0f} to {high:.0f})", share, "%", "holds 90", low <= 90.0 <= high
    )
    report.row("124M, width of that interval", float(np.mean(widths)), "nats")


if __name__ == "__main__":
    main()
