"""Whether a probe is worth its steps, asked before it runs.

Everything is in log loss and in units of the job's own slope: the fall of its log loss per doubling of the steps. That
makes one prior serve problems whose losses move by per cents and by decades, because steps, rates and decay act on the
same curve: doubling the rate of a run that is short of progress is worth a doubling of its steps.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from pydantic import JsonValue

CURVATURE = 0.25
"""Loss of a schedule that is one octave off for good, in slopes. .23 on the published 124M grid (.7 % against 3 % a
doubling), .2 on the pilot's byte model, .5 on the noisy quadratic, 4 on its convolutional net [zero-tuning 4]."""

SHAPE_SPREAD = 0.2
"""Standard deviation of what another decay is worth, in slopes: .2 on the 124M table, .13 on the byte model, .3 on the
noisy quadratic [schedules-and-laws 3.3, zero-tuning 1]."""

COMPRESSION = 0.25
"""Share of an effect at the end of the budget that a short annealed probe shows: .06, .4 and 1.3 on three tasks
[zero-tuning 5]."""

BIAS_MEAN = 0.28
BIAS_SD = 0.28
"""Octaves by which short forks favour a rate that is too low, per doubling between their end and the budget's: one
octave, give or take one, at .06 of the budget where .7 of it remain [zero-tuning 5]."""

LAW_ERROR = 0.5
"""Relative error of an effect that a law predicts: real gains were .3 to .6 of the promised [schedules-and-laws]."""

PAIRED = 0.3
"""Share of the noise of one batch that is left in the difference of two probes on the same batches."""

DETECTED = 2.12
"""Standard errors between no effect and one that is found: 90 % sure, four times in five."""

LEAST_NOISE, LARGEST = 1e-4, 1e6
"""Bounds of relative noise: what no loss falls below, and where a job has no level at all."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What is known before a probe.

    Attributes:
        slope: Fall of log loss per doubling of steps.
        noise: Relative standard deviation of one measured loss.
        rows: Losses that a probe will report.
        paired: Whether probes see the same batches.
        doublings: Between the probe's end and the end of the budget.
        share: Steps of all the probes intended, over the budget.
        rest: Share of the budget that a change would act on.
        octaves: Prior standard deviation of the best multiplier.
        shape_free: Whether the decay may be changed.
        win_probability: How sure a change has to be.
    """

    slope: float
    noise: float
    rows: float
    paired: bool
    doublings: float
    share: float
    rest: float
    octaves: float
    shape_free: bool
    win_probability: float


@dataclass(frozen=True, slots=True)
class Worth:
    """What probing is expected to bring and to cost, in relative loss at the end of the budget."""

    gain: float
    """After the decision that the probes would allow."""
    most: float
    """If the best way to go on were known for nothing."""
    cost: float
    """What the same steps would bring on the main line."""
    detectable: float
    """The least effect that the probes would find."""

    @property
    def pays(self) -> bool:
        """Whether to probe."""
        return self.gain > self.cost and self.detectable <= self.most

    def numbers(self) -> dict[str, JsonValue]:
        """Return this for the audit trail."""
        return {
            "expected_gain": self.gain,
            "gain_if_known": self.most,
            "cost": self.cost,
            "minimum_detectable_effect": self.detectable,
        }


def worth(prospect: Prospect) -> Worth:
    """Return what probing is worth: preposterior analysis of two independent normal effects."""
    slope = max(prospect.slope, 0.0)
    # The end of a probe is the mean of its last third.
    rows = max(prospect.rows / 3.0, 1.0)
    share = PAIRED if prospect.paired else math.sqrt(2.0)
    difference = max(prospect.noise, LEAST_NOISE) * share / math.sqrt(rows)
    detectable = DETECTED * difference / COMPRESSION
    cost = slope * prospect.share / math.log(2.0)
    if slope == 0.0 or not detectable < LARGEST:
        return Worth(0.0, 0.0, cost, min(detectable, LARGEST))
    reach = slope * prospect.rest
    trim = _trim(prospect, reach, difference)
    shape = _shape(prospect, reach, difference) if prospect.shape_free else (0.0, 0.0)
    return Worth(trim[0] + shape[0], trim[1] + shape[1], cost, detectable)


def _trim(prospect: Prospect, reach: float, difference: float) -> tuple[float, float]:
    """Return what a better multiplier is worth, with the probes and if it were known."""
    curvature = CURVATURE * reach
    prior = prospect.octaves**2
    noise = difference / (2.0 * curvature * COMPRESSION)
    error = (BIAS_SD * prospect.doublings) ** 2 + noise**2
    seen = prior**2 / (prior + error)
    bar = _quantile(prospect.win_probability) * math.sqrt(max(prior - seen, 0.0) / seen)
    above = 2.0 * (bar * _density(bar) + _tail(bar))
    return curvature * seen * above, curvature * prior


def _shape(prospect: Prospect, reach: float, difference: float) -> tuple[float, float]:
    """Return what another decay is worth, with the probes and if it were known."""
    spread = SHAPE_SPREAD * reach
    prior = spread**2
    error = (difference / COMPRESSION) ** 2 + (LAW_ERROR * spread) ** 2
    seen = prior**2 / (prior + error)
    bar = _quantile(prospect.win_probability) * math.sqrt(max(prior - seen, 0.0) / seen)
    return math.sqrt(seen) * _density(bar), spread * _density(0.0)


def _density(z: float) -> float:
    return math.exp(-0.5 * min(z * z, 1400.0)) / math.sqrt(2.0 * math.pi)


def _tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)
