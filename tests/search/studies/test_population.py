"""``population``: one trial, which is told what it may search."""

from typing import Any

import pytest
from pacesetter.protocol import Choice, ExperimentSpec, Range
from pacesetter_search.studies import StudyStrategy, get_study_strategy, transfer_study
from pydantic import ValidationError

from tests.search.studies.specs import LR, ended, plans, spec


def population(**parameters: Any) -> StudyStrategy:
    return get_study_strategy("population").from_document(parameters)


def wanted(**changes: Any) -> ExperimentSpec:
    return spec(**{"proxy": "population:mlp", "fixed": {"steps": 200, "seed": 1}, **changes})


def test_its_only_trial_has_the_ends_of_the_range_and_how_it_is_searched() -> None:
    strategy = population(scheduler="pbt", members=6, intervals=10, quantile=0.5)

    [plan] = plans(strategy, wanted(), 5)

    assert plan.parameters == {
        "scheduler": "pbt",
        "members": 6,
        "intervals": 10,
        "quantile": 0.5,
        "lr_low": LR.low,
        "lr_high": LR.high,
    }
    assert plan.why == "the population: 6 members, whose rates pbt moves between 10 intervals"
    assert not strategy.plan(wanted(), (), [plan], 5, 3)


@pytest.mark.parametrize("status", ["done", "failed"])
def test_a_population_that_ended_is_not_repeated_whatever_became_of_it(status: Any) -> None:
    one = ended(1, None, {"lr_low": 0.1})

    assert not population().plan(wanted(), [one], (), 5, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proxy": "mlp"}, "the proxy 'mlp' is one training: give population:byte_lm"),
        ({"space": {}}, "give a space of a range 'lr' above 0 and nothing else"),
        ({"space": {"lr": LR, "width": Range(low=8, high=64)}}, "moves the learning rate alone"),
        ({"space": {"lr": Choice(values=(0.1, 0.2))}}, "moves the learning rate alone"),
        ({"fixed": {"steps": 200, "warmup": 0.1}}, "`fixed` has warmup, which the population sets"),
        ({"fixed": {"steps": 200, "members": 3}}, "`fixed` has members, which the population sets"),
        ({"fixed": {}}, "`fixed` has no whole number of `steps`"),
        ({"coordinates": (32, 128)}, "no one rate to check `coordinates` at: leave them out"),
        ({"fixed": {"steps": 7}}, "that could be cut into 8 intervals"),
    ],
)
def test_what_no_population_can_be_made_of_is_said_with_what_to_change(
    changes: dict[str, Any], message: str
) -> None:
    [obstacle] = population().obstacles(wanted(**changes))

    assert message in obstacle


@pytest.mark.parametrize(
    "parameters",
    [{"members": 1}, {"quantile": 0.6}, {"intervals": 1}, {"scheduler": "asha"}, {"member": 4}],
)
def test_parameters_that_cannot_be_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        population(**parameters)


def test_its_trial_is_no_evidence_of_a_best_rate() -> None:
    [plan] = plans(population(), wanted(), 1)

    with pytest.raises(ValueError, match=r"trials have no 'lr': each was a search of its own"):
        transfer_study(wanted(), [ended(1, 2.0, dict(plan.parameters))])
