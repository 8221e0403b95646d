"""The range of learning rates that is searched, in log scale on [0, 1]."""

import math
from dataclasses import dataclass

from pacesetter.judgement import highest_multiplier

from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.autolrs.parameters import AutoLRSParameters

NARROWEST = 1.05
"""Ratio of the ends below which there is nothing to search."""


@dataclass(frozen=True, slots=True)
class Range:
    """Multipliers between ``lowest`` and ``highest``; ``x`` in [0, 1] is their place in log scale."""

    lowest: float
    highest: float

    @property
    def octaves(self) -> float:
        """Width in factors of two."""
        return math.log2(self.highest / self.lowest)

    def multiplier(self, x: float) -> float:
        """Return the multiplier at ``x``, never outside the range whatever rounding does."""
        value = self.lowest * math.pow(self.highest / self.lowest, min(max(x, 0.0), 1.0))
        return min(max(value, self.lowest), self.highest)

    def place(self, multiplier: float) -> float:
        """Return the place of a multiplier, cut to the range; a multiplier of zero is at its lower end."""
        inside = min(max(multiplier, self.lowest), self.highest)
        return math.log(inside / self.lowest) / math.log(self.highest / self.lowest)

    def around(self, multiplier: float, ratio: float | None) -> tuple[float, float]:
        """Return the places that one step may reach from ``multiplier`` if it may change by ``ratio`` at most."""
        if ratio is None or multiplier <= 0:
            return 0.0, 1.0
        slack = ratio * (1.0 - 1e-12)  # rounding in and out of log scale must not pass the limit
        return self.place(multiplier / slack), self.place(multiplier * slack)


def search_range(job: JobFacts, parameters: AutoLRSParameters) -> Range | None:
    """Return the range asked for, narrowed by the job's limits; None where nothing is left of it.

    Absolute rates refer to the job's first group; every other group keeps its ratio to it.
    """
    reference = job.groups[0].base_lr
    lowest, highest = parameters.min_multiplier, parameters.max_multiplier
    lowest = lowest if parameters.lr_min is None else parameters.lr_min / reference
    highest = highest if parameters.lr_max is None else parameters.lr_max / reference
    lowest = max(lowest, job.limits.min_multiplier)
    for kind in ("main", "probe"):
        allowed = highest_multiplier(
            job.limits, job.base, kind=kind, origin="autolrs", base_lr=reference
        )
        highest = min(highest, allowed)
    return Range(lowest, highest) if highest >= lowest * NARROWEST else None


def base_multiplier(job: JobFacts, position: int) -> float:
    """Return what the base schedule multiplies the first group's base rate by at ``position``."""
    value = job.base.at(position)
    return value if job.base.unit == "relative" else value / job.groups[0].base_lr
