import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter_search.forecasting import forecast

Curve = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
WINDOW = np.arange(100.0)
TARGET = 1000.0

SLOW_EXPONENTIAL: Curve = lambda t: 2 * np.exp(-t / 300) + 0.5  # noqa: E731
FAST_EXPONENTIAL: Curve = lambda t: 2 * np.exp(-t / 30) + 0.5  # noqa: E731
POWER: Curve = lambda t: 2 * (1 + t / 20) ** -0.5 + 0.5  # noqa: E731
FLAT: Curve = lambda t: np.ones_like(t)  # noqa: E731
SHALLOW_LINE: Curve = lambda t: 2 - 5e-4 * t  # noqa: E731


def errors(curve: Curve, sigma: float, seeds: int = 400) -> tuple[npt.NDArray[np.float64], float]:
    """Return the absolute errors at ten times the window, and the coverage of the 90 % interval."""
    truth = float(curve(np.array([TARGET]))[0])
    found, covered = [], 0
    for seed in range(seeds):
        noise = sigma * np.random.default_rng(seed).standard_normal(WINDOW.size)
        answer = forecast(WINDOW, curve(WINDOW) + noise, TARGET)
        found.append(abs(answer.mean - truth))
        covered += found[-1] <= 1.645 * math.sqrt(answer.variance)
    return np.array(found), covered / seeds


@pytest.mark.parametrize(
    ("curve", "sigma", "median", "p95"),
    [
        pytest.param(SLOW_EXPONENTIAL, 0.05, 0.340, 0.844, id="time constant of three windows"),
        pytest.param(FAST_EXPONENTIAL, 0.05, 0.035, 0.067, id="time constant of a third"),
        pytest.param(POWER, 0.05, 0.337, 0.477, id="power law"),
        pytest.param(FLAT, 0.2, 0.020, 0.076, id="flat"),
    ],
)
def test_error_is_at_most_that_of_the_measured_mixture(
    curve: Curve, sigma: float, median: float, p95: float
) -> None:
    found, _ = errors(curve, sigma)
    assert np.median(found) <= median
    assert np.quantile(found, 0.95) <= p95


@pytest.mark.parametrize(
    ("curve", "sigma"),
    [
        (SLOW_EXPONENTIAL, 0.05),
        (FAST_EXPONENTIAL, 0.05),
        (POWER, 0.05),
        (FLAT, 0.2),
        (SHALLOW_LINE, 0.2),
    ],
)
def test_ninety_percent_interval_covers_at_least_85_percent(curve: Curve, sigma: float) -> None:
    _, coverage = errors(curve, sigma)
    assert coverage >= 0.85


def test_signal_far_below_noise_is_not_extrapolated_but_its_variance_says_so() -> None:
    noise = 0.2 * np.random.default_rng(0).standard_normal(WINDOW.size)
    answer = forecast(WINDOW, SHALLOW_LINE(WINDOW) + noise, TARGET)
    assert abs(answer.mean - 1.97) < 0.1
    assert math.sqrt(answer.variance) > 0.2


def test_noiseless_exponential_is_recovered() -> None:
    answer = forecast(WINDOW, FAST_EXPONENTIAL(WINDOW), TARGET)
    assert answer.mean == pytest.approx(0.5, abs=0.02)


def test_outliers_hardly_move_the_forecast() -> None:
    rng = np.random.default_rng(3)
    clean = FAST_EXPONENTIAL(WINDOW) + 0.02 * rng.standard_normal(WINDOW.size)
    spoiled = clean.copy()
    spoiled[[5, 40, 70, 99]] += 5.0
    difference = forecast(WINDOW, spoiled, TARGET).mean - forecast(WINDOW, clean, TARGET).mean
    assert abs(difference) < 0.1


def test_rising_curve_is_bounded_by_twice_the_range_seen() -> None:
    answer = forecast(WINDOW, 1 + 0.01 * WINDOW, 1e5)
    assert 1.99 <= answer.mean <= 4.1


def test_falling_curve_ends_at_or_above_zero() -> None:
    answer = forecast(WINDOW, 1 - 0.009 * WINDOW, 1e5)
    assert answer.mean >= -1e-3


def test_change_and_level_add_up_to_the_mean() -> None:
    answer = forecast(WINDOW, POWER(WINDOW), TARGET)
    assert answer.mean - answer.change == pytest.approx(float(POWER(WINDOW[-1:])[0]), abs=0.02)
    assert answer.change_variance <= answer.variance


def test_points_that_are_means_of_many_are_trusted_more() -> None:
    y = 1 + 0.1 * np.random.default_rng(1).standard_normal(20)
    few = forecast(np.arange(20.0), y, 25.0, counts=np.ones(20))
    assert few.noise == pytest.approx(0.1, rel=0.6)
    many = forecast(np.arange(20.0), y, 25.0, counts=np.full(20, 16.0))
    assert many.noise == pytest.approx(4 * few.noise, rel=1e-6)
    assert many.mean == pytest.approx(few.mean, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_forecast_scales_with_the_losses(scale: float) -> None:
    plain = forecast(WINDOW, POWER(WINDOW), TARGET)
    scaled = forecast(WINDOW, scale * POWER(WINDOW), TARGET)
    assert scaled.mean == pytest.approx(scale * plain.mean, rel=1e-6)
    assert scaled.variance == pytest.approx(scale**2 * plain.variance, rel=1e-6)


def test_order_of_points_does_not_matter() -> None:
    shuffled = np.random.default_rng(0).permutation(WINDOW.size)
    y = POWER(WINDOW)
    assert forecast(WINDOW[shuffled], y[shuffled], TARGET) == forecast(WINDOW, y, TARGET)


def test_no_data_has_no_mean_and_infinite_variance() -> None:
    answer = forecast([], [], 10.0)
    assert answer.status == "no_data"
    assert math.isnan(answer.mean)
    assert answer.variance == math.inf


def test_one_point_is_not_extrapolated_and_uncertain() -> None:
    answer = forecast([3.0], [2.0], 10.0)
    assert (answer.status, answer.mean) == ("few_points", 2.0)
    assert answer.variance >= 1.0


def test_constant_losses_stay_where_they_are() -> None:
    answer = forecast(WINDOW, np.full(100, 0.7), TARGET)
    assert answer.mean == pytest.approx(0.7)
    assert math.sqrt(answer.variance) < 0.01


def test_a_count_that_is_next_to_nothing_counts_for_nothing() -> None:
    losses = np.full(100, 0.7)
    losses[-1] = 9.0
    answer = forecast(WINDOW, losses, TARGET, [1.0] * 99 + [2.2e-311])
    assert answer.mean == pytest.approx(0.7)


any_float = st.floats(allow_nan=True, allow_infinity=True, width=64)


@given(
    points=st.lists(st.tuples(any_float, any_float), max_size=40),
    target=any_float,
    counts=st.none() | st.lists(any_float, max_size=40),
)
def test_no_input_raises_or_gives_a_negative_variance(
    points: list[tuple[float, float]], target: float, counts: list[float] | None
) -> None:
    answer = forecast([p[0] for p in points], [p[1] for p in points], target, counts)
    if answer.status == "no_data":
        assert answer.variance == math.inf
    else:
        assert math.isfinite(answer.mean)
        assert math.isfinite(answer.change)
        assert 0 <= answer.variance < math.inf
        assert 0 <= answer.change_variance < math.inf
