import json
from typing import Any

import pytest
from pacesetter.errors import PacesetterError
from pacesetter.protocol import Capabilities, ProxySearch
from pacesetter_search.strategies import (
    UnknownStrategy,
    default_strategy,
    get_strategy,
    strategy_names,
)
from pydantic import ValidationError

from tests.search.support.simulator import job_facts


def test_every_name_leads_to_the_strategy_of_that_name() -> None:
    assert strategy_names() == (
        "autolrs",
        "fedhyper",
        "fixed",
        "hypergradient",
        "law",
        "manual",
        "proxy",
        "refinement",
        "snr",
        "wsd_branch",
        "zero_tuning",
    )
    for name in strategy_names():
        assert get_strategy(name).name == name


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownStrategy, match="'autolr'; choose one of autolrs, fedhyper, fixed"
    ) as caught:
        get_strategy("autolr")
    assert isinstance(caught.value, PacesetterError)


def test_the_default_can_steer_any_job() -> None:
    facts = job_facts(5, authority="observe")
    strategy = get_strategy(default_strategy(facts)).from_document({})
    assert list(strategy.obstacles(facts)) == []


@pytest.mark.parametrize("authority", ["observe", "advise", "steer"])
def test_what_is_experimental_is_never_chosen_by_default(authority: Any) -> None:
    capable = Capabilities.model_validate(
        {"rollback": "memory", "rewind_batches": "unlimited", "validate": True}
    )
    for total in (5, 1000, 10**6):
        facts = job_facts(total, authority=authority, capabilities=capable)
        assert get_strategy(default_strategy(facts)).tier != "experimental"


def test_a_job_that_names_proxies_listens_to_them_unless_it_says_otherwise() -> None:
    facts = job_facts(1000, proxies=ProxySearch(proxy="noop"))
    chosen = get_strategy(default_strategy(facts))
    assert (chosen.name, chosen.listens) == ("proxy", True)
    assert [name for name in strategy_names() if get_strategy(name).listens] == ["proxy"]


def test_every_strategy_says_what_it_does_in_one_line_and_what_it_takes() -> None:
    for name in strategy_names():
        strategy = get_strategy(name)
        assert 20 < len(strategy.about()) < 140, name
        assert json.loads(json.dumps(strategy.parameters_schema()))
        assert strategy.needs


def test_fixed_is_fast_and_autolrs_declares_what_it_needs() -> None:
    assert not get_strategy("fixed").slow
    assert get_strategy("autolrs").slow
    assert get_strategy("autolrs").default_cap == 1.0


def test_the_horizon_objective_is_reached_through_autolrs_and_keeps_to_the_usual_cap() -> None:
    strategy = get_strategy("autolrs").from_document({"objective": "horizon"})
    assert (strategy.name, strategy.slow, strategy.default_cap) == ("autolrs", True, 0.15)


def test_zero_tuning_plans_apart_and_keeps_to_the_usual_cap() -> None:
    assert get_strategy("zero_tuning").slow
    assert get_strategy("zero_tuning").default_cap == 0.15


@pytest.mark.parametrize(
    "parameters",
    [
        {"objective": "nearest"},
        {"objective": "horizon", "candidates": 4},
        {"objective": "horizon", "span": 1.0},
        {"objective": "horizon", "decide_at": [0.3, 0.1]},
        {"candidates": 0},
        {"min_multiplier": 2.0, "max_multiplier": 1.0},
        {"lr_min": 1.0, "lr_max": 0.1},
        {"stop_ratio": 1.0},
        {"misspelt": 1},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        get_strategy("autolrs").from_document(parameters)
