"""The experiment that begins with a job, and where the job stands in one."""

import math
from typing import Any

import pytest
from pacesetter.protocol import (
    Budget,
    Capabilities,
    Choice,
    ExperimentSpec,
    ParameterGroup,
    ProxySearch,
    Range,
    StrategyChoice,
    Workload,
)
from pacesetter.schedules import Schedule
from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.proxy.experiment import begun_with, place_of
from pacesetter_search.strategies.zero_tuning.prior import Component, updated
from pacesetter_search.studies import Names, Place, get_study_strategy
from pydantic import ValidationError

from tests.search.support.simulator import job_facts

STEPS = 1000


def facts(search: ProxySearch | None, lr: float = 0.02, **changes: Any) -> JobFacts:
    groups = (ParameterGroup(name="all", base_lr=lr, optimizer="AdamW"),)
    same = {"proxies": search, "groups": groups, "seed": 5}
    return job_facts(STEPS, **{**same, **changes})


def begun(search: ProxySearch, **changes: Any) -> ExperimentSpec:
    return begun_with("a job", facts(search, **changes))


def plannable(spec: ExperimentSpec) -> list[str]:
    assert spec.strategy.name is not None
    strategy = get_study_strategy(spec.strategy.name).from_document(dict(spec.strategy.parameters))
    return list(strategy.obstacles(spec))


def test_a_name_alone_is_run_for_three_horizons_around_the_rate_that_was_given() -> None:
    spec = begun(ProxySearch(proxy="own:train"))
    lr = spec.space["lr"]
    assert isinstance(lr, Range)
    assert (lr.low, lr.high) == pytest.approx((0.02 / 16, 0.02 * 16))
    assert spec.space["steps"] == Choice(values=(62, 125, 250))
    assert len(spec.space) == 2
    assert (spec.name, spec.proxy, spec.seed) == ("a job: its proxies", "own:train", 5)
    assert spec.strategy == StrategyChoice(name="rungs")
    assert plannable(spec) == []


def test_how_often_the_job_sees_its_data_is_known_to_its_experiment() -> None:
    loads = Capabilities(epoch_batches=100)
    search = ProxySearch(proxy="own:train")
    assert begun(search, capabilities=loads).workload.epochs == STEPS / 100
    told = Workload(family="lines", epochs=3.0)
    assert begun(search, capabilities=loads, workload=told).workload == told
    assert begun(search).workload.epochs is None


def test_where_nobody_chose_a_rate_five_octaves_around_practice_are_run() -> None:
    lr = begun(ProxySearch(proxy="noop"), lr=1e-3).space["lr"]
    assert isinstance(lr, Range)
    assert (lr.low, lr.high) == pytest.approx((2e-3 / 32, 2e-3 * 32))


def test_narrow_proxies_are_planned_by_fidelity_which_is_told_where_the_job_stands() -> None:
    search = ProxySearch(
        proxy="byte_lm",
        space={"width": Choice(values=(32, 64)), "steps": Choice(values=(250, 1000))},
        fixed={"parametrization": "mup"},
        target={"width": 256},
    )
    spec = begun(search)
    assert spec.strategy.name == "fidelity"
    assert spec.strategy.parameters["target"] == {"width": 256.0, "steps": 1000.0}
    assert spec.space["width"] == search.space["width"]
    assert plannable(spec) == []
    assert place_of(facts(search), spec, Names()) == Place(width=256.0, steps=1000.0)


def test_what_the_job_says_is_kept() -> None:
    search = ProxySearch(
        proxy="noop",
        space={"lr": Range(low=0.1, high=1.0)},
        fixed={"steps": 77},
        strategy=StrategyChoice(name="grid", parameters={"points": 4}),
        max_trials=4,
        max_flops=1e9,
    )
    spec = begun(search, regime="finetune", workload=Workload(family="lines", batch_tokens=64))
    assert spec.space == {"lr": Range(low=0.1, high=1.0)}
    assert spec.fixed == {"steps": 77}
    assert (spec.max_trials, spec.max_flops) == (4, 1e9)
    assert spec.strategy == search.strategy
    assert (spec.regime, spec.workload.family) == ("finetune", "lines")


def test_a_job_in_tokens_is_counted_in_its_own_steps() -> None:
    tokens: dict[str, Any] = {
        "budget": Budget(clock="tokens", total=64_000),
        "base": Schedule(length=64_000),
    }
    known = facts(ProxySearch(proxy="noop"), workload=Workload(batch_tokens=64), **tokens)
    spec = begun_with("a job", known)
    assert spec.space["steps"] == Choice(values=(62, 125, 250))
    assert place_of(known, spec, Names()) == Place(steps=1000.0)
    with pytest.raises(ValueError, match="does not say how many a step has"):
        begun(ProxySearch(proxy="noop"), **tokens)


def test_a_job_that_is_too_short_for_rungs_is_told_to_name_their_steps() -> None:
    short = {"budget": Budget(total=60), "base": Schedule(length=60)}
    with pytest.raises(ValueError, match="too short a run to tell anything"):
        begun(ProxySearch(proxy="noop"), **short)
    assert begun(ProxySearch(proxy="noop", fixed={"steps": 60}), **short).fixed == {"steps": 60}


def test_proxies_of_one_horizon_are_searched_without_rungs() -> None:
    spec = begun(ProxySearch(proxy="noop", fixed={"steps": 100}))
    assert spec.strategy.name == "gp"
    assert plannable(spec) == []


def test_a_peak_without_rates_around_it_is_said() -> None:
    absolute = Schedule(length=STEPS, peak=1e308, unit="absolute")
    with pytest.raises(ValueError, match="leaves no rates around it"):
        begun(ProxySearch(proxy="noop"), base=absolute)


def test_steps_that_no_trial_has_are_not_asked_for() -> None:
    search = ProxySearch(experiment="exp_1", target={"width": 8})
    spec = ExperimentSpec(
        name="widths",
        proxy="noop",
        space={"lr": Range(low=0.1, high=1.0), "width": Choice(values=(2, 4))},
        max_trials=9,
    )
    assert place_of(facts(search), spec, Names()) == Place(width=8.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give either `experiment`"),
        ({"proxy": "noop", "experiment": "exp_1"}, "give either `experiment`"),
        ({"experiment": "exp_1", "max_trials": 3}, "max_trials belongs to an experiment"),
        ({"proxy": "noop", "target": {"heads": 4}}, "heads"),
        ({"proxy": "noop", "target": {"width": 0}}, "greater than 0"),
    ],
)
def test_a_search_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProxySearch.model_validate(fields)


def test_a_search_survives_json() -> None:
    for search in (
        ProxySearch(experiment="exp_1", target={"width": 8}),
        ProxySearch(proxy="noop", space={"lr": Range(low=0.1, high=1.0)}),
    ):
        assert ProxySearch.model_validate_json(search.model_dump_json()) == search


def test_what_is_told_moves_a_belief_as_bayes_would() -> None:
    told = Component(weight=1.0, mean=-4.0, sd=0.5)
    (found,) = updated((Component(1.0, -8.0, 2.0),), told)
    precision = 1 / 2.0**2 + 1 / 0.5**2
    assert found.sd == pytest.approx(precision**-0.5)
    assert found.mean == pytest.approx((-8.0 / 2.0**2 - 4.0 / 0.5**2) / precision)


def test_what_may_be_wrong_leaves_its_share_of_the_belief_as_it_was() -> None:
    before = (Component(0.7, -8.0, 1.0), Component(0.3, -3.0, 1.0))
    after = updated(before, Component(weight=0.9, mean=-3.0, sd=0.5))
    assert sum(part.weight for part in after) == pytest.approx(1.0)
    assert [part.weight for part in after[2:]] == pytest.approx([0.07, 0.03])
    assert [(part.mean, part.sd) for part in after[2:]] == [(-8.0, 1.0), (-3.0, 1.0)]
    # Five octaves away, the first part has no say in what is right.
    assert after[1].weight > 100 * after[0].weight
    assert math.isclose(after[1].mean, -3.0)


def test_what_is_told_far_from_every_belief_is_believed_as_it_is() -> None:
    told = Component(weight=0.9, mean=1e4, sd=0.5)
    assert updated((Component(1.0, -8.0, 1.0),), told) == (Component(1.0, 1e4, 0.5),)
