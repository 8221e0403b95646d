"""What probes measured, and how it is put before a Gaussian process. NumPy only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

CENSORED_MARGIN = 1.0
CENSORED_VARIANCE = 1.0
"""A diverged probe counts as one standard unit worse than the worst finite one, give or take as much.

A penalty orders of magnitude above the losses would flatten the surrogate everywhere else (autolrs.md B7).
"""

_WINSOR = 3.0
_FEWEST_FOR_SHARE = 4
_VARIANCE_RANGE = (1e-4, 1e2)  # below: not positive definite in float64; above: says nothing anyway


@dataclass(frozen=True, slots=True)
class Response:
    """The outcome of one probe.

    Attributes:
        stage: Index of the stage that it was measured for.
        x: log learning rate, scaled so that the strategy's range is [0, 1].
        mean: Forecast loss at the stage's end; 0 where it diverged.
        variance: Variance of that forecast.
        status: ``finite``, or ``diverged``: only known to be worse than the others.
    """

    stage: int
    x: float
    mean: float = 0.0
    variance: float = 0.0
    status: Literal["finite", "diverged"] = "finite"


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Standardised data: points (n, 2) of x and stage, losses (n,) and their variances (n,)."""

    points: FloatArray
    losses: FloatArray
    variances: FloatArray


def training_set(responses: Sequence[Response]) -> TrainingSet:
    """Return the responses with every stage centred and scaled by itself.

    Losses shrink from stage to stage, differences between rates with them. A stage is centred on its median and
    divided by its spread; a stage with fewer than three finite values borrows the spread of the one before. Values
    far above the median are cut at three times the distance of the best from it.
    """
    losses, variances = np.zeros(len(responses)), np.zeros(len(responses))
    spread = 0.0
    for stage in sorted({response.stage for response in responses}):
        at = [index for index, response in enumerate(responses) if response.stage == stage]
        values, noise, spread = _standardised([responses[index] for index in at], spread)
        losses[at], variances[at] = values, noise
    points = np.array([[response.x, float(response.stage)] for response in responses]).reshape(
        -1, 2
    )
    return TrainingSet(points, losses, np.clip(variances, *_VARIANCE_RANGE))


def finite(responses: Iterable[Response], stage: int) -> list[Response]:
    """Return the responses of ``stage`` that did not diverge."""
    return [one for one in responses if one.stage == stage and one.status == "finite"]


def _standardised(
    stage: Sequence[Response], spread_before: float
) -> tuple[FloatArray, FloatArray, float]:
    """Return values, variances and the spread of one stage."""
    known = np.array([one.mean for one in stage if one.status == "finite"])
    if known.size == 0:
        return np.ones(len(stage)), np.full(len(stage), CENSORED_VARIANCE), spread_before
    middle = float(np.median(known))
    cut = _cut(known, middle)
    spread = _spread(np.minimum(known, cut), spread_before, middle)
    worst = (min(float(np.max(known)), cut) - middle) / spread
    values = np.full(len(stage), worst + CENSORED_MARGIN)
    variances = np.full(len(stage), CENSORED_VARIANCE)
    for index, one in enumerate(stage):
        if one.status == "finite":
            values[index] = (min(one.mean, cut) - middle) / spread
            variances[index] = min(one.variance, 1e100) / spread**2
    finite_ones = np.array([one.status == "finite" for one in stage])
    variances[finite_ones] *= _own_share(values[finite_ones], variances[finite_ones])
    return values, variances, spread


def _own_share(values: FloatArray, variances: FloatArray) -> float:
    """Return how much of the stated variances can be each probe's own.

    Siblings see the same batches and are extrapolated alike, so most of a forecast's error is common to them: it moves
    the stage's level, not the differences. Errors of their own would show in the sample variance of the values, which
    therefore bounds them; half of it is left to the signal.
    """
    stated = float(np.mean(variances))
    if values.size < _FEWEST_FOR_SHARE or stated <= 0.0:
        return 1.0
    return min(1.0, 0.5 * float(np.var(values)) / stated)


def _cut(known: FloatArray, middle: float) -> float:
    """Return above which value a loss only counts as bad: one almost diverged rate must not set the scale."""
    distance = middle - float(np.min(known))
    return middle + _WINSOR * distance if known.size >= 3 and distance > 0 else float(np.max(known))


def _spread(known: FloatArray, before: float, middle: float) -> float:
    """Return the scale of a stage's differences, never zero."""
    own = float(np.std(known)) if known.size >= 3 else before or float(np.ptp(known))
    return max(own, 1e-6 * abs(middle), 1e-12)
