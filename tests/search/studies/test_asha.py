"""``asha``: the best of many are run on, once each, and only where the rate is constant."""

import math
from typing import Any

import pytest
from pacesetter.protocol import Choice, ExperimentSpec, Parameter, Range
from pacesetter_search.studies import Finished, StudyStrategy, get_study_strategy
from pacesetter_search.studies.cells import Cell

from tests.search.studies.specs import LR, best, run, spec
from tests.search.studies.truth import Truth, cost

STEPS = Range(low=30, high=270, integer=True)


def asha(**parameters: Any) -> StudyStrategy:
    return get_study_strategy("asha").from_document(parameters)


def wanted(seed: int = 0, **changes: Any) -> ExperimentSpec:
    fixed = {"batch": 16, "width": 64, "schedule": "constant"}
    about: dict[str, Any] = {"fixed": fixed, "max_trials": 27, "seed": seed}
    return spec({"lr": LR, "steps": STEPS}, **{**about, **changes})


def by_steps(found: list[Finished]) -> dict[object, list[Finished]]:
    rungs: dict[object, list[Finished]] = {}
    for one in found:
        rungs.setdefault(one.parameters["steps"], []).append(one)
    return rungs


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_third_of_each_rung_is_run_on_and_each_point_once(at_once: int) -> None:
    found = run(asha(), wanted(), Truth(by_steps=0.0).loss, at_once=at_once, cost=cost)
    rungs = by_steps(found)
    assert set(rungs) == {30, 90, 270}
    assert len(rungs[30]) == 18
    assert 5 <= len(rungs[90]) <= 8
    assert 1 <= len(rungs[270]) <= 3
    for steps, below in ((90, 30), (270, 90)):
        points = [one.parameters["lr"] for one in rungs[steps]]
        assert len(points) == len(set(points))
        assert set(points) <= {one.parameters["lr"] for one in rungs[below]}


def test_the_best_point_reaches_the_top_and_is_better_than_random_ones_of_the_same_flops() -> None:
    regrets: dict[str, float] = {"asha": 0.0, "random": 0.0}
    for seed in range(10):
        truth = Truth(seed=seed, by_steps=0.0, scatter=0.0)
        found = run(asha(), wanted(seed), truth.loss, cost=cost)
        flops = math.fsum(one.cost.flops for one in found)
        whole = spec({"lr": LR}, fixed={**wanted().fixed, "steps": 270}, max_flops=flops, seed=seed)
        drawn = run(get_study_strategy("random").from_document({}), whole, truth.loss, cost=cost)
        for name, each in (("asha", by_steps(found)[270]), ("random", drawn)):
            chosen = best(each)
            lr = math.log2(float(chosen.parameters["lr"]))
            regrets[name] += truth.regret(Cell(64.0, 1.0, 270.0, 16.0), lr) / 10
    assert regrets["asha"] < 0.006
    assert regrets["asha"] < 0.8 * regrets["random"]


def test_what_diverged_or_failed_is_not_run_on() -> None:
    points = [2.0**-4, 2.0**-5, 2.0**-6]
    found = [
        Finished(1, {"lr": points[0], "steps": 30}, None, cost({"steps": 30})),
        Finished(2, {"lr": points[1], "steps": 30}, 2.0, cost({"steps": 30}), "failed"),
        Finished(3, {"lr": points[2], "steps": 30}, 3.0, cost({"steps": 30})),
        Finished(4, {"lr": 2.0**-7, "steps": 30}, 3.1, cost({"steps": 30})),
    ]
    (plan,) = asha().plan(wanted(), found, (), 1, 0)
    assert plan.parameters == {"lr": points[2], "steps": 90}
    assert plan.why == "among the best of 3 at 30 steps: run on"
    # With two results nothing is among the best third of them.
    (fresh,) = asha().plan(wanted(), found[:3], (), 1, 0)
    assert fresh.parameters["steps"] == 30


def test_a_point_that_is_being_run_on_is_not_run_on_again() -> None:
    found = [
        Finished(number, {"lr": 2.0**-number, "steps": 30}, float(number), cost({"steps": 30}))
        for number in (4, 5, 6)
    ]
    (first,) = asha().plan(wanted(), found, (), 1, 0)
    (second,) = asha().plan(wanted(), found, (first,), 1, 0)
    assert first.parameters == {"lr": 2.0**-4, "steps": 90}
    assert second.parameters["steps"] == 30


@pytest.mark.parametrize("schedule", ["cosine", "wsd", None])
def test_a_schedule_that_decays_is_refused_with_the_reason(schedule: str | None) -> None:
    fixed = {} if schedule is None else {"schedule": schedule}
    (obstacle,) = asha().obstacles(wanted(fixed=fixed))
    assert f"'schedule' is {schedule!r}, and asha compares runs before they have ended" in obstacle
    assert "a high rate looks worse until its decay" in obstacle
    assert "choose the strategy rungs" in obstacle


def test_a_schedule_that_is_searched_is_refused() -> None:
    space: dict[str, Parameter] = {
        "lr": LR,
        "steps": STEPS,
        "schedule": Choice(values=("constant", "cosine")),
    }
    (obstacle,) = asha().obstacles(spec(space))
    assert obstacle.startswith("'schedule' is in the space")


def test_steps_of_which_there_are_no_two_are_refused() -> None:
    fixed = {"schedule": "constant"}
    assert any("no two values of 'steps'" in one for one in asha().obstacles(spec(fixed=fixed)))
    short = {"lr": LR, "steps": Range(low=30, high=80, integer=True)}
    (obstacle,) = asha().obstacles(spec(short, fixed=fixed))
    assert "3 times as long as its shortest" in obstacle
    assert not list(asha(eta=2).obstacles(spec(short, fixed=fixed)))
    assert not list(asha().obstacles(wanted()))
