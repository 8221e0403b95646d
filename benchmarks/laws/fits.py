"""The laws that are measured, and their fits to 124M runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import numpy as np
from pacesetter_search.laws import (
    AnnealingLaw,
    BaselineLaw,
    ConvexBoundLaw,
    Curve,
    EnsembleLaw,
    FittedLaw,
    FunctionalScalingLaw,
    Law,
    MultiPowerLaw,
)

from benchmarks.public_curves import Run, runs_124m

WARMUP_STEPS = 1000
"""First steps of the 124M runs that no law is about: three times their warm-up."""

FITTED_124M = {1e-4: ("230", "135"), 5e-4: ("231", "137"), 1e-3: ("232", "139")}
"""A constant run of 50,000 steps and a cosine to zero of 25,000, by peak learning rate."""

COOLDOWN = "wsd_linear_0.2"
"""Of 50,000 steps, as a third run beside those two."""

DRAWS = 2000

LAWS: Mapping[str, Callable[[], Law]] = {
    "ensemble": EnsembleLaw,
    "annealing": lambda: AnnealingLaw(1000.0),
    "Multi-Power, prior": MultiPowerLaw,
    "Multi-Power, free": lambda: MultiPowerLaw(prior=False),
    "functional scaling": FunctionalScalingLaw,
    "convex bound": ConvexBoundLaw,
    "baseline": BaselineLaw,
    "ensemble of the notes": lambda: EnsembleLaw(
        [AnnealingLaw(1000.0), AnnealingLaw(2000.0), MultiPowerLaw(prior=False)]
    ),
    "ensemble with the convex bound": lambda: EnsembleLaw(
        [AnnealingLaw(), MultiPowerLaw(), ConvexBoundLaw()]
    ),
}
"""By title; the first is ours."""

OURS = "ensemble"


@cache
def two_curves(lr: float) -> tuple[Curve, ...]:
    """Return the constant and the cosine run of a peak."""
    by_name = {run.name: run for run in runs_124m()}
    return tuple(by_name[name].curve.after(WARMUP_STEPS) for name in FITTED_124M[lr])


@cache
def cooldowns() -> Mapping[float, Run]:
    """Return the run with a cooldown of a fifth at each peak."""
    return {
        run.lr: run
        for run in reversed(runs_124m())
        if run.lr in FITTED_124M and run.schedule == COOLDOWN and run.steps == 50_000
    }


@cache
def fits(title: str) -> Mapping[float, FittedLaw]:
    """Return a law fitted to constant and cosine, by peak learning rate."""
    return {lr: LAWS[title]().fit(two_curves(lr)) for lr in FITTED_124M}


@cache
def fits_of_three(title: str) -> Mapping[float, FittedLaw]:
    """Return a law fitted to constant, cosine and what a cooldown has of its own, by peak learning rate."""
    return {
        lr: LAWS[title]().fit([*two_curves(lr), fresh_part(run)]) for lr, run in cooldowns().items()
    }


def fresh_part(run: Run) -> Curve:
    """Return a run's losses after its trunk and the warm-up."""
    return run.curve.after(max(run.shared, WARMUP_STEPS) + 1)


def others() -> list[Run]:
    """Return the runs that are not fitted to, of the peaks that are."""
    fitted = {name for names in FITTED_124M.values() for name in names}
    return [run for run in runs_124m() if run.lr in FITTED_124M and run.name not in fitted]


def final_losses(laws: Mapping[float, FittedLaw], runs: Iterable[Run]) -> dict[str, float]:
    """Return the predicted last loss of each run."""
    return {
        run.name: float(laws[run.lr].predict(run.curve.lrs, [run.curve.positions[-1]]).mean[0])
        for run in runs
    }


def errors(law: FittedLaw, curve: Curve) -> tuple[float, float]:
    """Return R2 and PredE, the mean relative error, of a law on a curve."""
    mean = law.predict(curve.lrs, curve.positions).mean
    off = mean - curve.losses
    r2 = 1.0 - float(np.sum(off**2) / np.sum((curve.losses - curve.losses.mean()) ** 2))
    return r2, float(np.mean(np.abs(off) / curve.losses))


def bar(value: float, most: float | None) -> tuple[str, bool] | tuple[()]:
    """Return the words of an upper bar and whether it is met; nothing without one."""
    return () if most is None else (f"<= {most}", value <= most)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of one value a cell with its 90 % interval, where cells are drawn."""
    drawn = np.random.default_rng(0).choice(np.array(values), (DRAWS, len(values)))
    low, high = np.quantile(drawn.mean(axis=1), [0.05, 0.95])
    return float(np.mean(values)), float(low), float(high)


def clustered(groups: Sequence[Sequence[bool]]) -> tuple[float, float, float]:
    """Return a share in per cent with its 90 % interval, where whole groups are drawn."""
    groups = [group for group in groups if group]
    generator = np.random.default_rng(0)
    sums = np.array([(sum(group), len(group)) for group in groups], dtype=np.float64)
    drawn = generator.integers(0, len(groups), (DRAWS, len(groups)))
    totals = sums[drawn].sum(axis=1)
    low, high = np.quantile(100.0 * totals[:, 0] / totals[:, 1], [0.05, 0.95])
    return 100.0 * float(sums[:, 0].sum() / sums[:, 1].sum()), float(low), float(high)
