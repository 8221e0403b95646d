"""All candidates in one order: what was made for the law is told from what somebody has run."""

import pytest
from pacesetter_search.laws.choice import choose, learning_rates, rank_zoo

from tests.search.support.fitted_laws import ensemble
from tests.search.support.loss_curves import PEAK, STEPS

WARMUP = STEPS // 20


def test_families_tuned_ones_and_the_free_shape_are_in_one_order() -> None:
    found = choose(ensemble(), STEPS, PEAK, WARMUP, families=["rex", "wsd linear"])
    names = [one.name for one in found.ranking.candidates]
    assert {"free", "rex, tuned", "wsd linear, tuned", "linear", "wsd linear 0.4"} <= set(names)
    assert names.index("free") < names.index("wsd linear, tuned") < names.index("wsd linear 0.2")
    losses = [one.loss for one in found.ranking.candidates]
    assert losses == sorted(losses)
    assert set(found.schedules) == set(names)
    for name in names:
        assert learning_rates(found.schedules[name], PEAK).size == STEPS


def test_the_best_is_one_that_no_law_was_asked_to_make() -> None:
    found = choose(ensemble(), STEPS, PEAK, WARMUP, families=["wsd linear"])
    assert found.ranking.candidates[0].name == "free"
    assert found.best == rank_zoo(ensemble(), STEPS, PEAK, WARMUP).candidates[0].name


def test_without_tuning_it_is_the_zoo() -> None:
    found = choose(ensemble(), STEPS, PEAK, WARMUP, families=[], free=False, reference="cosine")
    assert found.ranking == rank_zoo(ensemble(), STEPS, PEAK, WARMUP, reference="cosine")


def test_a_peak_above_what_was_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="above the largest fitted rate"):
        choose(ensemble(), STEPS, 3.0 * PEAK, WARMUP)
