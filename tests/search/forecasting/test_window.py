import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter_search.forecasting import BINS, Window, forecast
from pydantic import TypeAdapter


def filled(losses: list[float], length: int | None = None) -> Window:
    window = Window(length or len(losses))
    for position, loss in enumerate(losses):
        window.add(float(position + 500), loss)
    return window


def test_short_window_keeps_every_row() -> None:
    losses = [1.0 + 0.01 * i for i in range(60)]
    window = filled(losses)
    assert window.rows == 60
    assert window.forecast(900.0) == forecast(np.arange(60.0), losses, 400.0)


def test_long_window_keeps_means() -> None:
    window = filled([float(i) for i in range(10 * BINS)])
    assert window.counts == [10] * BINS
    assert window.losses[0] / window.counts[0] == pytest.approx(4.5)
    assert window.positions[-1] / window.counts[-1] == pytest.approx(10 * BINS - 5.5)


def test_rows_beyond_the_planned_length_fall_into_the_last_bin() -> None:
    window = filled([1.0] * 150, length=100)
    assert window.rows == 150
    assert window.counts[-1] == 51


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 1e300])
def test_losses_that_are_no_numbers_are_counted_apart(loss: float) -> None:
    window = filled([1.0, loss, 2.0])
    assert (window.non_finite, window.rows) == (1, 2)


@pytest.mark.parametrize(("position", "loss"), [(None, 1.0), (math.nan, 1.0), (1.0, None)])
def test_rows_without_place_or_loss_count_for_nothing(
    position: float | None, loss: float | None
) -> None:
    window = Window(10)
    window.add(position, loss)
    assert (window.rows, window.non_finite) == (0, 0)


@given(st.lists(st.floats(), max_size=200), st.integers(0, 300))
def test_any_rows_in_any_order_survive_a_round_trip_through_json(
    losses: list[float], length: int
) -> None:
    window = Window(length)
    for index, loss in enumerate(losses):
        window.add(float((index * 7919) % 311), loss)
    adapter = TypeAdapter(Window)
    text = json.dumps(adapter.dump_python(window, mode="json"), allow_nan=False)
    assert adapter.validate_python(json.loads(text)) == window
    window.forecast(1000.0)
