import math

import pytest

from benchmarks.quality.figures import (
    buys_loss,
    equivalent_steps,
    estimate,
    log_ratios,
    standing,
)
from benchmarks.quality.score import Score
from benchmarks.quality.tasks import named
from benchmarks.quality.tuned import Reference

SEEDS = (100, 101, 102)


def reference(exponent: float = 0.1, spread: float = 0.01) -> Reference:
    """A loss of n ** -exponent, with seeds apart by ``spread``."""
    losses = {
        steps: {seed: steps**-exponent * (1.0 + spread * (seed - 101)) for seed in SEEDS}
        for steps in (500, 1000, 2000)
    }
    (task,) = named("digits-mlp")
    return Reference(task, 1000, "wsd50", -4.0, losses, 2.0**-4, {"wsd50": -4.2}, 36_000)


def score(loss: float, steps: int = 1150, **others: object) -> Score:
    whole = {"A": loss, "B": loss, "lost": False, "steps": steps, "main_steps": 1000, **others}
    return Score(**{"seconds": {"main": 2.0, "probe": 1.0}, **whole})  # type: ignore[arg-type]


def as_good_as(length: float, exponent: float = 0.1) -> dict[int, Score]:
    """Scores that the reference reaches in ``length`` steps, seed by seed."""
    return {
        seed: score(length**-exponent * (1.0 + 0.01 * (seed - 101)), interval=(-5.0, -4.5 + i))
        for i, seed in enumerate(SEEDS)
    }


@pytest.mark.parametrize("length", [250.0, 500.0, 700.0, 1000.0, 1700.0, 2000.0, 4000.0])
def test_a_loss_is_read_as_the_steps_that_the_reference_needs_for_it(length: float) -> None:
    logs = {steps: math.log(steps**-0.1) for steps in (500, 1000, 2000)}
    assert equivalent_steps(logs, math.log(length**-0.1)) == pytest.approx(length)


def test_between_two_points_their_own_line_counts() -> None:
    logs = {100: 0.0, 200: -1.0, 400: -1.2}
    assert equivalent_steps(logs, -1.1) == pytest.approx(200 * math.sqrt(2))
    assert equivalent_steps(logs, -0.5) == pytest.approx(100 * math.sqrt(2))


def test_lines_go_on_for_eight_times_and_no_further() -> None:
    logs = {100: 0.0, 200: -1.0, 400: -1.2}
    assert equivalent_steps(logs, 50.0) == pytest.approx(12.5)
    assert equivalent_steps(logs, -50.0) == pytest.approx(3200.0)


def test_cost_is_all_steps_used_over_those_that_the_loss_is_worth() -> None:
    equal = standing("x", reference(), as_good_as(1000))
    half = standing("x", reference(), as_good_as(500))
    assert equal.cost == pytest.approx(1.15)
    assert half.cost == pytest.approx(2.30)
    assert equal.log_ratio.mean == pytest.approx(0.0, abs=1e-12)
    assert equal.log_ratio.error == pytest.approx(0.0, abs=1e-12)
    assert not equal.cost_is_bound


def test_a_hopeless_loss_costs_at_least_the_bound() -> None:
    found = standing("x", reference(), {seed: score(3.0) for seed in SEEDS})
    assert found.cost == pytest.approx(1.15 * 16)
    assert found.cost_is_bound


def test_pairing_by_seed_takes_the_seed_out_of_the_error() -> None:
    losses = {seed: 1.02 * value for seed, value in reference(spread=0.3).at_budget.items()}
    found = estimate(log_ratios(losses, reference(spread=0.3).at_budget))
    assert found.mean == pytest.approx(math.log(1.02))
    assert found.error == pytest.approx(0.0, abs=1e-12)
    assert found.clearly_above_zero
    assert not found.clearly_below_zero


def test_one_seed_proves_nothing() -> None:
    found = estimate([-5.0])
    assert math.isnan(found.error)
    assert not found.clearly_below_zero


def test_regret_is_in_deviations_of_the_seed() -> None:
    found = reference(spread=0.01)
    sd = found.seed_sd
    losses = {seed: score(value + 3.0 * sd) for seed, value in found.at_budget.items()}
    assert standing("x", found, losses).regret_sd == pytest.approx(3.0)


def test_there_is_no_cost_where_more_steps_do_not_lower_the_loss() -> None:
    assert buys_loss(reference(0.1))
    assert not buys_loss(reference(-0.1))
    assert standing("x", reference(-0.1), as_good_as(1000)).cost is None


def test_a_placebo_pays_for_the_probes_it_ignores() -> None:
    placebo = {seed: score(found.B, steps=1000) for seed, found in as_good_as(1000).items()}
    assert standing("x", reference(), placebo).cost == pytest.approx(1.0)
    paying = standing("x", reference(), placebo, paid=as_good_as(1000))
    assert paying.steps == pytest.approx(1.15)
    assert paying.cost == pytest.approx(1.15)


def test_coverage_counts_intervals_that_hold_the_best_rate() -> None:
    found = standing("x", reference(), as_good_as(1000), best=-4.2)
    assert (found.covered, found.intervals) == (2, 3)


def test_losses_lost_and_seconds_are_over_seeds() -> None:
    scores = {100: score(1.0, lost=True), 101: score(3.0, steps=1000)}
    found = standing("x", reference(), scores)
    assert (found.loss, found.lost, found.probed) == (2.0, 1, 1)
    assert found.seconds == {"main": 2.0, "probe": 1.0}
