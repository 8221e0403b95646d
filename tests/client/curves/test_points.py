"""Curves that can be used, and those that cannot: each with a code and what to do."""

import math
from typing import Any

import numpy as np
import pytest
from pacesetter import CurveError
from pacesetter.curves import Points

NAN = math.nan


def points(**changes: Any) -> Points:
    columns: dict[str, Any] = {
        "steps": [1, 2, 3, 4],
        "lrs": [0.1, 0.2, 0.2, 0.1],
        "losses": [3.0, 2.5, 2.2, 2.1],
    }
    return Points.of(**{**columns, **changes})


def test_a_curve_keeps_its_columns() -> None:
    found = points()
    assert found.steps.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.lrs.tolist() == [0.1, 0.2, 0.2, 0.1]
    assert found.losses.tolist() == [3.0, 2.5, 2.2, 2.1]
    assert (found.last, found.diverged) == (4, False)


def test_a_rate_that_is_missing_lies_on_the_line_between_its_neighbours() -> None:
    found = points(lrs=[0.1, NAN, NAN, 0.4])
    assert found.lrs == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert points(lrs=[NAN, 0.3, NAN, NAN]).lrs.tolist() == [0.3] * 4


@pytest.mark.parametrize("number", [NAN, math.inf, -math.inf, 1e200])
def test_a_measured_loss_that_is_no_number_is_a_divergence(number: float) -> None:
    losses = [3.0, 2.5, 2.2, number]
    found = points(losses=losses, measured=[True] * 4)
    assert found.diverged
    assert found.losses.tolist() == [3.0, 2.5, 2.2, math.inf]


def test_a_loss_that_was_not_measured_is_none() -> None:
    found = points(losses=[3.0, 2.5, 2.2, NAN])
    assert not found.diverged
    assert found.finite.tolist() == [True, True, True, False]
    amid = points(losses=[3.0, NAN, 2.2, 2.1], measured=[True] * 4)
    assert amid.losses[1] == math.inf
    assert not amid.diverged


def test_a_warm_up_before_the_first_row_rises_from_zero() -> None:
    steps, lrs = points(steps=[10, 20, 30, 40], warmup=5).with_warmup()
    assert steps.tolist() == [0.0, 5.0, 10.0, 20.0, 30.0, 40.0]
    assert lrs.tolist() == [0.0, 0.1, 0.1, 0.2, 0.2, 0.1]
    assert points(warmup=2).with_warmup()[0].tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"steps": [1, 2, 3]}, "COLUMNS_DIFFER", "3 steps, 4 learning rates and 4 losses"),
        ({"steps": [], "lrs": [], "losses": []}, "TOO_FEW_POINTS", "no row"),
        ({"steps": [3, 1, 4, 2]}, "STEPS_NOT_RISING", "step 1 follows step 3, and 2 rows"),
        ({"steps": [1, 2, 2, 3]}, "STEPS_NOT_RISING", "step 2 follows step 2"),
        ({"steps": [-1, 2, 3, 4]}, "STEPS_NOT_RISING", "below zero"),
        ({"steps": [1, 2, 3, NAN]}, "STEPS_NOT_RISING", "not finite"),
        ({"steps": [1, 2, 3, 1e12]}, "STEPS_NOT_RISING", "not tokens"),
        ({"lrs": [0.1, -0.1, 0.1, 0.1]}, "BAD_LEARNING_RATE", "-0.1 is below zero"),
        ({"lrs": [0.1, 2e4, 0.1, 0.1]}, "BAD_LEARNING_RATE", "another unit"),
        ({"lrs": [0.1, math.inf, 0.1, 0.1]}, "BAD_LEARNING_RATE", "above 10000"),
        ({"lrs": [0.0] * 4}, "BAD_LEARNING_RATE", "every learning rate is zero"),
        ({"lrs": [NAN] * 4}, "BAD_LEARNING_RATE", "there is no learning rate"),
        ({"losses": [NAN] * 4}, "NO_FINITE_LOSS", "no loss is a finite number"),
        ({"losses": [math.inf] * 4}, "NO_FINITE_LOSS", "no loss is a finite number"),
        ({"losses": [NAN, NAN, 2.0, NAN]}, "TOO_FEW_POINTS", "a single loss"),
        ({"losses": [2.5] * 4}, "CONSTANT_LOSS", "all 4 losses are 2.5"),
        ({"losses": [0.0] * 4}, "CONSTANT_LOSS", "all 4 losses are 0"),
        ({"warmup": 4}, "BAD_WARMUP", "a warm-up of 4 steps leaves nothing of 4"),
        ({"warmup": -1}, "BAD_WARMUP", "warm-up of -1"),
    ],
    ids=str,
)
def test_what_cannot_be_used_says_why_and_what_to_do(
    changes: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(CurveError) as error:
        points(**changes)
    assert error.value.code == code
    assert words in str(error.value)
    assert error.value.hint


def test_a_stretch_at_rate_zero_is_part_of_a_curve() -> None:
    lrs = np.where(np.arange(100) % 50 < 25, 1e-3, 0.0)
    found = Points.of(np.arange(1, 101), lrs, 3.0 - 0.01 * np.arange(100))
    assert found.lrs.min() == 0.0
