import math

import pytest
from pacesetter_search.strategies.horizon.track import BINS, Track


def filled(rows: int) -> Track:
    track = Track()
    for position in range(rows):
        track.add(float(position), 2.0 - position / rows)
    return track


def test_a_short_curve_is_kept_row_by_row() -> None:
    assert filled(4).points() == ([0.0, 1.0, 2.0, 3.0], [2.0, 1.75, 1.5, 1.25], [1, 1, 1, 1])


def test_a_long_curve_is_merged_into_wider_bins_and_loses_no_row() -> None:
    track = filled(100_000)
    places, losses, counts = track.points()
    assert BINS / 2 <= len(places) <= BINS
    assert sum(counts) == track.rows == 100_000
    assert losses == pytest.approx([2.0 - place / 100_000 for place in places])


def test_what_is_not_finite_is_counted_apart() -> None:
    track = Track()
    for loss in (1.0, math.nan, math.inf, None, 3.0):
        track.add(0.0, loss)
    assert (track.rows, track.non_finite) == (2, 2)


@pytest.mark.parametrize("position", [None, math.nan, -1.0])
def test_a_row_without_a_usable_position_counts_for_nothing(position: float | None) -> None:
    track = Track()
    track.add(position, 1.0)
    assert track.rows == 0


def test_roughness_is_the_variance_of_one_batch() -> None:
    track = Track()
    for position in range(2000):
        track.add(float(position), 1.0 + 0.1 * (-1) ** position)
    # Neighbours differ by .2, and half of its square is the variance of independent batches.
    assert track.roughness == pytest.approx(0.02)
    assert track.level == pytest.approx(1.0, abs=0.01)
