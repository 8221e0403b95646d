"""``gp``: a cover first, then what promises most; pending trials kept away from, bad ones no end of the world."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Choice, ExperimentSpec, Parameter, Range
from pacesetter_search.studies import Finished, StudyStrategy, get_study_strategy
from pacesetter_search.studies.cells import Cell
from pacesetter_search.studies.gp import encoded
from pacesetter_search.studies.improvement import Improvement
from pacesetter_search.studies.random_search import covering
from pacesetter_search.studies.space import Space

from tests.search.studies.specs import LR, best, ended, mixed, plans, run, spec
from tests.search.studies.truth import Truth, cost

CELL = Cell(64.0, 1.0, 300.0, 16.0)


def gp() -> StudyStrategy:
    return get_study_strategy("gp").from_document({})


def wanted(max_trials: int = 10, seed: int = 0) -> ExperimentSpec:
    fixed = {"steps": 300, "width": 64, "batch": 16}
    return spec({"lr": LR}, fixed=fixed, max_trials=max_trials, seed=seed)


def test_it_begins_with_points_that_cover_the_space() -> None:
    of = wanted()
    assert [plan.parameters for plan in plans(gp(), of, 4)] == (
        covering(Space.of(of.space), 4, of.seed)
    )


@pytest.mark.slow
def test_it_finds_the_best_rate_nearer_than_random_at_equal_trials() -> None:
    regrets = {"gp": 0.0, "random": 0.0}
    for seed in range(6):
        truth = Truth(seed=seed)
        for name in regrets:
            strategy = get_study_strategy(name).from_document({})
            found = run(strategy, wanted(10, seed), truth.loss, at_once=2, cost=cost)
            lr = math.log2(float(best(found).parameters["lr"]))
            regrets[name] += truth.regret(CELL, lr) / 6
    assert regrets["gp"] < 0.002
    assert regrets["gp"] < 0.7 * regrets["random"]


@pytest.mark.slow
def test_a_mixed_space_is_searched_better_than_by_random() -> None:
    space: dict[str, Parameter] = {
        "lr": LR,
        "batch": Choice(values=(8, 16, 32)),
        "width": Range(low=32, high=256, integer=True),
    }
    losses = {"gp": 0.0, "random": 0.0}
    for seed in range(2):
        truth = Truth(seed=seed)
        of = spec(space, fixed={"steps": 300}, max_trials=20, seed=seed)
        for name in losses:
            found = run(
                get_study_strategy(name).from_document({}), of, truth.loss, at_once=4, cost=cost
            )
            losses[name] += (best(found).score or math.inf) / 2
            assert all(isinstance(one.parameters["width"], int) for one in found)
    assert losses["gp"] < losses["random"] - 0.02


def some(count: int = 7) -> list[Finished]:
    truth, of = Truth(seed=1), wanted()
    points = [plan.parameters for plan in plans(gp(), of, count)]
    return [
        ended(number, truth.loss({**of.fixed, **point}), point)
        for number, point in enumerate(points, 1)
    ]


def test_pending_trials_are_kept_away_from_and_a_batch_spreads() -> None:
    of, found = wanted(30), some()
    (first,) = gp().plan(of, found, (), 1, of.seed)
    (second,) = gp().plan(of, found, (first,), 1, of.seed)

    def log2(value: object) -> float:
        return math.log2(float(str(value)))

    assert abs(log2(first.parameters["lr"]) - log2(second.parameters["lr"])) > 0.05
    batch = gp().plan(of, found, (), 3, of.seed)
    assert batch[0] == first
    rates = sorted(log2(plan.parameters["lr"]) for plan in batch)
    assert min(rates[1] - rates[0], rates[2] - rates[1]) > 0.05
    assert batch[0].why.startswith("the model of 7 trials expects it")


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_trials_ended_changes_nothing(shuffling: random.Random) -> None:
    of, found = wanted(30), some()
    first = gp().plan(of, found, (), 1, of.seed)
    shuffling.shuffle(found)
    assert gp().plan(of, found, (), 1, of.seed) == first


def test_a_diverged_trial_is_kept_away_from_and_does_not_flatten_the_rest() -> None:
    of, found = wanted(30), some()
    lost = [*found, ended(8, None, {"lr": 2.0**-3.1})]
    (plan,) = gp().plan(of, lost, (), 1, of.seed)
    assert abs(math.log2(float(plan.parameters["lr"])) - Truth().optimum(CELL)) < 1.0
    (huge,) = gp().plan(of, [*found, ended(8, 1e9, {"lr": 2.0**-3.1})], (), 1, of.seed)
    assert abs(math.log2(float(huge.parameters["lr"])) - Truth().optimum(CELL)) < 1.0


def test_until_two_trials_have_ended_well_the_cover_goes_on() -> None:
    of = wanted(30)
    points = covering(Space.of(of.space), 12, of.seed)
    lost = [ended(number, None, point) for number, point in enumerate(points[:9], 1)]
    assert [plan.parameters for plan in gp().plan(of, lost, (), 3, of.seed)] == points[9:]


def test_a_finite_space_is_tried_out_and_then_the_experiment_is_over() -> None:
    space: dict[str, Parameter] = {
        "a": Choice(values=(1, 2, 3)),
        "b": Range(low=1, high=3, integer=True),
    }
    found = run(gp(), spec(space, max_trials=50), lambda p: float(p["a"]) * float(p["b"]))
    assert len({(one.parameters["a"], one.parameters["b"]) for one in found}) == len(found) == 9


def test_points_are_encoded_where_they_are_after_rounding_and_choices_one_hot() -> None:
    space = Space.of(mixed())
    row = encoded(space, {"lr": 2.0**-6.5, "batch": 16, "depth": 4})
    half = 2.0**-0.5
    assert row == pytest.approx([0.0, half, 0.0, 0.6, 0.5])
    other = encoded(space, {"lr": 2.0**-6.5, "batch": 32, "depth": 4})
    assert float(np.linalg.norm(row - other)) == pytest.approx(1.0)


def test_improvement_is_greatest_between_the_best_two_and_small_beside_a_pending_one() -> None:
    points = np.array([[0.0], [0.25], [0.5], [0.75], [1.0]])
    model = Improvement(points, np.array([2.0, 0.2, -1.0, -0.6, 1.5]), seed=0)
    grid = np.linspace(0.0, 1.0, 101)[:, None]
    free = model.values(grid, np.zeros((0, 1)))
    place = float(grid[int(np.argmax(free)), 0])
    assert 0.5 < place < 0.75
    held = model.values(grid, np.array([[place]]))
    assert held[int(np.argmax(free))] < free.max() - 0.1
    assert abs(float(grid[int(np.argmax(held)), 0]) - place) > 0.02
    mean, sd = model.expected(np.array([0.5]))
    assert mean == pytest.approx(-1.0, abs=0.3)
    assert sd < 0.5


def test_hundreds_of_trials_are_weighed_within_memory() -> None:
    """Sixty-four of them are what an improvement is over; the best is among those."""
    places = np.linspace(0.0, 1.0, 300)[:, None]
    losses = 8.0 * np.square(places[:, 0] - 0.6) - 1.0
    model = Improvement(places, losses + 0.05 * np.cos(97.0 * np.arange(300)), seed=0)
    grid = np.linspace(0.0, 1.0, 51)[:, None]
    values = model.values(grid, np.zeros((0, 1)))
    assert float(grid[int(np.argmax(values)), 0]) == pytest.approx(0.6, abs=0.06)


def test_more_than_a_process_can_model_is_refused() -> None:
    (many,) = gp().obstacles(wanted(1001))
    assert "`max_trials` is 1001, and a Gaussian process of more than 1000 trials" in many
    wide: dict[str, Parameter] = {"lr": LR, "token": Choice(values=tuple(range(100)))}
    (obstacle,) = gp().obstacles(spec(wide))
    assert "make 101 dimensions" in obstacle
    assert not list(gp().obstacles(wanted(1000)))
