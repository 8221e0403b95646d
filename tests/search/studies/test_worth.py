"""What runs would tell: the closed form against a slow reference, and against what runs told once they ended."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter_search.studies.believing import Family
from pacesetter_search.studies.cells import Cell
from pacesetter_search.studies.optima import Shape
from pacesetter_search.studies.worth import Known, Outlook, information

from tests.search.studies.truth import TARGET

SHAPE = Shape(0.04, 0.5, 0.8, 0.3, 0.01, 0.3)
RATES = st.lists(st.floats(-7.5, -3.5), min_size=2, max_size=7)


def reference(rates: list[float], best: float) -> float:
    """One over the best rate's variance, by derivatives in differences and the inverse of the whole precision."""

    def expected(unknown: np.ndarray) -> np.ndarray:
        place, level, log_curvature, asymmetry = unknown
        curvature = SHAPE.curvature * np.exp(SHAPE.curvature_log_sd * log_curvature)
        bent = SHAPE.asymmetry + SHAPE.asymmetry_sd * asymmetry
        away = np.array(rates) - best - place
        return np.asarray(level + curvature * (away**2 / 2.0 + bent * away**3 / 6.0))

    step = 1e-5
    rows = np.stack(
        [(expected(step * each) - expected(-step * each)) / (2 * step) for each in np.eye(4)], 1
    )
    risen = expected(np.zeros(4))
    weights = 1.0 / (SHAPE.noise**2 + np.square(SHAPE.misfit * risen))
    precision = rows.T @ np.diag(weights) @ rows + np.diag([1e-9, 1e-9, 1.0, 1.0])
    return float(1.0 / np.linalg.inv(precision)[0, 0])


@given(RATES, st.floats(-6.5, -4.5))
def test_the_closed_form_is_the_inverse_of_the_whole_precision(
    rates: list[float], best: float
) -> None:
    assert information(rates, best, 0.0, SHAPE) == pytest.approx(
        reference(rates, best), rel=1e-3, abs=1e-4
    )


@given(RATES, st.floats(-7.5, -3.5), st.floats(0.0, 1.0))
def test_a_further_run_never_takes_from_what_is_known(
    rates: list[float], further: float, sd: float
) -> None:
    before = information(rates, -5.5, sd, SHAPE)
    assert information([*rates, further], -5.5, sd, SHAPE) >= before - 1e-9


def test_one_run_says_nothing_and_two_say_most_on_both_sides() -> None:
    assert information([-5.0], -5.5, 0.3, SHAPE) == 0.0
    both = information([-6.5, -4.5], -5.5, 0.3, SHAPE)
    assert both > 2.5 * information([-5.5, -4.5], -5.5, 0.3, SHAPE)
    assert both > 3.0 * information([-5.75, -5.25], -5.5, 0.3, SHAPE)


def test_a_noisy_landscape_is_told_by_rates_further_apart() -> None:
    def furthest(noise: float) -> float:
        shape = Shape(0.04, 0.5, 0.8, 0.3, noise, 0.3)
        halves = np.arange(0.25, 2.6, 0.25)
        told = [information([-5.5 - half, -5.5 + half], -5.5, 0.2, shape) for half in halves]
        return float(halves[int(np.argmax(told))])

    assert furthest(0.001) < furthest(0.01) <= furthest(0.05)


def outlook(known: dict[Cell, Known]) -> Outlook:
    family = Family("mup", large=False, anchor=(-6.5, 3.5))
    return Outlook(family, TARGET, known, SHAPE, -10.0, -3.0)


NARROW = Cell(width=32.0, steps=1200.0, batch=16.0)
SHORT = Cell(width=256.0, steps=75.0, batch=16.0)
KNOWN = Known((-5.6, 0.2), (-7.0, -6.0, -5.0, -4.0))


def test_an_offer_promises_what_the_outlook_has_once_it_is_planned() -> None:
    known = {NARROW: KNOWN, SHORT: Known()}
    now = outlook(known)
    offer = now.offer(SHORT, flops=10.0)
    after = outlook({**known, SHORT: Known(planned=offer.rates)})
    assert offer.sd == pytest.approx(after.sd, rel=1e-9)
    assert offer.gain == pytest.approx((now.sd**2 - after.sd**2) / offer.flops)
    assert offer.flops == 10.0 * len(offer.rates)


def test_a_cell_without_runs_is_offered_several_and_one_with_runs_one() -> None:
    now = outlook({NARROW: KNOWN, SHORT: Known()})
    first = now.offer(SHORT, flops=1.0).rates
    assert len(first) in (2, 3)
    assert min(first) < now._expected[SHORT][0] < max(first)
    assert len(now.offer(NARROW, flops=1.0).rates) == 1


def test_an_octave_of_width_says_more_of_the_target_than_four_of_the_horizon() -> None:
    half = Cell(width=128.0, steps=1200.0, batch=16.0)
    now = outlook({NARROW: KNOWN, half: Known(), SHORT: Known()})
    assert now.offer(half, flops=1.0).sd < now.offer(SHORT, flops=1.0).sd < now.sd


def test_rates_that_are_offered_lie_in_the_range() -> None:
    low = Known((-9.9, 0.2), (-10.0, -9.0))
    offered = outlook({NARROW: low, SHORT: Known()}).offer(SHORT, flops=1.0).rates
    assert all(-10.0 <= rate <= -3.0 for rate in offered)


def test_a_cell_that_diverged_is_offered_single_runs_below() -> None:
    known = Known((-5.6, 0.2), ended=(-7.0, -6.0), diverged=(-4.5, -5.25))
    assert not known.new
    assert not Known(diverged=(-5.0,)).new
    assert Known(failed=(-5.0,)).new
    (rate,) = outlook({NARROW: known, SHORT: Known()}).offer(NARROW, flops=1.0).rates
    assert rate <= -5.5


def test_rates_that_failed_are_not_offered_again() -> None:
    first = outlook({NARROW: KNOWN, SHORT: Known()}).offer(SHORT, flops=1.0).rates
    failed = {NARROW: KNOWN, SHORT: Known(failed=first)}
    again = outlook(failed).offer(SHORT, flops=1.0).rates
    assert len(again) >= 2
    assert not set(first) & set(again)


def test_a_rate_that_diverged_by_chance_bars_itself_alone() -> None:
    known = Known(ended=(-5.0,), diverged=(-7.0,))
    assert known.lost(-7.0)
    assert not known.lost(-6.9)
    assert not known.lost(-4.0)


def test_nothing_is_offered_where_everything_would_diverge() -> None:
    lost = {NARROW: KNOWN, SHORT: Known(diverged=(-10.0,))}
    offer = outlook(lost).offer(SHORT, flops=1.0)
    assert (offer.rates, offer.gain) == ((), 0.0)
