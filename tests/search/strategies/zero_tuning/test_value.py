"""What a plan of rungs is worth."""

from dataclasses import replace

import numpy as np
import pytest
from pacesetter_search.strategies.zero_tuning.evidence import RangeEvidence, Rung
from pacesetter_search.strategies.zero_tuning.posterior import Posterior
from pacesetter_search.strategies.zero_tuning.prior import Component, Prior
from pacesetter_search.strategies.zero_tuning.sampling import draw
from pacesetter_search.strategies.zero_tuning.value import OUTCOMES, Step, Valuation

from tests.search.strategies.zero_tuning.beliefs import believed

PRIOR = believed((1.0, -8.0, 3.0))
HORIZONS = (1 / 64, 1 / 32, 1 / 16)
START = 2.0


def valued(*rungs: Rung, prior: Prior = PRIOR, seed: int = 0) -> Valuation:
    posterior = Posterior.from_rungs(
        rungs, prior, range_test=RangeEvidence(-2.5, 1.5), horizons=HORIZONS, start=START
    )
    return Valuation(posterior, START, np.random.default_rng(seed))


def pair(valuation: Valuation, horizon: float, apart: float = 1.2) -> Step:
    middle = float(np.median(valuation.draws.at[horizon]))
    return Step(horizon, (middle - apart, middle + apart))


def test_draws_have_the_posteriors_moments() -> None:
    posterior = valued(Rung(1 / 64, -7.0, 0.4), Rung(1 / 64, -5.0, 0.3)).posterior
    draws = draw(posterior, 20_000, np.random.default_rng(1))
    assert draws.optimum.mean() == pytest.approx(posterior.mean, abs=0.02)
    assert draws.optimum.std() == pytest.approx(posterior.sd, abs=0.02)


def test_draws_lie_above_the_budgets_optimum_by_the_drift_at_shorter_horizons() -> None:
    prior = replace(PRIOR, drift_mean=0.4, drift_sd=0.01)
    draws = valued(prior=prior).draws
    moved = draws.at[1 / 64] - draws.optimum
    assert moved.mean() == pytest.approx(6 * 0.4, abs=0.1)
    assert moved.std() == pytest.approx(0.25 * 6**0.5, abs=0.05)


def test_gain_of_a_pair_is_what_exact_posteriors_average_to() -> None:
    """Each outcome is drawn from the posterior, measured, and the regret computed on the exact grid."""
    valuation = valued()
    step = pair(valuation, 1 / 16)
    posterior, draws = valuation.posterior, valuation.draws
    rng = np.random.default_rng(3)
    rates = np.linspace(posterior.mean - 5, posterior.mean + 5, 81)
    saved = []
    for index in rng.choice(len(draws.optimum), 60, replace=False):
        rungs = [_outcome(valuation, step.horizon, rate, index, rng) for rate in step.rates]
        after = Posterior.from_rungs(rungs, PRIOR, range_test=RangeEvidence(-2.5, 1.5), start=START)
        before_choice = rates[np.argmin(posterior.regret(rates))]
        saved.append(float(after.regret(np.array([before_choice]))[0] - after.regret(rates).min()))
    exact = float(np.mean(saved))
    error = float(np.std(saved)) / 60**0.5
    gains = [valued(seed=seed).plan(step).gain for seed in range(4)]
    assert float(np.mean(gains)) == pytest.approx(exact, abs=3 * error)
    assert exact > 3 * error


def _outcome(
    valuation: Valuation, horizon: float, rate: float, index: int, rng: np.random.Generator
) -> Rung:
    """Return what a rung would measure if the draw at ``index`` were true."""
    posterior, draws = valuation.posterior, valuation.draws
    cell = draws.cell[index]
    d = rate - draws.at[horizon][index]
    if rng.random() < 1.0 / (1.0 + np.exp(-(d - 2.5) / 0.7)):
        return Rung(horizon, rate, None)
    b = posterior.cells.curvature[cell] * PRIOR.curvature_ratio ** -np.log2(horizon)
    k = posterior.cells.asymmetry[cell]
    rise = -np.expm1(-b / k**2 * (np.expm1(min(k * d, 40.0)) - k * d))
    sd = np.hypot(posterior.cells.noise[cell], PRIOR.misfit * rise)
    return Rung(horizon, rate, float(1.0 + rise + sd * rng.standard_normal()))


def test_one_rung_of_a_new_horizon_says_next_to_nothing_and_a_pair_much() -> None:
    valuation = valued()
    middle = float(np.median(valuation.draws.at[1 / 16])) - 2.0
    alone = valuation.plan(Step(1 / 16, (middle,))).gain
    both = valuation.plan(pair(valuation, 1 / 16)).gain
    assert 0.0 <= alone < 0.2 * both
    assert both > 0.03


def test_a_longer_pair_is_worth_more_and_a_plan_more_than_its_first_step() -> None:
    valuation = valued()
    short = valuation.plan(pair(valuation, 1 / 64))
    assert valuation.plan(pair(valuation, 1 / 16)).gain > short.gain
    followed = short.then(Step(1 / 64)).then(Step(1 / 32, pair=True))
    assert followed.gain > 1.2 * short.gain
    assert followed.share == pytest.approx(3 / 64 + 2 / 32)


def test_nothing_is_worth_more_than_knowing() -> None:
    valuation = valued()
    plan = valuation.plan(pair(valuation, 1 / 64), Step(1 / 32, pair=True), Step(1 / 16, pair=True))
    assert plan.gain < valuation.perfect()
    assert valuation.range_test() < valuation.perfect()


def test_what_is_known_is_not_worth_asking() -> None:
    sure = replace(PRIOR, optimum=(Component(1.0, -6.0, 0.1),))
    valuation = valued(prior=sure)
    assert valuation.perfect() < 0.01
    assert valuation.plan(pair(valuation, 1 / 16)).gain < 0.003


def test_the_same_seed_values_the_same() -> None:
    first, again, other = (valued(seed=seed) for seed in (5, 5, 6))
    step = pair(first, 1 / 32)
    assert first.plan(step).gain == again.plan(step).gain
    assert first.plan(step).gain != other.plan(step).gain


def test_weights_leave_out_the_draw_that_made_the_outcome() -> None:
    valuation = valued()
    weights = valuation.normalised(np.zeros((OUTCOMES, len(valuation.draws.optimum))))
    assert weights.sum(axis=1) == pytest.approx(np.ones(OUTCOMES))
    assert (weights[np.arange(OUTCOMES), valuation.imagined] == 0.0).all()
