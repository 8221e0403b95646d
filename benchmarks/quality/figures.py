"""The figures of a contest, from losses on split B and steps alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, stdev

import numpy as np

from benchmarks.quality.score import Score
from benchmarks.quality.tuned import Reference

MOST_EXTRAPOLATED = 8.0
"""Lengths beyond this many times the budget are not read off a line through three points."""
CLEARLY = 2.0
"""Standard errors from which on a difference is claimed."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its standard error; the error is NaN for one seed."""

    mean: float
    error: float
    seeds: int

    def below(self, bar: float) -> bool:
        """Whether the mean is at or below a bar."""
        return self.mean <= bar

    @property
    def clearly_below_zero(self) -> bool:
        """Whether the mean is below zero by two standard errors or more."""
        return self.mean < -CLEARLY * self.error if math.isfinite(self.error) else False

    @property
    def clearly_above_zero(self) -> bool:
        """Whether the mean is above zero by two standard errors or more."""
        return self.mean > CLEARLY * self.error if math.isfinite(self.error) else False


@dataclass(frozen=True)
class Standing:
    """One contender on one task."""

    task: str
    contender: str
    loss: float
    log_ratio: Estimate
    """Log of its loss over the reference's at the budget, paired by seed."""
    steps: float
    """All steps used, over the budget."""
    cost: float | None
    """Compute-equivalent cost: all steps used, over those that the tuned reference needs for the same loss."""
    cost_range: tuple[float, float] | None
    """The same one standard error of the loss better and worse."""
    cost_is_bound: bool
    """Whether the loss is so high that its cost is only known to be this or more."""
    regret_sd: float
    """Loss above the reference's in standard deviations of its seeds: the figure where steps do not buy loss."""
    lost: int
    probed: int
    """Seeds on which steps were spent beyond the main line."""
    seconds: dict[str, float]
    """Mean over seeds, by column of the ledger."""
    covered: int | None
    """Seeds whose 90 % interval held the best rate; None where none was given."""
    intervals: int


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of paired values and its standard error."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Estimate(fmean(values), error, len(values))


def log_ratios(losses: Mapping[int, float], others: Mapping[int, float]) -> list[float]:
    """Return the log of the ratio of two losses on every seed that both have."""
    return [math.log(losses[seed] / others[seed]) for seed in sorted(losses) if seed in others]


def standing(
    contender: str,
    reference: Reference,
    scores: Mapping[int, Score],
    *,
    paid: Mapping[int, Score] | None = None,
    best: float | None = None,
) -> Standing:
    """Return the figures of one contender.

    Args:
        contender: Its name.
        reference: The tuned reference of the task.
        scores: By seed.
        paid: Whose steps are charged instead of its own: a placebo pays for the probes it ignores.
        best: log2 of the best rate, to hold the intervals against.
    """
    losses = {seed: found.B for seed, found in scores.items()}
    ratio = estimate(log_ratios(losses, reference.at_budget))
    used = [(paid or scores).get(seed, found).steps for seed, found in scores.items()]
    steps = fmean(used) / reference.steps
    error = ratio.error if math.isfinite(ratio.error) else 0.0
    costs = [_cost(reference, steps, ratio.mean + by * error) for by in (0.0, -1.0, 1.0)]
    intervals = [found.interval for found in scores.values() if found.interval is not None]
    return Standing(
        task=reference.task.name,
        contender=contender,
        loss=fmean(losses.values()),
        log_ratio=ratio,
        steps=steps,
        cost=costs[0],
        cost_is_bound=costs[0] is not None and costs[0] >= _highest_cost(reference, steps),
        cost_range=None if costs[1] is None or costs[2] is None else (costs[1], costs[2]),
        regret_sd=_regret_sd(reference, losses),
        lost=sum(found.lost for found in scores.values()),
        probed=sum(found.steps > found.main_steps for found in scores.values()),
        seconds=_mean_seconds(list(scores.values())),
        covered=None if best is None else sum(low <= best <= high for low, high in intervals),
        intervals=len(intervals),
    )


def buys_loss(reference: Reference) -> bool:
    """Whether the reference's loss falls with its length, clearly, from half to once and to twice the budget."""
    lengths = sorted(reference.losses)
    falls = [
        estimate(log_ratios(reference.losses[longer], reference.losses[shorter]))
        for shorter, longer in pairwise(lengths)
    ]
    return all(fall.clearly_below_zero if fall.seeds > 1 else fall.mean < 0.0 for fall in falls)


def equivalent_steps(lengths: Mapping[int, float], log_loss: float) -> float:
    """Return the length at which a reference reaches a loss, by lines between its points in log-log.

    Args:
        lengths: Log loss by number of steps, falling.
        log_loss: The loss to find.

    Beyond the first and the last point their line goes on, up to 8 times shorter or longer.
    """
    points = sorted(lengths.items())
    x = np.log([steps for steps, _ in points])
    y = np.array([loss for _, loss in points])
    left = 0
    while left < len(points) - 2 and log_loss < y[left + 1]:
        left += 1
    slope = (y[left + 1] - y[left]) / (x[left + 1] - x[left])
    found = x[left] + (log_loss - y[left]) / slope
    reach = math.log(MOST_EXTRAPOLATED)
    return float(np.exp(np.clip(found, x[0] - reach, x[-1] + reach)))


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Return median and maximum."""
    return median(values), max(values)


def _cost(reference: Reference, steps: float, log_ratio: float) -> float | None:
    """Return the cost, where the reference's loss falls with its length; else None."""
    if not buys_loss(reference):
        return None
    logs = {
        length: fmean(math.log(loss) for loss in by_seed.values())
        for length, by_seed in reference.losses.items()
    }
    needed = equivalent_steps(logs, logs[reference.steps] + log_ratio)
    return steps * reference.steps / needed


def _highest_cost(reference: Reference, steps: float) -> float:
    """Return the cost at the shortest length that is read off."""
    return (1.0 - 1e-9) * steps * reference.steps * MOST_EXTRAPOLATED / min(reference.losses)


def _regret_sd(reference: Reference, losses: Mapping[int, float]) -> float:
    sd = reference.seed_sd
    gaps = [loss - reference.at_budget[seed] for seed, loss in losses.items()]
    return fmean(gaps) / sd if sd > 0.0 else math.nan


def _mean_seconds(scores: Sequence[Score]) -> dict[str, float]:
    columns = sorted({column for found in scores for column in found.seconds})
    return {column: fmean(found.seconds.get(column, 0.0) for found in scores) for column in columns}
