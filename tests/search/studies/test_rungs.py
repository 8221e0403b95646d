"""``rungs``: whole schedules at rising horizons, narrower and narrower, following the drift."""

import math
from typing import Literal

import pytest
from pacesetter.protocol import Choice, ExperimentSpec, Parameter, Range
from pacesetter_search.studies import Finished, StudyStrategy, get_study_strategy, transfer_study
from pacesetter_search.studies.cells import Cell, Place
from pacesetter_search.transfer.peak import Z90

from tests.search.studies.specs import LR, best, plans, run, spec
from tests.search.studies.truth import Truth, cost

TARGET = Cell(64.0, 1.0, 1200.0, 16.0)


def rungs(**parameters: int) -> StudyStrategy:
    return get_study_strategy("rungs").from_document({**parameters})


def wanted(max_trials: int = 40, lr: Parameter = LR, seed: int = 0) -> ExperimentSpec:
    return spec(
        {"lr": lr, "steps": Choice(values=(600, 150, 75, 300))},
        fixed={"batch": 16, "width": 64, "parametrization": "mup"},
        max_trials=max_trials,
        regime="pretrain",
        seed=seed,
    )


def rates(found: list[Finished], steps: int) -> list[float]:
    return [
        math.log2(float(one.parameters["lr"])) for one in found if one.parameters["steps"] == steps
    ]


def test_horizons_rise_and_the_rates_narrow() -> None:
    found = run(rungs(), wanted(), Truth(seed=3).loss, at_once=2, cost=cost)
    steps = [one.parameters["steps"] for one in found]
    assert steps == sorted(steps, key=float)
    assert rates(found, 75) == pytest.approx([-10 + 7 * place / 6 for place in range(7)])
    assert len(found) < 20
    for later in (150, 300, 600):
        assert max(rates(found, later)) - min(rates(found, later)) <= 4.0


def test_a_rung_begins_when_the_shorter_one_has_ended() -> None:
    of, strategy = wanted(), rungs()
    first = plans(strategy, of, 40)
    assert len(first) == 7
    assert not strategy.plan(of, (), first, 40, of.seed)
    truth = Truth(seed=3)
    whole = [{**of.fixed, **plan.parameters} for plan in first]
    done = [
        Finished(number, each, truth.loss(each), cost(each)) for number, each in enumerate(whole, 1)
    ]
    assert not strategy.plan(of, done[:6], first[6:], 40, of.seed)
    second = strategy.plan(of, done, (), 40, of.seed)
    assert [plan.parameters["steps"] for plan in second] == [150, 150, 150]
    assert second[0].why.startswith("shorter rungs put the best rate at steps 150 at 0.0")
    # The middle of the next rung lies below the best of the first: the drift is expected.
    assert second[0].numbers["drift"] == pytest.approx(-0.29, abs=0.01)


def test_the_best_rate_at_a_longer_horizon_is_found_for_less_than_by_random_trials() -> None:
    errors, missed, saved, held = [], [], [], 0
    for seed in range(5):
        truth, of = Truth(seed=seed), wanted(seed=seed)
        found = run(rungs(), of, truth.loss, cost=cost)
        peak = transfer_study(of, found, Place(steps=1200)).peak
        errors.append(abs(peak.mean - truth.optimum(TARGET)))
        held += errors[-1] < Z90 * peak.sd
        drawn = run(
            get_study_strategy("random").from_document({}),
            wanted(len(found), seed=seed),
            truth.loss,
            cost=cost,
        )
        lr = float(best(drawn).parameters["lr"])
        missed.append(abs(math.log2(lr) - truth.optimum(TARGET)))
        flops = [math.fsum(one.cost.flops for one in each) for each in (found, drawn)]
        saved.append(1.0 - flops[0] / flops[1])
    assert sum(errors) / 5 < 0.25
    assert sum(errors) < 0.7 * sum(missed)
    assert sum(saved) / 5 > 0.08
    assert held == 5


def test_a_rung_whose_best_rate_is_at_its_end_goes_on_beyond() -> None:
    """The best rate rises with the horizon, against what is believed."""
    truth = Truth(by_steps=0.9, noise=0.002, best=-4.2)
    found = run(rungs(), wanted(), truth.loss, cost=cost)
    assert len(found) > 16
    assert max(rates(found, 600)) > max(rates(found, 150))


@pytest.mark.parametrize("end", [-10.0, -3.0])
def test_the_rate_at_the_end_of_a_rung_is_not_run_again_where_it_failed(end: float) -> None:
    of, truth, found = wanted(), Truth(seed=3, best=end, by_steps=0.0), list[Finished]()
    while planned := rungs().plan(of, found, (), 4, of.seed):
        for plan in planned:
            whole = {**of.fixed, **plan.parameters}
            fails = math.log2(float(plan.parameters["lr"])) == pytest.approx(end)
            loss = None if fails else truth.loss(whole)
            status: Literal["done", "failed"] = "failed" if fails else "done"
            found.append(Finished(len(found) + 1, whole, loss, cost(whole), status))
    assert len(rates(found, 75)) == 7
    assert [one.status for one in found if one.parameters["steps"] == 75].count("failed") == 1
    assert len({one.parameters["steps"] for one in found}) == 4


def test_everything_diverged_goes_on_below_and_ends() -> None:
    narrow = Range(low=2.0**-4, high=2.0**-1)
    found = run(rungs(), wanted(lr=narrow), lambda _: None, cost=cost)
    assert len(found) <= 40


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (wanted(15), "4 rungs take 16 trials or more, and `max_trials` is 15"),
        (spec({"lr": LR}), "no two values of 'steps'"),
        (spec({"steps": Choice(values=(1, 2))}), "no range 'lr'"),
        (
            spec({"lr": LR, "steps": Choice(values=(1, 2)), "width": Choice(values=(1, 2))}),
            "width is in the space, and rungs differ in learning rate and steps alone",
        ),
    ],
)
def test_what_is_no_ladder_is_refused(of: ExperimentSpec, message: str) -> None:
    assert any(message in one for one in rungs().obstacles(of))


def test_a_ladder_has_no_obstacles() -> None:
    assert not list(rungs().obstacles(wanted(16)))
