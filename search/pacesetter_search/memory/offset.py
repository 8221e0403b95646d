r"""What the losses that runs ended with say of where short runs mislead.

Short runs find a best peak at their own length; at the budget it is extrapolated. Runs of a kind that trained at rates
above and below what was extrapolated show whether that holds: where it is off by :math:`\delta` octaves,

.. math:: \log L_i = g(x_i) + r(\theta_i - \mu_i - \delta) + \epsilon_i

with :math:`\mu` the extrapolated best peak, :math:`r` the rise of the loss beside it, and :math:`g` linear in the logs
of parameters, tokens and batch, with a level for each family. Curvature, noise and :math:`\delta` are on grids, and g
is integrated out in closed form. Runs that all trained where they were told to say nothing: the answer is the prior.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pacesetter_search.landscape import CURVATURE, CURVATURE_LOG_SD, FloatArray, rise
from pacesetter_search.transfer.places import Optimum, Places

OFFSETS: FloatArray = np.linspace(-5.0, 5.0, 101)
"""Standard deviations, or octaves where these are smaller, of what is believed beforehand."""
STRENGTHS = np.linspace(-5.0, 2.0, 15)
"""Standard deviations of the log of the curvature around what trainings of the regime have: a family whose rate hardly
matters is among them."""

NOISES = ((0.01, 0.2), (0.02, 0.3), (0.04, 0.3), (0.1, 0.2))
"""Standard deviation of a run's log loss around g and the rise, with weights: seeds move it by .5 to 9 %."""

ASYMMETRY = 0.8
"""Twice the rate costs 1.5 to 3 times what half of it does [Step Law grid]."""

CEILING = 1.0
"""Of the rise: a run that learned little."""

LEARNED = 0.5
"""Of that ceiling: above it even the best run would have learned little, which is no explanation of equal losses."""

LEVEL = (0.0, 10.0)
SLOPES = ((-0.05, 0.05), (-0.08, 0.05), (0.0, 0.05))
"""Mean and sd of g's coefficients: a family's level, and per octave of parameters, tokens and batch."""

FEWEST = 3
"""Runs of a family below which its own level takes up all that they say."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended.

    Attributes:
        place: Where it stands; its ``lr`` is the peak that it ran at, of a linear decay without momentum.
        log_loss: Log of what it ended with.
        expected: log2 of the best peak there, as extrapolated.
    """

    place: Optimum
    log_loss: float
    expected: float


@dataclass(frozen=True, slots=True)
class Offset:
    """What final losses say.

    Attributes:
        mean: Octaves by which the best peak lies above what is extrapolated.
        sd: Of it.
        steepness: Expected curvature of the log loss over its peak, over what is expected without any run.
        runs: How many runs it rests on.
    """

    mean: float
    sd: float
    steepness: float = 1.0
    runs: int = 0


def offset(runs: Sequence[Ended], sd: float, curvature: float = CURVATURE) -> Offset:
    """Return where the best peak lies beside what is extrapolated, and how much it matters.

    Args:
        runs: Of one kind, whose losses compare.
        sd: What is believed of it beforehand, around 0.
        curvature: Median of the second derivative of the log loss per octave squared, in the runs' regime.
    """
    heard = _of_known_families(runs)
    if not heard:
        return Offset(0.0, sd)
    offsets = OFFSETS * max(1.0, sd)
    curvatures = curvature * np.exp(CURVATURE_LOG_SD * STRENGTHS)
    before = -0.5 * (offsets / sd) ** 2 - 0.5 * STRENGTHS[:, None] ** 2
    after = before + _log_likelihood(heard, curvatures, offsets)
    joint = np.exp(after - after.max())
    joint /= joint.sum()
    density = joint.sum(axis=0)
    mean = float(density @ offsets)
    weights = np.exp(-0.5 * STRENGTHS**2)
    expected = float(weights @ curvatures / weights.sum())
    return Offset(
        mean=mean,
        sd=float(np.sqrt(density @ (offsets - mean) ** 2)),
        steepness=float(joint.sum(axis=1) @ curvatures) / expected,
        runs=len(heard),
    )


def tells(runs: Sequence[Ended]) -> bool:
    """Return whether any family has enough runs for their losses to say something."""
    return bool(_of_known_families(runs))


def _of_known_families(runs: Sequence[Ended]) -> list[Ended]:
    counts = Counter(run.place.family for run in runs)
    return [run for run in runs if counts[run.place.family] >= FEWEST]


def _log_likelihood(
    runs: Sequence[Ended], curvatures: FloatArray, offsets: FloatArray
) -> FloatArray:
    """Return the log-likelihood of every curvature and offset, noise summed out, (curvatures, offsets)."""
    design, mean, variance = _surface(runs)
    risen = _rises(runs, curvatures, offsets)
    losses = np.array([run.log_loss for run in runs])
    off = losses - design @ mean - risen
    parts = []
    for noise, weight in NOISES:
        covariance = (design * variance) @ design.T + noise**2 * np.eye(len(runs))
        lower = np.linalg.cholesky(covariance)
        scaled = np.linalg.solve(lower, off.reshape(-1, len(runs)).T)
        misfit = np.sum(scaled**2, axis=0).reshape(off.shape[:2])
        level = math.log(weight) - float(np.log(np.diag(lower)).sum())
        parts.append(level - 0.5 * misfit)
    stacked = np.stack(parts)
    highest = stacked.max(axis=0)
    summed: FloatArray = highest + np.log(np.exp(stacked - highest).sum(axis=0))
    return np.where(risen.min(axis=2) > LEARNED * CEILING, -np.inf, summed)


def _rises(runs: Sequence[Ended], curvatures: FloatArray, offsets: FloatArray) -> FloatArray:
    """Return by how much each run lies above the best of its place, (curvatures, offsets, runs)."""
    away = np.array([math.log2(run.place.lr) - run.expected for run in runs])
    octaves = away[None, None, :] - offsets[None, :, None]
    return rise(octaves, curvatures[:, None, None], np.array(ASYMMETRY), CEILING)


def _surface(runs: Sequence[Ended]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return g's design (runs, coefficients), and mean and variance of its coefficients."""
    logs = Places.of([run.place for run in runs]).logs[:, :3]
    names = sorted({run.place.family for run in runs})
    levels = np.array([[float(run.place.family == name) for name in names] for run in runs])
    design = np.hstack([levels, logs - logs.mean(axis=0)])
    mean, sd = (np.array(column) for column in zip(*([LEVEL] * len(names)), *SLOPES, strict=True))
    return design, mean, sd**2
