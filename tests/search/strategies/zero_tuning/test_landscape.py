import numpy as np
import pytest
from pacesetter_search.landscape import divergence, rise

B, K = np.array(0.2), np.array(0.8)


def at(octaves: float, ceiling: float = 1e9) -> float:
    return float(rise(np.array(octaves), B, K, ceiling))


def test_the_optimum_costs_nothing_and_half_an_octave_an_eighth_of_the_curvature() -> None:
    assert at(0.0) == 0.0
    assert at(0.1) == pytest.approx(0.5 * 0.2 * 0.1**2, rel=0.03)
    assert at(0.5) + at(-0.5) == pytest.approx(2 * 0.2 / 8, rel=0.02)


def test_too_high_a_rate_costs_more_than_too_low_a_one() -> None:
    """0.3125 (exp(.8) - 1.8) and 0.3125 (exp(-.8) - .2)."""
    assert at(1.0) == pytest.approx(0.13298, abs=1e-4)
    assert at(-1.0) == pytest.approx(0.07792, abs=1e-4)


def test_far_below_it_rises_along_a_line() -> None:
    assert at(-9.0) - at(-8.0) == pytest.approx(0.2 / 0.8, rel=0.01)


def test_nothing_ends_above_the_ceiling() -> None:
    assert at(60.0, ceiling=0.7) == pytest.approx(0.7)
    assert at(1e6, ceiling=0.7) == pytest.approx(0.7)
    assert at(0.1, ceiling=0.7) == pytest.approx(at(0.1), rel=0.01)


def test_divergence_is_a_logistic_of_the_octaves_above() -> None:
    chances = divergence(np.array([2.5, 3.2, -50.0, 50.0]), ((1.0, 2.5, 0.7),))
    assert chances == pytest.approx([0.5, 1 / (1 + np.exp(-1)), 0.0, 1.0], abs=1e-9)
