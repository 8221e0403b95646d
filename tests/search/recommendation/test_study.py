"""The cheapest study where there is no evidence, and what it costs."""

import pytest
from pacesetter_search.recommendation import Study, recommend

from tests.search.recommendation.cases import target


def study(**changes: object) -> Study:
    found = recommend(target(**changes))
    assert found.status == "no_evidence"
    assert found.study is not None
    return found.study


def test_it_is_three_short_runs_a_factor_of_four_apart() -> None:
    one = study(regime="finetune", tokens=6.4e9, batch_tokens=1e5)
    assert (one.runs, one.multiples) == (3, (0.25, 1.0, 4.0))
    assert one.tokens == pytest.approx(2e8)
    assert one.total_tokens == pytest.approx(6e8)
    assert one.share == pytest.approx(3 / 32)
    assert "9.4 % of the target's compute" in one.text


def test_short_budgets_still_have_two_hundred_steps_a_run_and_never_more_than_a_quarter() -> None:
    one = study(regime="finetune", tokens=1e8, batch_tokens=1e5)
    assert one.tokens == pytest.approx(2e7)
    tiny = study(regime="finetune", tokens=1e7, batch_tokens=1e5)
    assert tiny.tokens == pytest.approx(2.5e6)


def test_under_mup_the_base_model_is_swept_and_costs_the_width_squared_less() -> None:
    one = study(parametrization="mup", width_ratio=8.0, tokens=6.4e9, batch_tokens=1e5)
    assert one.parameters == pytest.approx(124e6 / 64)
    assert one.share == pytest.approx(3 / 32 / 64)
    assert "base model" in one.text


def test_another_objective_is_to_be_swept_in() -> None:
    one = study(objective={"name": "reward", "mode": "max"}, batch_tokens=1e5)
    assert "in 'reward' (max)" in one.text


@pytest.mark.parametrize("tokens", [1.0, 3.0, 1e15])
def test_the_ends_of_what_may_be_asked_have_a_study_too(tokens: float) -> None:
    one = study(regime="rl", parameters=1.0, tokens=tokens)
    assert 0.0 < one.batch_tokens <= one.tokens <= tokens
    assert one.share <= 3.0
