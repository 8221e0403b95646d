"""Rates and losses over one set of steps; restarts taken back, shuffled rows refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter import CurveError
from pacesetter.curves.series import Joined, join
from pacesetter.curves.tables import Raw, Series


def series(steps: list[float], values: list[float]) -> Series:
    return Series(np.array(steps, float), np.array(values, float), np.ones(len(steps), bool))


def joined(steps: list[float], losses: list[float]) -> Joined:
    return join(Raw(series(steps, [0.1] * len(steps)), series(steps, losses), "loss"), "log")


def test_rates_and_losses_may_have_steps_of_their_own() -> None:
    raw = Raw(series([0, 10, 20], [0.0, 1.0, 0.0]), series([5, 10, 15], [3, 2, 1]), "loss")
    points = join(raw, "log").points
    assert points.steps.tolist() == [0, 5, 10, 15, 20]
    assert points.lrs.tolist() == [0.0, 0.5, 1.0, 0.5, 0.0]
    assert points.losses[points.finite].tolist() == [3.0, 2.0, 1.0]


def test_a_restart_takes_back_what_was_logged_beyond_it() -> None:
    found = joined([1, 2, 3, 4, 5, 3.5, 4.5, 6], [6, 5, 4, 9, 9, 3, 2, 1])
    assert found.points.steps.tolist() == [1, 2, 3, 3.5, 4.5, 6]
    assert found.points.losses.tolist() == [6, 5, 4, 3, 2, 1]
    assert "fall back at 1 places, first from 5 to 3.5" in found.notes[0]


def test_of_a_step_that_was_logged_twice_the_last_row_counts() -> None:
    found = joined([1, 2, 2, 3], [4, 9, 3, 2])
    assert found.points.losses.tolist() == [4, 3, 2]
    assert found.notes == ()


def test_shuffled_rows_are_refused() -> None:
    order = np.random.default_rng(0).permutation(200) + 1.0
    with pytest.raises(CurveError, match=r"fall back at \d+ of 200 rows.*Sort the rows") as error:
        joined(order.tolist(), (3.0 / order).tolist())
    assert error.value.code == "STEPS_NOT_RISING"


def test_steps_that_count_anew_in_each_epoch_are_refused() -> None:
    with pytest.raises(CurveError, match=r"start over: 1 follows 3.*over the whole run"):
        joined([1, 2, 3, 1, 2, 3], [6, 5, 4, 3, 2, 1])


def test_a_curve_that_ends_in_nan_says_that_it_diverged() -> None:
    found = joined([1, 2, 3], [3.0, 2.0, np.nan])
    assert found.points.diverged
    assert "a run that diverged" in found.notes[0]


@given(st.lists(st.integers(2, 30), min_size=1, max_size=3), st.integers(31, 60))
def test_a_log_with_restarts_is_the_run_that_counts(restarts: list[int], last: int) -> None:
    """Whatever was trained again: the curve is that of the last visit to every step."""
    steps, losses, attempt = [float(s) for s in range(1, 31)], [100.0] * 30, 0
    final = dict.fromkeys(range(1, 31), 100.0)
    for attempt, back in enumerate(restarts, 1):
        end = last if attempt == len(restarts) else 30
        for step in range(back, end + 1):
            steps.append(float(step))
            losses.append(100.0 - attempt - 0.1 * step)
            final[step] = losses[-1]
        final = {step: loss for step, loss in final.items() if step <= end}
    found = joined(steps, losses)
    assert found.points.steps.tolist() == sorted(final)
    assert found.points.losses.tolist() == [final[step] for step in sorted(final)]
