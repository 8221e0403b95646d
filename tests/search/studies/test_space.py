"""Places and values: there and back, within bounds, and no two points taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.protocol import Choice, Parameter, Range
from pacesetter_search.studies.space import Space, crossed, levels, place_of, point_at, value_at

PARAMETERS = st.sampled_from(
    [
        Range(low=2.0**-10, high=2.0**-3),
        Range(low=-3.0, high=5.0, scale="linear"),
        Range(low=3, high=700, integer=True),
        Range(low=-4, high=9, scale="linear", integer=True),
    ]
)


def test_places_on_a_scale_of_octaves_are_octaves() -> None:
    lr = Range(low=2.0**-10, high=2.0**-2)
    assert [value_at(lr, place) for place in (0.0, 0.25, 0.5, 1.0)] == [
        2.0**-10,
        2.0**-8,
        2.0**-6,
        2.0**-2,
    ]


def test_whole_numbers_are_rounded_and_stay_whole() -> None:
    value = value_at(Range(low=8, high=64, integer=True), 0.4)
    assert value == round(8 * 2 ** (0.4 * 3)) == 18
    assert isinstance(value, int)


def test_a_choice_has_equal_parts() -> None:
    choice = Choice(values=("adam", "sgd", "muon"))
    assert [value_at(choice, place) for place in (0.0, 0.33, 0.34, 0.67, 1.0)] == [
        "adam",
        "adam",
        "sgd",
        "muon",
        "muon",
    ]


@given(PARAMETERS, st.floats(0.0, 1.0))
def test_a_value_lies_in_its_range_and_its_place_gives_it_again(
    parameter: Range, place: float
) -> None:
    value = value_at(parameter, place)
    assert isinstance(value, int | float)
    assert parameter.low <= value <= parameter.high
    assert value_at(parameter, place_of(parameter, value)) == pytest.approx(value, rel=1e-12)


def test_levels_have_both_ends_and_whole_numbers_fall_together_once() -> None:
    assert levels(Range(low=1.0, high=16.0), 5) == (1.0, 2.0, 4.0, 8.0, 16.0)
    assert levels(Range(low=1.0, high=16.0), 1) == (4.0,)
    assert levels(Range(low=1, high=3, scale="linear", integer=True), 9) == (1, 2, 3)
    assert levels(Choice(values=(True, 1)), 9) == (True, 1)


def test_the_size_of_a_space() -> None:
    parameters: dict[str, Parameter] = {
        "a": Choice(values=(1, 2)),
        "b": Range(low=2, high=5, integer=True),
    }
    space = Space.of(parameters)
    assert space.size == 8
    listed = [point_at(space, index) for index in range(8)]
    assert listed == crossed(("a", "b"), ((1, 2), (2, 3, 4, 5)))
    with pytest.raises(ValueError, match="point 8 of a space of 8; expected 0 to 7"):
        point_at(space, 8)
    assert len({space.key(point) for point in listed}) == 8
    assert Space.of({**parameters, "lr": Range(low=0.1, high=1.0)}).size is None
    assert Space.of({}).size == 1


def test_true_and_one_are_two_points() -> None:
    space = Space.of({"nesterov": Choice(values=(True, 1))})
    assert space.key({"nesterov": True}) != space.key({"nesterov": 1})


def test_a_continuous_space_cannot_be_listed() -> None:
    with pytest.raises(ValueError, match="no list of its points"):
        point_at(Space.of({"lr": Range(low=0.1, high=1.0)}), 0)
