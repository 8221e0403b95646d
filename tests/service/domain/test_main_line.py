"""The main line of a job as a curve by steps: the last row of each, and nothing that was taken back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter import CurveError
from pacesetter_service.curves.main_line import points_of_rows
from pacesetter_service.reports.packing import FloatArray, missing, to_array


def rows(
    position: list[float], loss: list[float | None], lr: list[float | None]
) -> dict[str, FloatArray]:
    return {"position": to_array(position), "loss": to_array(loss), "lr": to_array(lr)}


def test_of_a_position_that_was_trained_twice_the_last_row_counts() -> None:
    found = points_of_rows(
        rows([0, 1, 2, 1, 2], [3.0, 2.5, 2.4, 2.3, 2.2], [0.1, 0.1, 0.1, 0.2, 0.3])
    )
    assert found.steps.tolist() == [1.0, 2.0, 3.0]
    assert found.losses.tolist() == [3.0, 2.3, 2.2]
    assert found.lrs.tolist() == [0.1, 0.2, 0.3]


def test_a_loss_that_was_not_measured_leaves_its_rate() -> None:
    found = points_of_rows(rows([0, 1, 2], [3.0, None, 2.0], [0.1, 0.2, 0.3]))
    assert found.lrs.tolist() == [0.1, 0.2, 0.3]
    assert found.finite.tolist() == [True, False, True]


def test_a_loss_of_nan_is_a_divergence() -> None:
    assert points_of_rows(rows([0, 1, 2], [3.0, 2.0, math.nan], [0.1] * 3)).diverged


def test_rows_without_a_rate_or_beyond_the_end_are_left_out() -> None:
    found = points_of_rows(
        rows([0, 1, 2, 3, 4], [5.0, 4.0, 3.0, 2.0, 1.0], [0.1, None, 0.1, 0.1, 0.1]), below=4
    )
    assert found.steps.tolist() == [1.0, 3.0, 4.0]


def test_positions_in_tokens_become_steps() -> None:
    found = points_of_rows(
        rows([0, 500, 1010, 1490], [4.0, 3.0, 2.0, 1.0], [0.1] * 4), tokens_per_step=500.0, warmup=2
    )
    assert found.steps.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.warmup == 2


def test_a_warm_up_longer_than_what_was_trained_is_no_obstacle() -> None:
    assert points_of_rows(rows([0, 1, 2], [3.0, 2.0, 1.0], [0.1] * 3), warmup=50).warmup == 2


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (rows([], [], []), "NO_CURVE"),
        (rows([0, 1], [3.0, 2.0], [None, None]), "NO_CURVE"),
        (rows([0, 1], [None, None], [0.1, 0.1]), "NO_FINITE_LOSS"),
        (rows([0, 1], [3.0, 3.0], [0.1, 0.1]), "CONSTANT_LOSS"),
        (rows([0, 1], [3.0, 2.0], [0.0, 0.0]), "BAD_LEARNING_RATE"),
    ],
)
def test_rows_that_make_no_curve_say_why(table: dict[str, FloatArray], code: str) -> None:
    with pytest.raises(CurveError) as error:
        points_of_rows(table)
    assert error.value.code == code


@given(st.lists(st.integers(0, 40), min_size=3, max_size=60, unique=True), st.integers(1, 20))
def test_how_often_steps_were_made_again_makes_no_difference(kept: list[int], again: int) -> None:
    """The curve of a run with replays is that of the rows that count."""
    positions = np.array(sorted(kept), dtype=float)
    losses = 3.0 + 1.0 / (1.0 + positions)
    plain = {"position": positions, "loss": losses, "lr": np.full(positions.size, 0.1)}
    front = positions[:again]
    replayed = {
        "position": np.concatenate([front, positions]),
        "loss": np.concatenate([np.full(front.size, 99.0), losses]),
        "lr": np.concatenate([missing(front.size), plain["lr"]]),
    }
    one, two = points_of_rows(plain), points_of_rows(replayed)
    assert one.steps.tolist() == two.steps.tolist()
    assert one.losses.tolist() == two.losses.tolist()
