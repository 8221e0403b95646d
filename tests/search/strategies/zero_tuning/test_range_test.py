"""Where the loss turned while the rate rose."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from pacesetter.protocol import StopIfAboveFirst, StopIfNonFinite
from pacesetter_search.strategies.zero_tuning import range_test
from pacesetter_search.strategies.zero_tuning.range_test import Verdict

from tests.search.strategies.zero_tuning.beliefs import believed

PRIOR = believed((1.0, -8.0, 3.0))
RATES = [-24.0 + 0.5 * i for i in range(59)]


def judged(loss: Callable[[float], float | None]) -> Verdict:
    return range_test.judge(RATES, [loss(rate) for rate in RATES], PRIOR)


def falls_then_explodes(rate: float) -> float:
    """One batch is learned from 2^-12 on, and lost again above 2^-2."""
    learned = 1.0 / (1.0 + math.exp(-(rate + 8.0)))
    return 2.3 * (1.0 - 0.9 * learned) + math.exp(min(2.0 * (rate + 2.0), 50.0))


def test_it_turns_where_most_of_what_was_learned_is_lost() -> None:
    verdict = judged(falls_then_explodes)
    assert verdict.evidence is not None
    assert verdict.evidence.log2_lr == -2.0 + 0.5
    assert verdict.evidence.sd == PRIOR.range_sd
    assert verdict.start == pytest.approx(2.3, abs=0.01)
    assert verdict.evidence.turned


def test_it_turns_at_a_rise_of_thirty_percent_where_nothing_was_learned() -> None:
    verdict = judged(lambda rate: 1.0 if rate < -4.0 else 1.31)
    assert verdict.evidence is not None
    assert verdict.evidence.log2_lr == -4.0


def test_a_loss_that_is_not_finite_is_a_turn() -> None:
    verdict = judged(lambda rate: 1.0 if rate < -6.0 else None)
    assert verdict.evidence is not None
    assert verdict.evidence.log2_lr == -6.0


def test_a_loss_that_never_turns_says_that_the_turn_lies_above() -> None:
    verdict = judged(lambda _: 1.0)
    assert verdict.evidence is not None
    assert (verdict.evidence.log2_lr, verdict.evidence.turned) == (RATES[-1], False)


def test_noise_of_moving_batches_is_no_turn() -> None:
    """A regression loss that moves by a third from batch to batch stopped the first version at a rate of 1e-7."""
    rng = np.random.default_rng(0)
    noise = {rate: 1.0 + 0.33 * rng.standard_normal() for rate in RATES}
    verdict = judged(lambda rate: noise[rate] + (100.0 if rate > -3.0 else 0.0))
    assert verdict.evidence is not None
    assert verdict.evidence.log2_lr == -2.5
    assert verdict.evidence.sd == pytest.approx(1.5 * PRIOR.range_sd)


@pytest.mark.parametrize("level", [0.0, -5.0, 1e-9], ids=str)
def test_losses_near_zero_or_below_turn_by_their_noise(level: float) -> None:
    rng = np.random.default_rng(1)
    noise = {rate: 0.1 * rng.standard_normal() for rate in RATES}
    verdict = judged(lambda rate: level + noise[rate] + (8.0 if rate > -3.0 else 0.0))
    assert verdict.evidence is not None
    assert verdict.evidence.log2_lr == -2.5


def test_a_turn_at_rates_where_no_weight_moves_says_nothing() -> None:
    verdict = judged(lambda rate: 1.0 if rate < -22.6 else None)
    assert verdict.evidence is None


@pytest.mark.parametrize("losses", [[], [None] * 40, [1.0], [None, 1.0, 1.0, 1.0]], ids=str)
def test_hardly_any_measurement_says_nothing(losses: list[float | None]) -> None:
    assert range_test.judge(RATES[: len(losses)], losses, PRIOR).evidence is None


@pytest.mark.parametrize("length", [1, 20, 399, 5000])
def test_the_rate_rises_through_all_octaves_in_equal_steps(length: int) -> None:
    policy = range_test.policy(length, 5.0, 0.1, absolute=False)
    rates = np.log2(policy.over(np.arange(length, dtype=float)) * 0.1)
    assert rates.max() <= 5.0 + 1e-9
    if length > 1:
        assert rates[0] == pytest.approx(-24.0 + 29.0 / min(length, 400), abs=1e-6)
        assert np.diff(rates).max() <= 29.0 / min(length, 400) + 1e-9


def test_an_absolute_schedule_is_in_rates() -> None:
    policy = range_test.policy(20, 3.0, 0.1, absolute=True)
    assert policy.unit == "absolute"
    assert policy.at(19.0) == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("total", "clock", "allowed", "length"),
    [
        (600, "steps", 600, 20),
        (4000, "steps", 4000, 60),
        (4000, "steps", 30, 30),
        (10**6, "steps", 10**6, 1000),
        (10**9, "tokens", 10**9, 15_000_000),
    ],
)
def test_the_length_is_a_share_of_the_budget_within_bounds(
    total: int, clock: str, allowed: int, length: int
) -> None:
    assert range_test.length_of(total, clock, allowed) == length


def test_only_a_trusting_test_stops_at_a_rise() -> None:
    assert range_test.clauses(trusting=False) == (StopIfNonFinite(),)
    assert StopIfAboveFirst(ratio=2.0) in range_test.clauses(trusting=True)
