"""What every strategy owes, whatever trials end with: plans of the space, no more than wanted, the same ones again."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Choice, Cost, ExperimentSpec, Parameter, Range, TrialPlan, Value
from pacesetter_search.studies import STUDY_STRATEGIES, Finished, get_study_strategy

from tests.search.studies.specs import LR, mixed, spec

LADDER: dict[str, Parameter] = {"lr": LR, "steps": Choice(values=(50, 100, 200))}
WIDE: dict[str, Parameter] = {**LADDER, "width": Range(low=32, high=128, integer=True)}
ABOUT: dict[str, Any] = {"max_trials": 18, "seed": 11}
CASES: dict[str, tuple[ExperimentSpec, dict[str, Any]]] = {
    "asha": (spec(WIDE, fixed={"schedule": "constant"}, **ABOUT), {}),
    "fidelity": (spec(WIDE, **ABOUT), {"target": {"width": 128, "steps": 200}, "share": 1.0}),
    "gp": (spec(mixed(), **{**ABOUT, "max_trials": 7}), {"initial": 4}),
    "grid": (spec(mixed(), **{**ABOUT, "max_trials": 27}), {"points": 3}),
    "population": (
        spec(proxy="population:mlp", fixed={"steps": 200}, **ABOUT),
        {"scheduler": "pbt", "members": 3},
    ),
    "random": (spec(mixed(), **ABOUT), {}),
    "rungs": (spec(LADDER, **ABOUT), {}),
}
OUTCOME = st.tuples(
    st.sampled_from([2.0, 2.1, 2.3, 0.0, -4.0, 1e-9, 1e140, 1e200, math.nan, math.inf, None]),
    st.sampled_from(["done", "done", "done", "failed"]),
    st.sampled_from([Cost(), Cost(steps=100, tokens=1e5, flops=1e9, seconds=1.0)]),
)


def inside(parameter: Parameter, value: Value) -> bool:
    if isinstance(parameter, Choice):
        return value in parameter.values
    assert not isinstance(value, str | bool)
    whole = isinstance(value, int) or not parameter.integer
    return parameter.low <= value <= parameter.high and whole


def test_every_strategy_has_a_case_that_it_can_plan() -> None:
    assert set(CASES) == set(STUDY_STRATEGIES)
    for name, (of, parameters) in CASES.items():
        assert not list(get_study_strategy(name).from_document(parameters).obstacles(of))


@pytest.mark.parametrize("name", STUDY_STRATEGIES)
@settings(max_examples=8, deadline=None)
@given(outcomes=st.lists(OUTCOME, min_size=27, max_size=27), most=st.integers(1, 4))
def test_whatever_trials_end_with_plans_are_of_the_space_and_end(
    name: str, outcomes: list[tuple[float | None, Any, Cost]], most: int
) -> None:
    of, parameters = CASES[name]
    strategy = get_study_strategy(name).from_document(parameters)
    finished: list[Finished] = []
    pending: list[TrialPlan] = []
    while True:
        wanted = most - len(pending)
        plans = strategy.plan(of, finished, pending, wanted, of.seed)
        assert len(plans) <= wanted
        for plan in plans:
            if not strategy.searches_inside:
                assert plan.parameters.keys() == of.space.keys()
                assert all(inside(of.space[each], value) for each, value in plan.parameters.items())
            assert plan.why
            plan.model_dump_json()
        pending.extend(plans)
        assert len(finished) + len(pending) <= of.max_trials
        if not pending:
            break
        loss, status, cost = outcomes[len(finished)]
        finished.append(Finished(len(finished) + 1, pending.pop(0).parameters, loss, cost, status))
    assert finished
    again = get_study_strategy(name).from_document(parameters)
    for count in (0, len(finished) // 2):
        asked = (of, finished[:count], (), 2, of.seed)
        assert again.plan(*asked) == strategy.plan(*asked)
