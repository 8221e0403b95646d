import numpy as np
import pytest
from pacesetter_search.laws import Curve


def test_losses_that_are_not_finite_or_out_of_reach_are_left_out() -> None:
    curve = Curve.of(np.ones(4), [1, 2, 3, 4, 9, 0], [1.0, np.nan, np.inf, 4.0, 5.0, 6.0])
    assert curve.positions.tolist() == [1, 4]
    assert curve.losses.tolist() == [1.0, 4.0]


def test_shuffled_rows_are_put_in_order_and_repeated_ones_dropped() -> None:
    curve = Curve.of(np.ones(4), [3, 1, 3], [3.0, 1.0, 7.0])
    assert curve.positions.tolist() == [1, 3]
    assert curve.losses.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("lrs", "positions", "losses", "words"),
    [
        ([1.0], [1, 2], [1.0], "2 positions and 1 losses"),
        ([-1.0], [1], [1.0], "negative or not finite"),
        ([1.0], [1], [np.nan], "no finite loss"),
        ([1.0], [5], [1.0], "no finite loss"),
    ],
)
def test_what_cannot_be_a_curve_is_said(
    lrs: list[float], positions: list[int], losses: list[float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Curve.of(lrs, positions, losses)


def test_a_curve_under_a_schedule_has_its_rate_at_every_step() -> None:
    curve = Curve.under(lambda step: 1.0 - step / 10.0, [4], [2.0])
    assert curve.lrs.tolist() == pytest.approx([1.0, 0.9, 0.8, 0.7])


def test_the_warm_up_can_be_left_out() -> None:
    curve = Curve.of(np.ones(4), [1, 2, 3], [1.0, 2.0, 3.0])
    assert curve.after(2).losses.tolist() == [2.0, 3.0]
    with pytest.raises(ValueError, match="the last is at step 3"):
        curve.after(4)


def test_blocks_average_positions_and_losses() -> None:
    curve = Curve.of(np.ones(4), [1, 2, 3, 4], [1.0, 3.0, 5.0, 9.0]).blocks(2)
    assert curve.positions.tolist() == [1.5, 3.5]
    assert curve.losses.tolist() == [2.0, 7.0]


def test_thinning_keeps_the_sum_of_rates_of_whole_groups() -> None:
    curve = Curve.of([1.0, 3.0, 5.0, 7.0], [2, 4], [1.0, 2.0]).thinned(2)
    assert curve.lrs.tolist() == [2.0, 6.0]
    assert curve.positions.tolist() == [1, 2]
