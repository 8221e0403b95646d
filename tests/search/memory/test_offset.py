"""What the losses that runs ended with say of where short runs mislead."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter_search.memory.offset import Ended, offset, tells
from pacesetter_search.transfer.places import Optimum

SD = 1.0
CURVATURE, USUAL = 0.05, 0.08


def runs(
    count: int,
    truth: float,
    *,
    spread: float = 1.5,
    noise: float = 0.01,
    curvature: float = CURVATURE,
    seed: int = 0,
    family: str = "bytes",
) -> list[Ended]:
    """Return runs of several sizes, their best peak ``truth`` octaves above what was extrapolated for them."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        size, longer = generator.uniform(-1.5, 1.5, 2)
        expected = -8.0 - 0.5 * size - 0.4 * longer
        ran = expected + spread * generator.standard_normal()
        away = ran - expected - truth
        level = 0.7 - 0.06 * size - 0.09 * longer + 0.5 * curvature * away**2
        place = Optimum(1e5 * 2.0**size, 1e6 * 2.0**longer, 512.0, 2.0**ran, family=family)
        found.append(Ended(place, level + noise * float(generator.standard_normal()), expected))
    return found


def test_runs_beside_the_extrapolated_peak_show_where_the_best_one_lies() -> None:
    for truth in (-2.0, 0.0, 2.0):
        told = offset(runs(30, truth), SD, USUAL)
        assert told.mean == pytest.approx(truth, abs=0.5)
        assert abs(told.mean - truth) < 3.0 * told.sd
        assert told.sd < 0.5 * SD


@pytest.mark.parametrize(("curvature", "lowest", "highest"), [(0.01, 0.0, 0.3), (0.3, 1.5, 6.0)])
def test_they_show_how_much_a_wrong_peak_costs(
    curvature: float, lowest: float, highest: float
) -> None:
    told = offset(runs(30, 0.5, curvature=curvature), SD, USUAL)
    assert lowest < told.steepness < highest


def test_runs_that_all_did_as_they_were_told_say_nothing() -> None:
    told = offset(runs(30, 1.5, spread=0.0), SD, USUAL)
    assert told.sd > 0.8 * SD
    assert abs(told.mean) < 0.7 * SD
    assert told.steepness == pytest.approx(1.0, abs=0.3)


def test_few_or_no_runs_leave_what_was_believed() -> None:
    for few in ([], runs(2, 2.0)):
        told = offset(few, SD, USUAL)
        assert told.mean == pytest.approx(0.0, abs=1e-9)
        assert told.sd == pytest.approx(SD, rel=0.01)
        assert told.steepness == pytest.approx(1.0)
        assert not tells(few)
    assert tells(runs(3, 2.0))


def test_a_level_of_its_own_keeps_families_from_misleading_each_other() -> None:
    """Two families whose losses lie apart by far more than any rate makes, each run at rates of its own."""
    one, other = runs(15, 1.0, seed=1), runs(15, 1.0, seed=2, family="code")
    higher = [Ended(run.place, run.log_loss + 3.0, run.expected) for run in other]
    assert offset([*one, *higher], SD, USUAL).mean == pytest.approx(1.0, abs=0.6)


def test_noise_leaves_more_open() -> None:
    loud, quiet = (offset(runs(12, 1.0, noise=noise), SD, USUAL) for noise in (0.1, 0.005))
    assert loud.sd > quiet.sd


def test_a_run_that_learned_nothing_does_not_rule_the_others() -> None:
    broken = runs(1, 0.0)[0]
    worst = Ended(broken.place, 3.0, broken.expected)
    told = offset([*runs(20, 1.0), worst], SD, USUAL)
    assert abs(told.mean - 1.0) < 1.5


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(8)), st.floats(-3.0, 3.0))
def test_neither_order_nor_the_unit_of_the_losses_matter(order: list[int], unit: float) -> None:
    found = runs(8, 1.0)
    told = offset(found, SD, USUAL)
    moved = [
        Ended(found[place].place, found[place].log_loss + unit, found[place].expected)
        for place in order
    ]
    other = offset(moved, SD, USUAL)
    # The level of a family is known to ten octaves beforehand, which is all that a unit could change.
    assert other.mean == pytest.approx(told.mean, abs=0.02)
    assert other.sd == pytest.approx(told.sd, rel=0.02)
    assert math.isfinite(told.mean)
