"""The free shape: constraints that always hold, never worse than a family, and what the published law asks for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.schedules import Polynomial, Table
from pacesetter_search.laws import FittedLaw, FittedMultiPower
from pacesetter_search.laws.choice import (
    SHRINK,
    learning_rates,
    optimise_family,
    optimise_free,
    rank_zoo,
)
from pacesetter_search.laws.choice.free import Grid, descend
from pacesetter_search.laws.choice.ranking import SHORTEST_TAIL, outside
from pacesetter_search.laws.choice.tuning import Frame
from pacesetter_search.laws.choice.zoo import held_then
from pacesetter_search.laws.curves import FloatArray

from tests.search.support.fitted_laws import PUBLISHED, ensemble
from tests.search.support.loss_curves import PEAK, STEPS

WARMUP = STEPS // 20
CASES: list[tuple[FittedLaw, int, float, int]] = [
    (ensemble(), STEPS, PEAK, WARMUP),
    (ensemble(), STEPS // 2, PEAK / 1.2, 0),
    (PUBLISHED, 24_000, 3e-4, 2160),
]


def keeps_to_the_rules(rates: FloatArray, peak: float, warmup: int) -> None:
    body = rates[warmup:]
    assert body[0] == pytest.approx(peak, rel=1e-9)
    assert np.diff(body).max(initial=0.0) <= 1e-12 * peak
    assert -np.diff(body).min(initial=0.0) <= peak / (SHORTEST_TAIL * rates.size) * (1.0 + 1e-6)
    assert body[-1] >= 0.0


@pytest.mark.parametrize("case", CASES, ids=["ensemble", "short", "published"])
def test_it_keeps_every_constraint_and_no_family_is_better(
    case: tuple[FittedLaw, int, float, int],
) -> None:
    law, steps, peak, warmup = case
    found = optimise_free(law, steps, peak, warmup)
    assert isinstance(found.schedule.body, Table)
    rates = learning_rates(found.schedule, peak)
    keeps_to_the_rules(rates, peak, warmup)
    assert outside(law, rates) is None
    best = rank_zoo(law, steps, peak, warmup).candidates[0]
    ended = float(law.predict(rates).mean[0])
    assert ended <= best.loss * (1.0 + 2e-5), best.name
    base = next(
        one.loss for one in rank_zoo(law, steps, peak, warmup).candidates if one.name == "linear"
    )
    assert found.gain == pytest.approx(SHRINK * (base - ended) / base, rel=0.05)


def test_the_published_law_holds_for_nine_tenths_and_falls_as_published() -> None:
    """The optimum that its authors release: full rate until step 21,311 to 21,608 of 24,000, then (1 - x)^1.5."""
    found = optimise_free(PUBLISHED, 24_000, 3e-4, 2160)
    rates = learning_rates(found.schedule, 1.0)
    held = float(np.flatnonzero(rates >= 0.97)[-1]) / 24_000
    assert 0.84 < held < 0.92
    published = learning_rates(held_then(Polynomial(power=1.5), 0.105, 24_000, 2160), 1.0)
    at = [int(share * 24_000) for share in (0.5, 0.8, 0.95, 0.97, 0.99)]
    assert rates[at] == pytest.approx(published[at], abs=0.12)
    ended, theirs = (PUBLISHED.predict(3e-4 * each).mean[0] for each in (rates, published))
    assert ended <= theirs + 2e-5


def test_another_law_asks_for_another_shape() -> None:
    """Where a drop of the rate takes long to show, the fall begins early: the shape is the law's and not the code's."""
    slow = FittedMultiPower.of(2.65, 0.6, 0.45, 700.0, 0.2, 0.35, 0.5, exact=False)
    found = learning_rates(optimise_free(slow, 24_000, 3e-4, 2160).schedule, 1.0)
    published = learning_rates(optimise_free(PUBLISHED, 24_000, 3e-4, 2160).schedule, 1.0)
    assert found[int(0.8 * 24_000)] < 0.6 < 0.95 < published[int(0.8 * 24_000)]


@settings(max_examples=200, deadline=None)
@given(drops=st.lists(st.floats(-1.0, 2.0), min_size=32, max_size=32), warmup=st.integers(0, 900))
def test_a_projection_is_allowed_and_the_nearest(drops: list[float], warmup: int) -> None:
    grid = Grid(Frame(1000, PEAK, warmup))
    given_drops = np.array(drops)
    found = grid.projected(given_drops)
    assert found.min() >= 0.0
    assert (found <= grid.most + 1e-12).all()
    assert found.sum() <= 1.0 + 1e-9
    assert grid.projected(found) == pytest.approx(found, abs=1e-9)
    # Of a convex set: no allowed point lies on the other side of the plane through the nearest one.
    away = given_drops - found
    for seed in range(3):
        other = grid.projected(np.random.default_rng(seed).uniform(0.0, 0.2, 32))
        assert away @ (other - found) <= 1e-7


def test_a_fall_at_the_end_takes_as_long_as_any_other() -> None:
    """A hundred steps of 2000 for the whole peak, so the last two, a thousandth of the run, for a fiftieth of it."""
    grid = Grid(Frame(2000, PEAK, 0))
    cliff = np.zeros(32)
    cliff[-1] = 0.9
    found = grid.projected(cliff)
    assert found[-1] == pytest.approx(2000 * (1.0 / 32.0) ** 2 / 100.0)
    assert found[:-1].tolist() == [0.0] * 31


def test_the_search_goes_on_from_where_it_starts() -> None:
    """Where no plateau with a tail of some power is the best: below the best of them, tuned."""
    slow = FittedMultiPower.of(2.65, 0.6, 0.45, 700.0, 0.2, 0.35, 0.5, exact=False)
    tuned = optimise_family(slow, "wsd power", 24_000, 3e-4, 2160).schedule
    found = optimise_free(slow, 24_000, 3e-4, 2160).schedule
    losses = [float(slow.predict(learning_rates(each, 3e-4)).mean[0]) for each in (tuned, found)]
    assert losses[1] < losses[0] - 1e-4


def test_projected_gradients_find_the_bottom_of_a_bowl() -> None:
    grid = Grid(Frame(1000, PEAK, 0))
    wanted = grid.projected(np.linspace(0.0, 0.06, 32))

    def bowl(drops: FloatArray) -> float:
        return 3.0 + float(np.sum((np.cumsum(drops) - np.cumsum(wanted)) ** 2))

    start = grid.projected(np.full(32, 0.01))
    found = descend(bowl, start, grid, rounds=300)
    assert bowl(start) - 3.0 > 0.5
    assert bowl(found) - 3.0 < 2e-3


def test_drops_of_a_schedule_give_it_back() -> None:
    frame = Frame(20_000, PEAK, 1000)
    grid = Grid(frame, points=64)
    schedule = held_then(Polynomial(power=1.5), 0.4, 20_000, 1000)
    again = grid.schedule(grid.drops_of(schedule))
    here, there = learning_rates(schedule, 1.0), learning_rates(again, 1.0)
    assert np.abs(here - there).max() < 0.02


def test_a_peak_above_what_was_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="above the largest fitted rate"):
        optimise_free(ensemble(), STEPS, 2.0 * PEAK, WARMUP)
