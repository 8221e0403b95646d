"""Cells: what tells them apart, and what cannot."""

import pytest
from pacesetter.protocol import Choice, Cost, Parameter, Range
from pacesetter_search.studies import Finished
from pacesetter_search.studies.cells import Cell, Names, Place, by_cell, values_of
from pacesetter_search.studies.choosing import cells_of, exact

from tests.search.studies.specs import LR, ended, mixed, spec

NAMES = Names()


def test_trials_that_differ_in_their_rate_alone_are_of_one_cell() -> None:
    trials = [
        ended(3, 2.0, {"lr": 0.01, "width": 64, "steps": 300}),
        ended(1, 2.1, {"lr": 0.02, "width": 64, "steps": 300}),
        ended(2, 2.2, {"lr": 0.02, "width": 32, "steps": 300}),
        Finished(4, {"lr": 0.04, "width": 32, "steps": 300}, None, Cost(), "failed"),
    ]
    cells = by_cell(trials, NAMES)
    assert list(cells) == [Cell(32.0, 1.0, 300.0), Cell(64.0, 1.0, 300.0)]
    assert [one.number for one in cells[Cell(64.0, 1.0, 300.0)]] == [1, 3]


def test_parameters_go_by_the_names_that_the_proxy_has() -> None:
    names = Names(width="d_model", steps="iterations")
    cell = Cell.of({"d_model": 64, "iterations": 10, "width": 7}, names)
    assert cell == Cell(width=64.0, steps=10.0)
    assert cell.words(names, ["iterations", "lr"]) == "iterations 10"
    assert cell.words(names, ["lr"]) == "the model as it is"


@pytest.mark.parametrize("value", [True, "wide", 0, -3.0])
def test_what_tells_cells_apart_is_a_number_above_0(value: bool | str | float) -> None:
    with pytest.raises(ValueError, match=r"width is .*; where trials are told apart by it"):
        Cell.of({"width": value}, NAMES)


def test_a_target_has_what_is_fixed_where_it_says_nothing() -> None:
    of = spec(fixed={"batch": 16, "steps": 300, "seed": 4})
    assert Place(steps=1200).cell(of, NAMES) == Cell(steps=1200.0, batch=16.0)


def test_a_target_that_is_not_among_what_trials_have_is_refused() -> None:
    of = spec({"lr": LR, "width": Choice(values=(32, 64))}, fixed={"batch": 16})
    with pytest.raises(ValueError, match="the target does not say width, which the space has"):
        Place(batch=32).cell(of, NAMES)
    with pytest.raises(ValueError, match="the target says steps, which no trial has"):
        Place(width=64, steps=100).cell(of, NAMES)


def test_a_range_is_tried_by_octaves() -> None:
    assert values_of(Range(low=32, high=256, integer=True)) == (32, 64, 128, 256)
    assert values_of(Choice(values=(10, 11))) == (10, 11)


def test_cells_of_a_space_are_every_combination() -> None:
    of = spec(
        {"lr": LR, "width": Choice(values=(64, 32)), "steps": Range(low=10, high=40, integer=True)},
        fixed={"batch": 8},
    )
    cells = cells_of(of, NAMES)
    assert len(cells) == 6
    assert cells[0] == Cell(32.0, 1.0, 10.0, 8.0)
    assert exact(cells[0], "width", "width", of) == 32
    assert isinstance(exact(cells[0], "steps", "steps", of), int)


def test_schedules_below_one_step_are_refused() -> None:
    names = Names(steps="epochs")
    of = spec({"lr": LR, "epochs": Choice(values=(0.25, 0.5, 1))})
    with pytest.raises(
        ValueError, match=r"epochs is 0.25, and a schedule has one step or more; give it"
    ):
        cells_of(of, names)
    with pytest.raises(ValueError, match=r"epochs is 0.5, and a schedule"):
        Place(steps=0.5).cell(of, names)
    assert len(cells_of(spec({"lr": LR, "epochs": Choice(values=(1, 2.5))}), names)) == 2


@pytest.mark.parametrize("width", [1e300, 1e-300, 1e16])
def test_places_whose_powers_are_no_floats_are_refused(width: float) -> None:
    of = spec({"lr": LR, "width": Choice(values=(32, 64))})
    with pytest.raises(ValueError, match="it lies between 1e-15 and 1e"):
        Place(width=width).cell(of, NAMES)
    with pytest.raises(ValueError, match="it lies between 1e-15 and 1e"):
        cells_of(spec({"lr": LR, "width": Choice(values=(32, width))}), NAMES)


def test_anything_else_in_the_space_is_refused() -> None:
    of = spec({**mixed(), "dropout": Range(low=0.1, high=0.5)}, max_trials=9)
    with pytest.raises(ValueError, match="dropout in the space is neither the learning rate nor"):
        cells_of(of, NAMES)


def test_more_cells_than_can_be_weighed_are_refused_without_listing_them() -> None:
    values = Choice(values=tuple(range(1, 1001)))
    space: dict[str, Parameter] = {
        "lr": LR,
        **dict.fromkeys(("width", "depth", "steps", "batch"), values),
    }
    with pytest.raises(ValueError, match="make 1000000000000 cells, and no more than 256"):
        cells_of(spec(space), NAMES)
