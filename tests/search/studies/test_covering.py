"""``grid`` and ``random``: all cells once, even cover, whatever is asked at a time."""

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Choice, Parameter, Range, TrialPlan, Value
from pacesetter_search.studies import get_study_strategy
from pacesetter_search.studies.grid import Grid
from pacesetter_search.studies.random_search import covering, sobol
from pacesetter_search.studies.space import Space, levels, point_at
from pydantic import ValidationError

from tests.search.studies.specs import LR, ended, mixed, plans, run, spec


def grid(**parameters: object) -> Grid:
    strategy = Grid.from_document(parameters)
    assert isinstance(strategy, Grid)
    return strategy


def test_a_grid_has_every_cell_once() -> None:
    of = spec(mixed(), max_trials=54)
    planned = plans(grid(points=3), of, 100)
    cells = {tuple(plan.parameters[name] for name in ("lr", "batch", "depth")) for plan in planned}
    assert len(planned) == len(cells) == 27
    assert {cell[0] for cell in cells} == {2.0**-10, 2.0**-6.5, 2.0**-3}
    assert {cell[2] for cell in cells} == {1, 4, 6}
    assert planned[4].why == "cell 5 of the 27 of the grid"
    assert planned[4].numbers == {"cell": 5, "cells": 27}


def test_points_are_given_by_name() -> None:
    of = spec(mixed(), max_trials=63)
    planned = plans(grid(points={"lr": 7, "depth": 2}), of, 63)
    assert len({plan.parameters["lr"] for plan in planned}) == 7
    assert len(planned) == 7 * 3 * 2


def test_a_grid_with_more_cells_than_trials_is_refused_with_what_to_do() -> None:
    (obstacle,) = grid(points=7).obstacles(spec(mixed(), max_trials=100))
    # Seven points of six whole numbers are six.
    assert obstacle.startswith("a grid of 3 x 6 x 7 = 126 cells is more than the 100 trials")
    assert "give ranges fewer values" in obstacle
    assert not list(grid(points=7).obstacles(spec(mixed(), max_trials=126)))


def test_a_grid_is_refused_without_making_more_of_it_than_shows_that_it_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Parameter] = []

    def counted(parameter: Parameter, points: int) -> tuple[Value, ...]:
        asked.append(parameter)
        return levels(parameter, points)

    monkeypatch.setattr("pacesetter_search.studies.grid.levels", counted)
    space: dict[str, Parameter] = {f"p{index:03}": LR for index in range(100)}
    (obstacle,) = grid(points=200).obstacles(spec(space, max_trials=10_000))
    assert obstacle.startswith("a grid of 200 x 200 x ... = 40000 cells or more is more than the")
    assert len(asked) == 2


def test_points_of_what_is_no_range_are_refused() -> None:
    (obstacle,) = grid(points={"batch": 2}).obstacles(spec(mixed(), max_trials=200))
    assert (
        "`points` names batch, which is no range of the space; its ranges are depth, lr" in obstacle
    )


def test_no_points_are_refused() -> None:
    with pytest.raises(ValidationError, match="points"):
        grid(points=0)


def test_a_grid_cut_short_covers_the_space() -> None:
    of = spec({"lr": LR}, max_trials=64)
    first = [plan.parameters["lr"] for plan in plans(grid(points=64), of, 16)]
    octaves = sorted(math.log2(float(lr)) for lr in first)
    assert octaves[0] < -9.0
    assert octaves[-1] > -4.0


def test_random_points_cover_every_part_of_a_range() -> None:
    drawn = covering(Space.of({"lr": LR}), 16, seed=1)
    sixteenths = {int(16 * (math.log2(float(one["lr"])) + 10.0) / 7.0) for one in drawn}
    assert sixteenths == set(range(16))


def test_more_points_begin_like_fewer() -> None:
    space = Space.of(mixed())
    assert covering(space, 40, seed=5)[:9] == covering(space, 9, seed=5)
    assert covering(space, 9, seed=6) != covering(space, 9, seed=5)
    np.testing.assert_array_equal(sobol(3, 6, 2)[:8], sobol(3, 3, 2))


def test_a_finite_space_is_tried_out_and_then_the_experiment_is_over() -> None:
    of = spec({"a": Choice(values=(1, 2, 3)), "b": Choice(values=("x", "y"))}, max_trials=50)
    strategy = get_study_strategy("random").from_document({})
    finished = run(strategy, of, lambda _: 1.0, at_once=4)
    assert len({(one.parameters["a"], one.parameters["b"]) for one in finished}) == 6
    assert len(finished) == 6


def test_nothing_to_search_is_one_trial() -> None:
    strategy = get_study_strategy("random").from_document({})
    assert len(run(strategy, spec({}), lambda _: 1.0)) == 1
    assert len(run(grid(), spec({}), lambda _: 1.0)) == 1


def test_whole_numbers_that_fall_together_are_drawn_once() -> None:
    steps = Range(low=1, high=100_000, integer=True)
    drawn = covering(Space.of({"steps": steps}), 2_000, seed=0)
    assert len({one["steps"] for one in drawn}) == 2_000


@pytest.mark.parametrize(
    ("high", "scale", "count"), [(1.0 + 2**-51, "log2", 3), (1.0 + 2**-52, "linear", 2)]
)
def test_a_range_of_a_few_floats_is_tried_out(
    high: float, scale: Literal["log2", "linear"], count: int
) -> None:
    narrow = Range(low=1.0, high=high, scale=scale)
    assert len({one["lr"] for one in covering(Space.of({"lr": narrow}), 10, seed=0)}) == count
    of = spec({"lr": narrow}, max_trials=10)
    assert len(run(get_study_strategy("random").from_document({}), of, lambda _: 1.0)) == count


@settings(deadline=None)
@given(st.sampled_from(["grid", "random"]), st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_however_plans_are_asked_for_they_are_the_same(name: str, cuts: list[int]) -> None:
    strategy = get_study_strategy(name).from_document({"points": 4} if name == "grid" else {})
    of = spec(mixed(), max_trials=48)
    whole = [plan.parameters for plan in plans(strategy, of, sum(cuts))]
    pieces: list[TrialPlan] = []
    for cut in cuts:
        # Half of what was planned has ended, which makes no difference.
        half = len(pieces) // 2
        done = [ended(n + 1, 1.0, plan.parameters) for n, plan in enumerate(pieces[:half])]
        pieces.extend(strategy.plan(of, done, pieces[half:], cut, of.seed))
    assert [plan.parameters for plan in pieces] == whole


def test_only_the_points_that_are_asked_for_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(space: Space, index: int) -> dict[str, Value]:
        made.append(index)
        return point_at(space, index)

    monkeypatch.setattr("pacesetter_search.studies.random_search.point_at", counted)
    of = spec({f"use_{each}": Choice(values=(False, True)) for each in range(16)}, max_trials=9999)
    strategy = get_study_strategy("random").from_document({})
    first = plans(strategy, of, 64)
    second = strategy.plan(of, (), first, 64, of.seed)
    assert len(made) == len(set(made)) == 128
    # Of all 65,536 in one go, the first are the same.
    order = np.random.default_rng(of.seed).permutation(65_536)
    assert made == order[:128].tolist()
    assert second[0].why == "point 65 of a sequence that covers the space evenly"
