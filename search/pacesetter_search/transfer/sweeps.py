r"""The best peak learning rate from runs that differ in their peak alone, also where there are only two of them.

Near its best peak the final loss is a parabola in log2 of the peak, ``L = L* (1 + c (x - theta)^2)``. Its curvature c
is known beforehand from Step Law's grid to within a factor of 1.6, so that two runs already say something; with more
of them it is fitted along. The posterior of theta is taken on a grid, with L* flat.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pacesetter_search.laws.curves import FloatArray

COSTS = ((25.0, 0.0063), (60.0, 0.0051), (200.0, 0.0035), (math.inf, 0.0028))
"""Relative loss of a peak that is an octave off, by tokens a parameter [Step Law's grid]."""

CURVATURE_SD = 0.47
"""Of the natural logarithm of the curvature: a factor of 1.6."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What is known beforehand of the relative loss of a peak that is an octave off: a log-normal.

    Attributes:
        median: Of it.
        log_sd: Of its natural logarithm.
    """

    median: float
    log_sd: float = CURVATURE_SD


SMALL = Cost(0.06, 1.0)
"""Of trainings far below the grid's sizes: half an octave costs .4 to 12 % in three of them."""


SEEDS_SD = 0.001
"""Relative sd of a final loss between seeds, at the least."""

DEPARTURE = 0.25
"""Share of a run's distance from the best that the parabola may get wrong: real bowls are steeper above."""

BOWL = 0.1
"""Relative loss above the best run from which on a run is no part of a parabola: it has diverged, or hardly learned."""

REACH = 3.0
"""Octaves outside of the runs in which the best peak is sought."""

ALIKE = 0.02
"""Octaves within which two runs are of one peak."""

STEP, MOST_PLACES = 0.02, 1000
"""Of the grid, in octaves, and how many places it has at most."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A complete run of a sweep.

    Attributes:
        lr: Its peak.
        loss: What it ended with, above 0.
        sd: Relative sd of that, beside :data:`SEEDS_SD`.
    """

    lr: float
    loss: float
    sd: float = 0.0


def cost_of_an_octave(tokens_per_parameter: float) -> float:
    """Return the relative loss of a peak that is an octave off."""
    return next(cost for most, cost in COSTS if tokens_per_parameter <= most)


def in_the_bowl(trials: Sequence[Trial]) -> list[Trial]:
    """Return the runs that end near the best of them: what a best peak is worked out from.

    Raises:
        ValueError: They are of fewer than two peaks, or a rate or a loss is not finite and above 0.
    """
    for one in trials:
        if not (0.0 < one.lr < math.inf and 0.0 < one.loss < math.inf and one.sd >= 0.0):
            raise ValueError(f"{one} is impossible; a rate and a loss are finite and above 0")
    best = min((one.loss for one in trials), default=0.0)
    near = [one for one in trials if one.loss <= (1.0 + BOWL) * best]
    if len({one.lr for one in near}) < 2:
        raise ValueError(
            "a best peak takes runs of two or more peaks that end within "
            f"{100.0 * BOWL:g} % of the best one; these are of {len({one.lr for one in near})}"
        )
    return near


def best_peak(trials: Sequence[Trial], cost: Cost | float) -> tuple[float, float]:
    """Return log2 of the best peak and its sd in octaves.

    Args:
        trials: Runs that differ in their peak alone; only those :func:`in_the_bowl` count.
        cost: What is known of the curvature beforehand; a number: tokens a parameter, of a language model's run.

    Raises:
        ValueError: As :func:`in_the_bowl`.
    """
    trials = in_the_bowl(trials)
    places = np.log2([one.lr for one in trials])
    losses = np.array([one.loss for one in trials])
    relative = losses / losses.min() - 1.0
    noise = np.square([one.sd for one in trials]) + _between_alike(places, relative)
    lowest, highest = places.min() - REACH, places.max() + REACH
    thetas = np.linspace(lowest, highest, min(MOST_PLACES, round((highest - lowest) / STEP) + 1))
    strengths = np.linspace(-3.0, 3.0, 31)
    known = cost if isinstance(cost, Cost) else Cost(cost_of_an_octave(cost))
    curvatures = known.median * np.exp(known.log_sd * strengths)
    # (thetas, curvatures, runs): what each run should lie above the best.
    above = curvatures[None, :, None] * np.square(places[None, None, :] - thetas[:, None, None])
    variance = noise + np.square(DEPARTURE * above)
    weights = 1.0 / variance
    total = weights.sum(-1)
    # The level of the best is flat: taken out, with its own share of the determinant.
    level = (weights * (relative - above)).sum(-1) / total
    misfit = (weights * np.square(relative - above - level[..., None])).sum(-1)
    log_density = -0.5 * (misfit + np.log(variance).sum(-1) + np.log(total))
    log_density -= 0.5 * np.square(strengths)[None, :]
    density = np.exp(log_density - log_density.max()).sum(-1)
    density /= density.sum()
    mean = float(density @ thetas)
    return mean, math.sqrt(float(density @ np.square(thetas - mean)))


def _between_alike(places: FloatArray, relative: FloatArray) -> float:
    """Return the variance of relative losses between seeds: what runs of one peak differ by, at least the usual one."""
    labels = np.round(places / ALIKE).astype(np.int64)
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    free = int(np.sum(counts - 1))
    if free == 0:
        return SEEDS_SD**2
    means = np.bincount(inverse, relative) / counts
    return max(SEEDS_SD**2, float(np.sum(np.square(relative - means[inverse]))) / free)
