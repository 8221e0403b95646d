"""Tune's spaces in the words of experiments."""

from typing import Any

import pytest
from pacesetter.errors import ConfigurationError
from pacesetter.integrations.ray_tune.space import flat, has_domains, nested, split_space
from pacesetter.protocol import Choice, Range
from ray import tune


def test_every_kind_of_search_that_both_have_is_translated_with_its_ends() -> None:
    space, fixed = split_space(
        {
            "optimizer": {"lr": tune.loguniform(1e-4, 1e-1), "name": "adamw", "betas": [0.9, 0.95]},
            "floor": tune.uniform(0.0, 0.5),
            "depth": tune.randint(2, 9),
            "width": tune.lograndint(16, 257),
            "schedule": tune.choice(["linear", "wsd"]),
            "batch": 8,
            "data": object(),
            "clip": float("inf"),
        }
    )

    assert space == {
        "optimizer/lr": Range(low=1e-4, high=1e-1),
        "floor": Range(low=0.0, high=0.5, scale="linear"),
        # Tune leaves out the upper end of whole numbers.
        "depth": Range(low=2, high=8, scale="linear", integer=True),
        "width": Range(low=16, high=256, integer=True),
        "schedule": Choice(values=("linear", "wsd")),
    }
    assert fixed == {"optimizer/name": "adamw", "batch": 8}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tune.grid_search([0.1, 0.2]), r"lr is a grid_search, .* tune.choice\(values\)"),
        (tune.quniform(0.0, 1.0, 0.1), "lr is searched in a way that experiments do not have"),
        (tune.randn(0.0, 1.0), r"lr is searched in a way .*\(Float, Normal\)"),
        (tune.sample_from(lambda _: 1), r"lr is searched in a way .*\(Function, Base\)"),
        (tune.choice([[1], [2]]), "lr cannot be searched"),
        (tune.uniform(0.2, 0.2), r"lr cannot be searched: .*low 0.2 is not below high 0.2"),
    ],
)
def test_what_experiments_cannot_search_is_refused_with_what_they_can(
    value: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        split_space({"lr": value})


def test_a_name_with_a_slash_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a name of the space holds a slash"):
        split_space({"a/b": {"c": tune.uniform(0.0, 1.0)}})


def test_a_configuration_says_whether_something_of_it_is_open() -> None:
    assert has_domains({"a": {"b": tune.choice([1])}})
    assert has_domains({"a": tune.grid_search([1, 2])})
    assert not has_domains({"a": {"b": 1}, "c": [2]})


def test_nested_names_come_back_as_they_were() -> None:
    config = {"a": {"b": {"c": 1}, "d": 2}, "e": 3}

    assert nested(flat(config)) == config
