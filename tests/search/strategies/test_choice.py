from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from pacesetter_search.strategies.autolrs import AutoLRSParameters
from pacesetter_search.strategies.autolrs.choice import GRID, Question, best, next_candidate
from pacesetter_search.surrogates import Response

DEFAULT = AutoLRSParameters()


def question(places: list[float], stage: int = 0, **changes: object) -> Question:
    """Return a bowl with its minimum at .4, measured at ``places``."""
    known = [Response(stage, x, (x - 0.4) ** 2, 1e-6) for x in places]
    plain = Question(
        stage=stage,
        responses=known,
        tried=places,
        incumbent=0.7,
        low=0.0,
        high=1.0,
        diverged=None,
        seed=1,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def asked(of: Question, acquisition: Literal["log_nei", "lcb"] = "log_nei") -> float:
    answer = next_candidate(of, AutoLRSParameters(acquisition=acquisition))
    assert answer is not None
    return answer.x


def test_the_first_probe_is_the_rate_in_use() -> None:
    assert asked(question([])) == 0.7


def test_the_rate_in_use_is_cut_to_what_may_be_reached() -> None:
    assert asked(question([], high=0.5)) == 0.5


def test_the_second_and_third_probe_fill_the_widest_stretches() -> None:
    second = asked(question([0.7]))
    third = asked(question([0.7, second]))
    assert 0.7 * 0.25 <= second <= 0.7 * 0.75
    assert abs(third - second) > 0.1


def test_a_later_stage_asks_the_surrogate_from_its_second_probe_on() -> None:
    before = question([0.0, 0.2, 0.45, 0.6, 1.0]).responses
    now = question([0.8], stage=1)
    x = asked(replace(now, responses=[*before, *now.responses]))
    assert 0.2 < x < 0.6


@pytest.mark.parametrize("acquisition", ["log_nei", "lcb"])
def test_nothing_at_or_above_a_divergence_is_asked(acquisition: Literal["log_nei", "lcb"]) -> None:
    given = question([0.0, 0.1, 0.2, 0.3], diverged=0.6)
    assert 0.3 < asked(given, acquisition) < 0.6


@pytest.mark.parametrize("acquisition", ["log_nei", "lcb"])
def test_nothing_beyond_the_reach_is_asked(acquisition: Literal["log_nei", "lcb"]) -> None:
    x = asked(question([0.5, 0.52, 0.54, 0.55], low=0.45, high=0.58), acquisition)
    assert 0.45 <= x <= 0.58


def test_after_a_first_divergence_the_next_probe_is_halfway_down() -> None:
    given = question([], tried=[0.7], diverged=0.7, low=0.1)
    assert asked(given) == pytest.approx(0.4)


def test_a_rate_is_not_tried_twice() -> None:
    places = [float(x) for x in np.linspace(0, 1, GRID)[:-1]]
    assert asked(question(places)) == 1.0
    assert next_candidate(question([*places, 1.0]), DEFAULT) is None


def test_the_choice_is_the_least_posterior_mean_not_the_luckiest_sample() -> None:
    places = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95]
    known = [Response(0, x, (x - 0.4) ** 2, 4e-4) for x in places]
    known[-1] = Response(0, 0.95, -0.05, 0.25)
    chosen = best(question(places, responses=known))
    assert 0.3 < chosen.x < 0.5
    assert chosen.numbers["lowest_forecast_at"] == 0.95


def test_the_choice_lies_between_what_was_measured_and_below_what_diverged() -> None:
    rising = [Response(0, x, -x, 1e-6) for x in (0.2, 0.3, 0.4, 0.5)]
    given = question([0.2, 0.3, 0.4, 0.5], responses=rising, diverged=0.7)
    assert best(given).x == pytest.approx(0.5)


def test_the_only_finite_rate_is_the_choice() -> None:
    assert best(question([0.3])).x == 0.3
