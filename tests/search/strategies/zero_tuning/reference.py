"""The posterior by weighted draws from the prior: slow, obvious, and without a grid, a filter or a closed form."""

import numpy as np
import numpy.typing as npt
from pacesetter_search.strategies.zero_tuning.evidence import Rung
from pacesetter_search.strategies.zero_tuning.prior import Prior

FloatArray = npt.NDArray[np.float64]
DRAWS = 40_000


def moments(
    rungs: list[Rung], prior: Prior, *, turn: tuple[float, float] | None, start: float
) -> tuple[float, float, float]:
    """Return mean and standard deviation of the best rate at the budget, and the log evidence.

    The rungs' horizons are 1/64 and 1/16, and the range test's turn is of 1/64.
    """
    rng = np.random.default_rng(0)
    drift, curvature, asymmetry, noise = _shared(prior, rng)
    whole = _optimum(prior, rng)
    jitter = rng.standard_normal((2, DRAWS))
    at_16 = whole + 4.0 * drift + prior.drift_noise * 2.0 * jitter[0]
    at_64 = at_16 + 2.0 * drift + prior.drift_noise * 2.0**0.5 * jitter[1]
    log_weight = np.zeros(DRAWS)
    for horizon, optimum, doublings in ((1 / 16, at_16, 4), (1 / 64, at_64, 6)):
        here = [rung for rung in rungs if rung.horizon == horizon]
        ceiling = start - min((r.score for r in here if r.score is not None), default=0.0)
        b = curvature * prior.curvature_ratio**doublings
        log_weight += _log_likelihood(here, optimum, b, asymmetry, noise, prior, ceiling)
    if turn is not None:
        place, sd = turn
        z = (place - prior.range_offset - at_64) / sd
        log_weight += -0.5 * z**2 - np.log(sd * np.sqrt(2.0 * np.pi))
    weight = np.exp(log_weight - log_weight.max())
    evidence = float(np.log(weight.mean()) + log_weight.max())
    weight /= weight.sum()
    mean = float(weight @ whole)
    return mean, float(np.sqrt(weight @ (whole - mean) ** 2)), evidence


def _shared(prior: Prior, rng: np.random.Generator) -> tuple[FloatArray, ...]:
    z = np.linspace(-2.0, 2.0, 9)
    chance = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    drift = prior.drift_mean + prior.drift_sd * rng.choice(z, DRAWS, p=chance)
    z = np.linspace(-2.0, 2.0, 7)
    chance = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    log_b = prior.curvature_log_sd * rng.choice(z, DRAWS, p=chance)
    curvature = prior.curvature_median * np.exp(log_b)
    k, k_chance = zip(*prior.asymmetries, strict=True)
    s, s_chance = zip(*prior.noises, strict=True)
    return drift, curvature, rng.choice(k, DRAWS, p=k_chance), rng.choice(s, DRAWS, p=s_chance)


def _optimum(prior: Prior, rng: np.random.Generator) -> FloatArray:
    weights = np.array([part.weight for part in prior.optimum])
    part = rng.choice(len(weights), DRAWS, p=weights / weights.sum())
    means = np.array([part.mean for part in prior.optimum])[part]
    sds = np.array([part.sd for part in prior.optimum])[part]
    return np.asarray(means + sds * rng.standard_normal(DRAWS))


def _log_likelihood(
    rungs: list[Rung],
    optimum: FloatArray,
    b: FloatArray,
    k: FloatArray,
    noise: FloatArray,
    prior: Prior,
    ceiling: float,
) -> FloatArray:
    """Return the log-likelihood of each draw, the level of the loss summed over a fine grid."""
    total = np.zeros(DRAWS)
    levels = np.linspace(-1.0, 2.0, 301)
    by_level = np.zeros((len(levels), 1))
    ended = 0
    total += np.log(_chance_of_what_diverged(rungs, optimum, prior))
    for rung in rungs:
        d = rung.log2_lr - optimum
        if rung.score is None:
            continue
        ended += 1
        free = b / k**2 * (np.exp(k * d) - k * d - 1.0)
        rise = ceiling * (1.0 - np.exp(-free / ceiling))
        sd = np.sqrt(noise**2 + (prior.misfit * rise) ** 2)
        z = (rung.score - levels[:, None] - rise) / sd
        by_level = by_level - 0.5 * z**2 - np.log(sd * np.sqrt(2.0 * np.pi))
    if ended < 2:
        return total
    highest = by_level.max(axis=0)
    return np.asarray(
        total + highest + np.log(np.exp(by_level - highest).sum(axis=0) * (levels[1] - levels[0]))
    )


def _chance_of_what_diverged(rungs: list[Rung], optimum: FloatArray, prior: Prior) -> FloatArray:
    """Return how probable it is that the threshold lies between what ended and what diverged, summed over a grid."""
    highest = max((rung.log2_lr for rung in rungs if rung.score is not None), default=-np.inf)
    lowest = min((rung.log2_lr for rung in rungs if rung.score is None), default=np.inf)
    chance = np.full(DRAWS, 1e-12)
    for weight, offset, width in prior.thresholds:
        for quantile in (np.arange(2000) + 0.5) / 2000:
            threshold = optimum + offset + width * np.log(quantile / (1.0 - quantile))
            chance += weight / 2000 * ((highest < threshold) & (threshold <= lowest))
    return chance
