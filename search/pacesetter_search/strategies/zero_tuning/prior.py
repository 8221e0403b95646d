"""What is believed of a job before anything is measured on it: every constant of the method, with where it came from.

All learning rates here are ``log2`` of the absolute rate of the first parameter group, at the peak of the rungs' shape
(WSD with a cooldown over half). "Drawn tasks" are 24 small trainings that a generator drew (development seed 1000, two
seeds each), swept at T/64, T/16 and T; "small language models" are 8 of development seed 1001 and 7 of a draw that had
been the final one (20261123) until it showed what was wrong here; "pilot" is an earlier study of three. No task that a
figure of the present code is stated for is in a constant.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from pacesetter_search.contract import JobFacts
from pacesetter_search.landscape import CURVATURE, CURVATURE_LOG_SD, curvature_of
from pacesetter_search.transfer.practice import FIELD_SD, field_default

SHAPE_COOLDOWN = 0.5
"""Cooldown of the rungs, and of the main line where the strategy chooses its shape: WSD over the last half forgives a
rate that is too low better than a linear decay (pilot), and is best or near it at equal steps."""

RUNG_WARMUP = 0.05
"""Share of a rung that is warm-up. A shorter one did lasting damage (pilot: 2 % cost 1-4 % of the final loss)."""

HORIZONS = ((1 / 256, 500), (1 / 64, 20), (1 / 32, 10), (1 / 16, 10), (1 / 8, 10))
"""Lengths of rungs as shares of the budget, with the fewest steps at which each says something. Far from the budget the
drift is long, and only a long rung is worth it (pilot: 20). Near it 10 do: without, a short budget affords no rung at
all, and the range test alone left seven drawn tasks 22 % above their best on average instead of 10 %."""

SHORTEST_BUDGET = 300
"""Steps of a budget below which no rung is affordable and the range test alone costs 7 %."""

SLOPE_MEAN = 0.08
SLOPE_SD = 0.04
"""Fall of the log loss per doubling of the steps: what a probe's steps would buy if they were trained instead.
Published token exponents of language models are .05 to .12 times ln 2, small vision tasks lie above (pilot)."""

TORCH_DEFAULTS = {
    "SGD": 1e-3,
    "Adam": 1e-3,
    "AdamW": 1e-3,
    "NAdam": 2e-3,
    "RAdam": 1e-3,
    "Adamax": 2e-3,
    "RMSprop": 1e-2,
    "Adagrad": 1e-2,
    "Adadelta": 1.0,
    "Adafactor": 1e-2,
    "Muon": 1e-3,
}
"""``lr`` of torch 2.13's optimizers when none is passed: such a rate is no statement of the user's."""

LAW_WEIGHT, LAW_SD = 0.7, 0.75
"""How far a published law of the peak is believed inside its range, and octaves that the best rate lies from it there:
its own regret is .1 % (Step Law grid), but batch, warm-up, decay and the count of embeddings are the job's own."""


DRIFT_MEAN, DRIFT_SD, DRIFT_NOISE = 0.05, 0.20, 0.5
"""What is believed of the drift of a job of which nothing is known; see :class:`Prior`."""


Plateaus: TypeAlias = tuple[tuple[float, float], ...]

PLATEAUS: dict[str, Plateaus] = {
    "pretrain": ((math.inf, 0.5), (0.15, 0.25), (0.04, 0.25)),
    "continued": ((math.inf, 0.5), (0.15, 0.25), (0.04, 0.25)),
    "other": ((math.inf, 0.75), (0.15, 0.15), (0.04, 0.10)),
}
"""How far above the best a rung ends whose rate is too high, values with weights, by regime: 25 drawn language models
end within .2 above their best over six octaves at T/32, having learned the frequency of tokens; none of 15 on images
does. The main line has none."""

NO_PLATEAU: Plateaus = ((math.inf, 1.0),)


@dataclass(frozen=True, slots=True)
class Component:
    """A normal part of the prior of the optimum."""

    weight: float
    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class Remembered:
    """What other jobs of the project say of the best rate at the whole budget, as ``log2`` at the rungs' shape."""

    log2_lr: float
    sd: float
    weight: float
    """Probability that this job is like them."""
    drift: float
    drift_sd: float
    steepness: float = 1.0
    """How much a wrong rate costs at the budget, over what is believed of a job of which nothing is known."""


def likeness(runs: int) -> float:
    """Return how probable it is that a job is like ``runs`` others of its kind, none of which was unlike the others.

    The estimator of a coin of which nothing is known, with half of each seen beforehand [Krichevsky1981]. How families
    differ is in what is remembered already.
    """
    return (runs + 0.5) / (runs + 1.0)


@dataclass(frozen=True, slots=True)
class Prior:
    """Beliefs about the landscape of the final loss over ``log2`` of the learning rate.

    The optimum moves by ``-drift`` octaves with every doubling of the horizon, plus noise; the loss rises from it by
    ``curvature / asymmetry^2 (exp(asymmetry d) - asymmetry d - 1)`` at ``d`` octaves: as an exponential above it, as a
    line below.
    """

    optimum: tuple[Component, ...]
    """Of the best rate at the whole budget."""
    drift_mean: float = DRIFT_MEAN
    drift_sd: float = DRIFT_SD
    """Octaves per doubling [24 drawn tasks: the best rate moved from T/16 to T by .5 octaves down, sd 2.4]."""
    drift_noise: float = DRIFT_NOISE
    """Standard deviation of one doubling's move around the drift [drawn tasks: of .25, .5, .7 and .8 this one ended
    with the least loss; the 90 % interval then held the best rate on half of them, at .8 on two thirds]."""
    curvature_median: float = CURVATURE
    curvature_log_sd: float = CURVATURE_LOG_SD
    """Second derivative of the log loss at the optimum, per octave squared, at the whole budget."""
    steepness: float = 1.0
    """Factor of the curvature at the whole budget alone: what other jobs ended with says nothing of rungs."""
    curvature_ratio: float = 1.1
    """Curvature at half a horizon over that at the horizon (pilot: .75 between T/64 and T/16)."""
    asymmetries: tuple[tuple[float, float], ...] = ((0.4, 0.3), (0.8, 0.4), (1.4, 0.3))
    """Values with weights. Twice the rate costs 1.5 to 3 times what half of it does [Step Law grid]."""
    noises: tuple[tuple[float, float], ...] = ((0.01, 0.35), (0.03, 0.35), (0.1, 0.2), (0.3, 0.1))
    """Standard deviation of a rung's score, values with weights: seeds move a final log loss by .5 to 9 % (pilot)."""
    plateaus: Plateaus = NO_PLATEAU
    """How far above the best a rung ends whose rate is too high, values with weights."""
    misfit: float = 0.3
    """Error of the landscape's form, as a share of the rise: far from the optimum scores say little of where it is."""
    thresholds: tuple[tuple[float, float, float], ...] = ((0.5, 3.0, 0.7), (0.5, 9.0, 1.5))
    """Logistics (weight, offset, width) of the octaves between the best rate and the threshold above which runs diverge
    [drawn tasks: 2 to 4 octaves for SGD, at most 4 for Adam on images; small language models under Adam hold on at a
    plateau for 8 to 12, and of some none diverged]."""
    range_offset: float = 4.5
    range_sd: float = 2.5
    """Octaves from the optimum of T/64 up to where the range test's loss turns [24 drawn tasks: 4.0, sd 2.2; 15 small
    language models: 5.5, sd 1.6]."""
    range_horizon: float = 1 / 64


def prior_for(
    job: JobFacts,
    *,
    trust: float,
    trust_octaves: float,
    hint: float | None,
    law: float | None = None,
    remembered: Remembered | None = None,
) -> Prior:
    """Return the prior of a job.

    Args:
        job: Says optimizer, data reuse and the rate that was given.
        trust: Weight of the given rate, from 0 to 1.
        trust_octaves: Its standard deviation.
        hint: The given rate as ``log2`` at the rungs' shape; None if nobody chose it.
        law: What a published law says, likewise; None outside of its range.
        remembered: What other jobs of the project say; None if there are none.
    """
    mean, sd, noise = drift_of(epochs(job))
    parts, steepness = field_of(job.groups[0].optimizer, law), 1.0
    if remembered is not None:
        rest = (replace(part, weight=part.weight * (1.0 - remembered.weight)) for part in parts)
        parts = (Component(remembered.weight, remembered.log2_lr, remembered.sd), *rest)
        mean, sd = remembered.drift, remembered.drift_sd
        steepness = 1.0 + remembered.weight * (remembered.steepness - 1.0)
    if hint is not None and trust > 0.0:
        rest = (replace(part, weight=part.weight * (1.0 - trust)) for part in parts)
        parts = (
            Component(trust, hint, trust_octaves),
            *(part for part in rest if part.weight > 0.0),
        )
    return Prior(
        parts,
        drift_mean=mean,
        drift_sd=sd,
        drift_noise=noise,
        steepness=steepness,
        curvature_median=curvature_of(job.regime),
        plateaus=PLATEAUS.get(job.regime, NO_PLATEAU),
    )


def field_of(optimizer: str, law: float | None) -> tuple[Component, ...]:
    """Return what is believed of the best rate without the one that was given.

    Args:
        optimizer: Name of its class, for where practice starts.
        law: What a published law says, as ``log2`` at the rungs' shape; None outside of its range.
    """
    centre = math.log2(field_default(optimizer))
    if law is None:
        return (Component(1.0, centre, FIELD_SD),)
    return (
        Component(LAW_WEIGHT, law, LAW_SD),
        Component(1.0 - LAW_WEIGHT, centre, FIELD_SD),
    )


def updated(parts: Sequence[Component], told: Component) -> tuple[Component, ...]:
    """Return a mixture of normals times the likelihood of a normal that was told.

    Its weight is the probability that it is right. Where it is wrong the mixture stays as it was.
    """
    found = [_times(part, told) for part in parts]
    total = math.fsum(part.weight for part in found)
    if total <= 0.0:
        return (replace(told, weight=1.0),)  # nothing that was believed reaches so far
    stays = 1.0 - told.weight
    right = [replace(one, weight=told.weight * one.weight / total) for one in found]
    wrong = [replace(one, weight=stays * one.weight) for one in parts]
    return tuple(one for one in (*right, *wrong) if one.weight > 0.0)


def _times(part: Component, told: Component) -> Component:
    """Return the product of two normals, with the density of the one's mean under both spreads as weight."""
    variance = part.sd**2 + told.sd**2
    apart = told.mean - part.mean
    density = math.exp(-0.5 * apart**2 / variance) / math.sqrt(variance)
    return Component(
        weight=part.weight * density,
        mean=part.mean + apart * part.sd**2 / variance,
        sd=part.sd * told.sd / math.sqrt(variance),
    )


def unbiased(regime: str) -> Prior:
    """Return what is believed of a regime's landscape, and nothing of where the best rate lies."""
    return Prior(
        optimum=(),
        curvature_median=curvature_of(regime),
        plateaus=PLATEAUS.get(regime, NO_PLATEAU),
    )


def is_torch_default(optimizer: str, lr: float) -> bool:
    """Return whether ``lr`` is what the optimizer has when nobody chooses."""
    default = TORCH_DEFAULTS.get(optimizer)
    return default is not None and math.isclose(lr, default, rel_tol=1e-6)


def epochs(job: JobFacts) -> float | None:
    """Return how often the budget passes over the data; None where the job does not know its length."""
    batches = job.capabilities.epoch_batches
    if batches is None or job.budget.clock != "steps":
        return None
    return job.budget.total / batches


def drift_of(passes: float | None) -> tuple[float, float, float]:
    """Return mean and standard deviation of the drift, and its noise, by data reuse.

    Over data seen once the best rate falls with the horizon: by .3 to .5 octaves a doubling for large language models
    at one batch size (published), by .5, sd .25, between T/16 and T on 15 small ones that were drawn, and by .07, sd
    .28, between T/32 and T on 25 more. The two draws together are believed: .23, and .34 of which .17 is the sweeps'
    grid and .16 the noise. On the rungs of the 25 that leaves 2.8 % of regret, .3 leaves 4.1 and .1 leaves 2.6. A job
    that does not say how long its data are is taken for one of these: what repeats has a length. Where data repeat it
    may stay, fall fast because long runs overfit, or rise: drawn tasks showed no rule by optimizer or number of passes,
    only a wide spread.
    """
    if passes is None or passes < 2.0:
        return 0.23, 0.25, 0.35
    return DRIFT_MEAN, DRIFT_SD, DRIFT_NOISE
