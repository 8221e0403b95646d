"""Whether a curve of validations is called overfitting."""

from collections.abc import Sequence

import numpy as np
import pytest
from pacesetter_search.strategies.zero_tuning import pieces
from pacesetter_search.strategies.zero_tuning.overfitting import Point, best, judge

TOTAL = 1000
ENDS = pieces.ends(TOTAL)


def curve(validation: Sequence[float], training: Sequence[float] | None = None) -> list[Point]:
    falling = np.linspace(2.0, 0.5, len(validation)).tolist()
    return [
        Point(position=end, validation=value, training=loss, kept=f"main-{end}")
        for end, value, loss in zip(
            ENDS, validation, falling if training is None else training, strict=False
        )
    ]


def alarmed(points: list[Point]) -> int | None:
    """Return the position of the first alarm."""
    for count in range(1, len(points)):
        verdict = judge(points[:count], TOTAL)
        if verdict is not None and verdict.overfits:
            return points[count - 1].position
    return None


RISING = [1.0, 0.8, 0.7, 0.69, 0.7, 0.72, 0.76, 0.8, 0.86, 0.95, 1.05, 1.15, 1.2]


def test_a_rise_of_validation_under_a_falling_training_loss_is_found_before_it_is_large() -> None:
    at = alarmed(curve(RISING))
    assert at is not None
    assert RISING[ENDS.index(at)] < 1.1


def test_validation_that_rises_with_the_training_loss_is_no_overfitting() -> None:
    assert alarmed(curve(RISING, RISING)) is None


def test_a_fall_and_a_plateau_are_no_overfitting() -> None:
    assert alarmed(curve([0.5 + 2.0 / (1 + n) for n in range(len(ENDS))])) is None
    assert alarmed(curve([max(0.5, 2.0 - 0.3 * n) for n in range(len(ENDS))])) is None


def test_losses_below_zero_are_judged_by_their_range() -> None:
    assert alarmed(curve([value - 5.0 for value in RISING])) is not None


def test_a_training_loss_of_zero_has_fallen() -> None:
    assert alarmed(curve(RISING, [0.1] * 5 + [0.0] * 8)) is not None


@pytest.mark.parametrize("noise", [0.05, 0.15])
def test_noise_alone_is_called_overfitting_less_than_once_in_a_hundred_runs(noise: float) -> None:
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        values = generator.standard_normal(len(ENDS)) * noise
        # A decay takes the noise of the rate away.
        decay = np.minimum(1.0, 2.0 - 2.0 * np.array(ENDS) / TOTAL)
        alarms += alarmed(curve(np.exp(values * decay).tolist())) is not None
    assert alarms < 4


def test_the_best_point_is_one_whose_state_is_kept() -> None:
    points = curve([3.0, 1.0, 2.0])
    assert best(points) is points[1]
    points[1].kept = None
    assert best(points) is points[2]
    assert best([]) is None


@pytest.mark.parametrize("total", [300, 1000, 10**6])
def test_pieces_are_few_lie_denser_at_the_start_and_end_with_the_budget(total: int) -> None:
    places = pieces.ends(total)
    lengths = np.diff([0, *places])
    assert places[-1] == total
    assert len(places) <= 20
    assert lengths.min() >= pieces.FEWEST_UNITS
    assert lengths[1:].max() <= 1.6 * total / 14
    assert places[0] <= total / 16
