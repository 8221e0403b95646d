"""``fidelity``: where it spends, that it keeps its budget, what it refuses, and how near it comes."""

import math
import random
from functools import cache
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Choice, Cost, ExperimentSpec, Parameter, TrialPlan, Workload
from pacesetter_search.studies import Finished, StudyStrategy, get_study_strategy, transfer_study
from pacesetter_search.studies.cells import Place
from pacesetter_search.transfer.peak import Z90

from tests.search.studies.specs import LR, mixed, run, spec
from tests.search.studies.truth import TARGET, Truth, cost

PLACE = {"width": 256, "steps": 1200}
WHOLE = cost({"width": 256, "steps": 1200, "batch": 16}).flops
ALL = ((32, 64, 128, 256), (75, 150, 300, 600, 1200))


def fidelity(**parameters: Any) -> StudyStrategy:
    return get_study_strategy("fidelity").from_document(
        {"target": PLACE, "target_flops": WHOLE, **parameters}
    )


def wanted(widths: tuple[int, ...], steps: tuple[int, ...], **changes: Any) -> ExperimentSpec:
    space: dict[str, Parameter] = {
        "lr": LR,
        "width": Choice(values=widths),
        "steps": Choice(values=steps),
    }
    about = {
        "fixed": {"batch": 16, "parametrization": "mup"},
        "max_trials": 200,
        "regime": "pretrain",
    }
    return spec(space, **{**about, **changes})


def studied(of: ExperimentSpec, truth: Truth) -> tuple[float, float, list[Finished]]:
    """Error and sd of the target's best peak, in octaves, and the trials."""
    found = run(fidelity(), of, truth.loss, at_once=2, cost=cost)
    peak = transfer_study(of, found, Place.model_validate(PLACE)).peak
    return peak.mean - truth.optimum(TARGET), peak.sd, found


def rms(errors: list[float]) -> float:
    return math.sqrt(sum(error**2 for error in errors) / len(errors))


@pytest.mark.slow
def test_a_mixed_study_comes_nearer_than_narrow_and_short_ones_at_the_same_flops() -> None:
    """At 15 % of one run of the target, on four landscapes; random points at that price are two or three trials."""
    errors: dict[str, list[float]] = {"mixed": [], "narrow": [], "short": [], "random": []}
    spaces = {"mixed": ALL, "narrow": ((32, 64), (1200,)), "short": ((256,), (19, 38, 75))}
    held = 0
    for seed in range(4):
        truth = Truth(seed=seed)
        for name, (widths, steps) in spaces.items():
            error, sd, _ = studied(wanted(widths, steps, seed=seed), truth)
            errors[name].append(error)
            held += name == "mixed" and abs(error) < Z90 * sd
        of = wanted(*ALL, seed=seed, max_flops=0.15 * WHOLE)
        drawn = run(get_study_strategy("random").from_document({}), of, truth.loss, cost=cost)
        peak = transfer_study(of, drawn, Place.model_validate(PLACE)).peak
        errors["random"].append(peak.mean - truth.optimum(TARGET))
    assert rms(errors["mixed"]) < 0.3
    assert rms(errors["mixed"]) < rms(errors["narrow"]) + 0.05
    assert rms(errors["mixed"]) < 0.5 * rms(errors["short"])
    assert rms(errors["mixed"]) < 0.3 * rms(errors["random"])
    assert held == 4


def test_no_more_than_its_share_is_spent_whatever_runs_at_once() -> None:
    for at_once in (1, 5):
        of, truth = wanted(*ALL), Truth(seed=4)
        found = run(fidelity(), of, truth.loss, at_once=at_once, cost=cost)
        spent = math.fsum(one.cost.flops for one in found) / WHOLE
        assert 0.08 < spent <= 0.155


def test_the_cheapest_cell_is_swept_first_and_then_choices_say_what_they_are_worth() -> None:
    of, truth, plans = wanted(*ALL), Truth(seed=1), list[TrialPlan]()
    found: list[Finished] = []
    while planned := fidelity().plan(of, found, (), 1, of.seed):
        (plan,) = planned
        plans.append(plan)
        whole = {**of.fixed, **plan.parameters}
        found.append(Finished(len(found) + 1, whole, truth.loss(whole), cost(whole)))
    swept = [plan.parameters for plan in plans[:5]]
    assert {(each["width"], each["steps"]) for each in swept} == {(32, 75)}
    octaves = [math.log2(float(each["lr"])) for each in swept]
    assert octaves == pytest.approx([-9.3, -7.9, -6.5, -5.1, -3.7])
    weighed = [plan for plan in plans if "sd_after" in plan.numbers]
    assert len(weighed) > 5
    for plan in weighed:
        before, after = plan.numbers["sd_before"], plan.numbers["sd_after"]
        assert isinstance(before, float)
        assert isinstance(after, float)
        assert after < before
        assert f"from +-{before:.3f} to +-{after:.3f} octaves" in plan.why
        gain, other = plan.numbers["gain"], plan.numbers.get("next_gain", 0.0)
        assert isinstance(gain, float)
        assert isinstance(other, float)
        assert gain >= other
    assert len({(plan.parameters["width"], plan.parameters["steps"]) for plan in weighed}) >= 3


def test_a_target_that_is_known_well_enough_ends_the_study() -> None:
    strategy = fidelity(enough=0.6)
    found = run(strategy, wanted(*ALL), Truth(seed=1).loss, cost=cost)
    assert math.fsum(one.cost.flops for one in found) < 0.1 * WHOLE


def test_cells_that_only_diverge_are_given_up_and_the_next_larger_one_is_asked() -> None:
    of, truth = wanted(*ALL), Truth(seed=2)

    def loss(parameters: dict[str, Any]) -> float | None:
        return None if parameters["steps"] == 75 else truth.loss(parameters)

    found = run(fidelity(), of, loss, cost=cost)
    lost = [one for one in found if one.parameters["steps"] == 75]
    assert 3 <= len(lost) <= 30
    peak = transfer_study(of, found, Place.model_validate(PLACE)).peak
    assert abs(peak.mean - truth.optimum(TARGET)) < 0.6


SWEPT = [-9.3, -7.9, -6.5, -5.1, -3.7]


def octaves(found: list[Finished]) -> list[float]:
    return [math.log2(float(one.parameters["lr"])) for one in found]


def test_rates_that_diverge_are_part_of_the_sweep_and_not_repeated() -> None:
    of, truth = wanted(*ALL), Truth(seed=2)

    def loss(parameters: dict[str, Any]) -> float | None:
        return None if math.log2(parameters["lr"]) > -5.5 else truth.loss(parameters)

    found = run(fidelity(), of, loss, cost=cost)
    assert octaves(found)[:5] == pytest.approx(SWEPT)
    lost = [str(one.parameters) for one in found if one.loss is None]
    assert 2 <= len(lost) == len(set(lost))


def test_a_cell_in_which_most_rates_diverged_was_heard_all_the_same() -> None:
    of, truth = wanted(*ALL), Truth(seed=2)

    def loss(parameters: dict[str, Any]) -> float | None:
        return None if math.log2(parameters["lr"]) > -8.5 else truth.loss(parameters)

    found = run(fidelity(), of, loss, cost=cost)
    assert {(one.parameters["width"], one.parameters["steps"]) for one in found[:6]} == {(32, 75)}
    assert octaves(found)[5] < -8.0


@pytest.mark.parametrize("at_once", [1, 5])
def test_a_rate_that_fails_is_not_repeated_and_the_others_of_the_sweep_are_run(
    at_once: int,
) -> None:
    of, truth, found = wanted(*ALL, max_trials=15), Truth(seed=2), list[Finished]()
    while planned := fidelity().plan(of, found, (), at_once, of.seed):
        for plan in planned:
            whole = {**of.fixed, **plan.parameters}
            fails = plan.parameters["steps"] == 75 and float(plan.parameters["lr"]) < 2.0**-9
            loss = None if fails else truth.loss(whole)
            status: Literal["done", "failed"] = "failed" if fails else "done"
            found.append(Finished(len(found) + 1, whole, loss, cost(whole), status))
    assert octaves(found)[:5] == pytest.approx(SWEPT)
    assert sum(one.status == "failed" for one in found) == 1


def test_trials_that_fail_and_report_nothing_end_in_max_trials() -> None:
    of = wanted(*ALL, max_trials=30)
    found = run(fidelity(), of, lambda _: None, cost=lambda _: Cost())
    assert len(found) <= 30


@cache
def ten() -> tuple[Finished, ...]:
    """Trials of a study that has begun to weigh."""
    return tuple(run(fidelity(), wanted(*ALL, max_trials=10), Truth(seed=3).loss, cost=cost))


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_neither_the_order_of_ended_trials_nor_a_second_question_changes_the_plan(
    shuffling: random.Random, most: int
) -> None:
    of, found = wanted(*ALL), list(ten())
    first = fidelity().plan(of, found, (), most, of.seed)
    shuffling.shuffle(found)
    assert fidelity().plan(of, found, (), most, of.seed) == first


def test_pending_trials_are_counted_as_if_they_had_told() -> None:
    of, found = wanted(*ALL), ten()
    (first,) = fidelity().plan(of, found, (), 1, of.seed)
    (second,) = fidelity().plan(of, found, (first,), 1, of.seed)
    assert second.parameters != first.parameters
    both = fidelity().plan(of, found, (), 2, of.seed)
    assert both[0] == first


@pytest.mark.parametrize(
    ("changes", "parameters", "message"),
    [
        ({"space": mixed()}, {}, "the target does not say depth, batch"),
        ({"space": {"lr": LR}}, {"target": {}}, "leaves one cell"),
        ({"fixed": {"batch": 16}, "space": {"lr": LR}}, {}, "the target says width, steps, which"),
        ({"space": {"width": Choice(values=(32, 64))}}, {}, "no range 'lr'"),
        ({"space": {"lr": LR, "beta": LR}}, {}, "beta in the space is neither"),
        ({"space": {"lr": LR, "width": Choice(values=("a", "b"))}}, {}, "width is 'a'"),
        ({}, {"share": 0.001}, "5 runs of the cheapest cell take"),
        (
            {
                "workload": Workload(parametrization="mup"),
                "fixed": {"batch": 16, "parametrization": "standard"},
            },
            {},
            "say the same in both",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_with_what_to_change(
    changes: dict[str, Any], parameters: dict[str, Any], message: str
) -> None:
    of = wanted(*ALL).model_copy(update=changes)
    obstacles = list(fidelity(**parameters).obstacles(of))
    assert any(message in one for one in obstacles)


def test_what_can_be_planned_has_no_obstacles() -> None:
    assert not list(fidelity().obstacles(wanted(*ALL)))


def test_without_mup_the_width_moves_the_best_rate_and_the_answer_with_it() -> None:
    fixed = {"batch": 16, "parametrization": "standard"}
    of, truth = wanted(*ALL, fixed=fixed), Truth(seed=5, by_width=-1.1, best=-8.5)
    error, sd, found = studied(of, truth)
    assert abs(error) < min(0.8, Z90 * sd)
    # A long way in width is a wide interval, and so wide models are asked, where muP lets narrow ones speak.
    widest = max(float(one.parameters["width"]) for one in found)
    assert widest >= 64.0
