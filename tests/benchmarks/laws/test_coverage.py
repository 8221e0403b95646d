"""How many curves a coverage rests on: all of them, one a cell, or one a peak; and how sure shares and means are."""

import numpy as np
import pytest

from benchmarks.laws.coverage import Judged, effective_number
from benchmarks.laws.fits import bar, clustered, mean_interval


def judged(shared: float, seed: int = 0) -> list[Judged]:
    """Return 6 peaks of 5 lengths of 20 curves, whose errors have a share of their variance in common in each cell."""
    generator = np.random.default_rng(seed)
    found = []
    for peak in range(6):
        for steps in range(5):
            common = np.sqrt(shared) * generator.standard_normal()
            own = np.sqrt(1.0 - shared) * generator.standard_normal(20)
            found += [Judged(float(peak), steps, 0.5 * float(common + one), 0.5) for one in own]
    return found


def test_errors_that_have_nothing_in_common_count_one_by_one() -> None:
    assert effective_number(judged(0.0)) > 250.0


def test_errors_that_are_the_same_in_a_cell_count_once_a_cell() -> None:
    assert effective_number(judged(1.0)) == pytest.approx(30.0, rel=0.35)


def test_what_is_in_common_in_part_lies_between() -> None:
    found = [effective_number(judged(0.5, seed)) for seed in range(5)]
    # Twenty curves that correlate by half count as 20 / (1 + 19 / 2), and there are thirty such cells.
    assert np.mean(found) == pytest.approx(30 * 20 / 10.5, rel=0.35)


def test_an_error_that_all_of_a_peak_share_leaves_one_curve_a_peak() -> None:
    generator = np.random.default_rng(2)
    found = []
    for peak in range(40):
        common = float(generator.standard_normal())
        found += [Judged(float(peak), steps, common, 1.0) for steps in range(3) for _ in range(4)]
    assert effective_number(found) == pytest.approx(40.0, rel=0.1)


def test_an_interval_holds_what_lies_within_it() -> None:
    assert Judged(1.0, 1, 0.0164, 0.01).held
    assert not Judged(1.0, 1, -0.0166, 0.01).held


def test_a_share_of_whole_groups_is_less_sure_than_of_single_ones() -> None:
    groups = [[True] * 9, [True] * 9, [False] * 9]
    share, low, high = clustered(groups)
    assert share == pytest.approx(200.0 / 3.0)
    assert [low, high] == pytest.approx([100.0 / 3.0, 100.0])
    _, narrow, _ = clustered([[each] for group in groups for each in group])
    assert narrow > 45.0


def test_a_mean_over_cells_is_as_sure_as_cells_agree() -> None:
    assert mean_interval([-0.25] * 10) == (-0.25, -0.25, -0.25)
    mean, low, high = mean_interval([-1.0] * 5 + [0.0] * 5)
    # The mean of ten tosses has an sd of .158.
    assert mean == -0.5
    assert (low, high) == pytest.approx((-0.5 - 1.645 * 0.158, -0.5 + 1.645 * 0.158), abs=0.05)


def test_a_bar_is_met_at_its_edge() -> None:
    assert bar(1.0, None) == ()
    assert bar(0.3, 0.3) == ("<= 0.3", True)
    assert bar(0.31, 0.3) == ("<= 0.3", False)
