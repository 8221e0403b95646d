"""The surrogate: what rungs say of the best rate at the budget."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pacesetter_search.strategies.zero_tuning.evidence import RangeEvidence, Rung
from pacesetter_search.strategies.zero_tuning.posterior import (
    CHOICE_CEILING,
    GRID,
    STEP,
    Posterior,
    ceiling_of,
    transition,
)
from pacesetter_search.strategies.zero_tuning.prior import Component, Prior

from tests.search.strategies.zero_tuning import reference
from tests.search.strategies.zero_tuning.beliefs import believed

PRIOR = believed((0.4, -5.0, 1.0), (0.6, -8.0, 2.5))
BOWL = [Rung(1 / 64, -8.0, 0.60), Rung(1 / 64, -6.0, 0.32), Rung(1 / 64, -4.0, 0.30)]
LONGER = [Rung(1 / 16, -6.0, 0.10), Rung(1 / 16, -4.0, 0.19)]
TURN = RangeEvidence(-2.0, 1.5)


def posterior(*rungs: Rung, prior: Prior = PRIOR, turn: RangeEvidence | None = None) -> Posterior:
    return Posterior.from_rungs(rungs, prior, range_test=turn, start=2.0)


@pytest.mark.parametrize(
    ("rungs", "turn"),
    [
        ([], None),
        ([], TURN),
        ([*BOWL, Rung(1 / 64, -1.0, None)], None),
        ([*BOWL, *LONGER], TURN),
    ],
    ids=["nothing", "range test", "one horizon", "two horizons"],
)
def test_the_grid_agrees_with_weighted_draws(rungs: list[Rung], turn: RangeEvidence | None) -> None:
    place = None if turn is None else (turn.log2_lr, turn.sd)
    fast = Posterior.from_rungs(rungs, PRIOR, range_test=turn, horizons=(1 / 64, 1 / 16), start=2.0)
    slow = reference.moments(rungs, PRIOR, turn=place, start=2.0)
    assert fast.mean == pytest.approx(slow[0], abs=0.08)
    assert fast.sd == pytest.approx(slow[1], abs=0.08)
    assert fast.log_evidence == pytest.approx(slow[2], abs=0.12)


def test_nothing_measured_leaves_the_prior() -> None:
    found = posterior()
    assert found.mean == pytest.approx(0.4 * -5.0 + 0.6 * -8.0, abs=0.01)
    assert found.density.sum() == pytest.approx(1.0)
    assert found.log_evidence == pytest.approx(0.0, abs=1e-3)


def test_the_first_rung_of_a_horizon_says_nothing_of_the_optimum() -> None:
    """The level of the loss is unknown; that it did not diverge is all there is."""
    low = posterior(Rung(1 / 64, -15.0, 0.7))
    assert low.mean == pytest.approx(posterior().mean, abs=2e-3)


def test_two_rungs_point_to_the_better_one() -> None:
    low = posterior(Rung(1 / 64, -8.0, 0.3), Rung(1 / 64, -5.0, 0.5)).mean
    high = posterior(Rung(1 / 64, -8.0, 0.5), Rung(1 / 64, -5.0, 0.3)).mean
    assert high - low > 0.8


def test_a_divergence_pushes_the_optimum_down() -> None:
    assert posterior(Rung(1 / 64, -6.0, None)).mean < posterior().mean - 0.3


def test_the_optimum_moves_down_towards_the_budget_by_the_drift() -> None:
    still = replace(PRIOR, drift_mean=0.0, drift_sd=0.01)
    fast = replace(PRIOR, drift_mean=0.5, drift_sd=0.01)
    assert posterior(*BOWL, prior=fast).mean < posterior(*BOWL, prior=still).mean - 1.0


def test_a_longer_horizon_narrows_more_than_the_same_rungs_of_a_shorter_one() -> None:
    short = [Rung(1 / 64, rung.log2_lr, rung.score) for rung in LONGER]
    assert posterior(*LONGER).sd < posterior(*short).sd - 0.1


def test_noise_leaves_more_doubt() -> None:
    known = replace(PRIOR, drift_sd=0.01, drift_noise=0.05)
    loud = replace(known, noises=((0.3, 1.0),))
    quiet = replace(known, noises=((0.01, 1.0),))
    assert posterior(*BOWL, prior=loud).sd > 1.1 * posterior(*BOWL, prior=quiet).sd


def test_how_far_above_the_untrained_model_a_rung_ends_changes_nothing() -> None:
    at_start = posterior(*BOWL, Rung(1 / 64, -2.0, 2.0))
    far_above = posterior(*BOWL, Rung(1 / 64, -2.0, 20.0))
    assert far_above.mean == pytest.approx(at_start.mean)


def test_a_range_test_that_did_not_turn_only_rules_out_what_lies_below() -> None:
    open_ended = posterior(turn=RangeEvidence(-3.0, 1.5, turned=False))
    assert open_ended.mean > posterior().mean + 1.0
    assert open_ended.mean > posterior(turn=RangeEvidence(-3.0, 1.5)).mean + 1.0


def test_the_best_rate_lies_below_the_mean_because_too_high_costs_more() -> None:
    found = posterior(*BOWL)
    best, regret = found.best()
    assert found.mean - 1.5 < best < found.mean - 0.1
    assert regret == pytest.approx(float(found.regret(np.array([best]))[0]))
    bounded = found.regret(np.array([best, best - 0.5, best + 0.5, found.mean]), CHOICE_CEILING)
    assert bounded.argmin() == 0
    assert bounded.max() < CHOICE_CEILING < found.regret(np.array([best + 6.0]))[0]


def test_the_best_rate_keeps_to_its_bounds() -> None:
    found = posterior(*BOWL)
    assert found.best(highest=-9.0)[0] == -9.0
    assert found.best(lowest=-3.0)[0] == -3.0


def test_the_interval_holds_its_share() -> None:
    found = posterior(*BOWL)
    low, high = found.interval(0.9)
    inside = found.density[(low < GRID) & (high > GRID)].sum()
    assert inside == pytest.approx(0.9, abs=0.03)
    assert low < found.mean < high


def test_evidence_prefers_the_prior_that_foresaw_the_rungs() -> None:
    wrong = replace(PRIOR, optimum=(Component(1.0, -20.0, 1.0),))
    assert posterior(*BOWL, turn=TURN).log_evidence > (
        posterior(*BOWL, prior=wrong, turn=TURN).log_evidence + 5.0
    )


@pytest.mark.parametrize(
    ("scores", "start", "ceiling"),
    [
        ([0.3, None], None, 1.0),
        ([], 2.0, 1.0),
        ([0.3, 0.9, None], 2.0, 1.7),
        ([1.95], 2.0, 0.3),
        ([-9.0], 2.0, 4.0),
    ],
)
def test_the_ceiling_is_the_untrained_models_score_above_the_best(
    scores: list[float | None], start: float | None, ceiling: float
) -> None:
    assert ceiling_of(scores, start) == pytest.approx(ceiling)


def test_absurd_measurements_still_give_a_posterior() -> None:
    rungs = [Rung(1 / 64, -30.0, -1e3), Rung(1 / 64, 30.0, 1e3), Rung(1 / 2, 0.0, None)]
    found = posterior(*rungs, turn=RangeEvidence(-24.0, 1.5))
    assert math.isfinite(found.mean)
    assert math.isfinite(found.best()[1])
    assert found.density.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("doublings", [0.0, 0.3, 4.0])
@pytest.mark.parametrize("drift", [-0.05, 0.23])
def test_the_best_rate_moves_by_the_drift_and_a_normal_step(drift: float, doublings: float) -> None:
    moved = transition(drift, 0.4, doublings)
    sd = max(0.4 * math.sqrt(doublings), STEP)
    for to, origin in [(0, 0), (100, 103), (103, 100), (250, 256)]:
        z = (GRID[to] - GRID[origin] + drift * doublings) / sd
        density = math.exp(-0.5 * z**2) / (sd * math.sqrt(2.0 * math.pi))
        assert moved[to, origin] == pytest.approx(STEP * density, rel=1e-12)
