"""Refinement against vectors computed independently from the published algorithm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacesetter.schedules import FloatArray, Schedule, convex_bound, refine
from pacesetter.schedules.refinement import Optimizer, filter_width, median_filter, refined_shape
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize

R6 = [9, 5, 3, 2, 2, 1.8, 1.7, 50, 1.6, 1.5, 1.5, 1.4, 1.4, 1.3, 1.3, 1.2, 1.2, 0.05, 1.1, 1.0]

R6_SGD = [
    0.037948,
    0.122414,
    0.335888,
    0.734727,
    0.713707,
    0.849082,
    0.817044,
    0.875727,
    0.937295,
    1.0,
    0.933567,
    0.98415,
    0.896603,
    0.922092,
    0.804337,
    0.781788,
    0.619597,
    0.507661,
    0.27795,
    0.0,
]
R6_ADAM = [
    0.239585,
    0.424431,
    0.688434,
    0.990013,
    0.947375,
    1.0,
    0.947361,
    0.944073,
    0.936456,
    0.923086,
    0.847286,
    0.82079,
    0.733774,
    0.6893,
    0.588382,
    0.518976,
    0.400537,
    0.295998,
    0.155047,
    0.0,
]
"""What R6, filtered at a tenth, is refined to."""


@pytest.mark.parametrize(
    ("norms", "power", "expected"),
    [
        ([1, 1, 1, 1, 1], 2, [1, 0.75, 0.5, 0.25, 0]),  # R1
        ([4, 2, 1, 1, 1, 2], 2, [0.0972222, 0.3611111, 1, 0.5555556, 0.1111111, 0]),  # R2
        ([4, 2, 1, 1, 1, 2], 1, [0.4, 0.7, 1, 0.6, 0.2, 0]),  # R3
        ([1, 1, 1, 1, 0.1], 2, [1, 0.990291, 0.980583, 0.970874, 0]),  # R4
        (
            [10, 5, 2, 1, 1, 1, 1, 0.5],
            2,
            [0.011843, 0.047143, 0.285714, 1, 0.857143, 0.714286, 0.571429, 0],
        ),  # R5
    ],
)
def test_closed_form(norms: list[float], power: int, expected: list[float]) -> None:
    assert refined_shape(norms, power) == pytest.approx(expected, abs=1e-6)


def test_the_closed_form_of_r2_over_its_sum_of_weights() -> None:
    """As published: divided by the sum of the weights instead of the largest rate."""
    weights = np.array([4, 2, 1, 1, 1, 2], dtype=np.float64) ** -2
    shape = refined_shape([4, 2, 1, 1, 1, 2], 2)

    # The third rate is the largest: its weight, 1, times the 2.25 after it.
    eta = 2.25 / weights.sum() * shape
    assert eta == pytest.approx([0.061404, 0.228070, 0.631579, 0.350877, 0.070175, 0], abs=1e-6)


def test_filter_of_r6_takes_its_width_from_the_length_of_the_run() -> None:
    narrow = [
        9,
        5,
        3,
        2,
        2,
        1.8,
        1.8,
        1.7,
        1.6,
        1.5,
        1.5,
        1.4,
        1.4,
        1.3,
        1.3,
        1.2,
        1.2,
        1.1,
        1,
        1.1,
    ]
    wide = [9, 5, 3, 2, 2, 2, 1.8, 1.7, 1.6, 1.5, 1.5, 1.4, 1.4, 1.3, 1.3, 1.2, 1.2, 1.1, 1.1, 1]

    assert median_filter(R6, 0.1).tolist() == narrow
    assert median_filter(R6, 0.25).tolist() == wide
    widths = {steps: filter_width(steps, 0.1) for steps in (19, 20, 50, 100, 1000, 10_000, 50_046)}
    # Of 50,046 steps the published code spans 1001, a fiftieth.
    assert widths == {19: 1, 20: 3, 50: 5, 100: 11, 1000: 101, 10_000: 1001, 50_046: 5005}


def test_running_median_is_the_median_of_every_window() -> None:
    series = np.random.default_rng(0).lognormal(size=400).round(2)
    half = filter_width(400, 0.07) // 2
    mirrored = np.concatenate([np.full(half, series[0]), series, series[-2 : -2 - half : -1]])
    windows = np.lib.stride_tricks.sliding_window_view(mirrored, 2 * half + 1)

    assert median_filter(series, 0.07).tolist() == np.median(windows, axis=1).tolist()


def test_filtered_r6_is_refined_for_sgd_and_for_adam() -> None:
    filtered = median_filter(R6, 0.1)

    assert refined_shape(filtered, 2) == pytest.approx(R6_SGD, abs=1e-6)
    assert refined_shape(filtered, 1) == pytest.approx(R6_ADAM, abs=1e-6)
    unfiltered = refined_shape(R6, 2)
    assert int(np.argmax(unfiltered)) == 17
    assert np.delete(unfiltered, 17).max() <= 0.383


@pytest.mark.parametrize(
    ("end", "top", "expected"),
    [
        (1.0, 270, [0.010894, 0.053147, 0.259775, 0.844098, 0.874987, 0.58313, 0.291273, 0.057788]),
        (
            2.0,
            242,
            [0.012266, 0.059801, 0.291313, 0.905962, 0.602568, 0.211576, 0.062357, 0.008612],
        ),
        (0.7, 301, [0.010363, 0.050565, 0.247415, 0.814741, 0.979572, 0.859922, 0.581721, 0.1505]),
    ],
)
def test_r7_falling_norms_ask_for_a_warmup(end: float, top: int, expected: list[float]) -> None:
    x = [0, 0.003, 0.02, 0.03, 0.1, 1]
    raw = np.interp(np.linspace(0, 1, 2000), x, [15, 6, 4, 2, 1, end])
    shape = refined_shape(gaussian_filter1d(raw, 40, mode="nearest"), 2)

    assert int(np.argmax(shape)) == top
    where = [0, 50, 100, 200, 500, 1000, 1500, 1900]
    assert shape[where] == pytest.approx(expected, abs=1e-6)


def test_constant_norms_give_linear_decay_whose_zero_comes_after_the_last_step() -> None:
    body = refine(np.full(40, 3.0), optimizer="adam")
    schedule = Schedule(length=40, body=body)

    assert schedule.over(np.arange(41.0)) == pytest.approx(1.0 - np.arange(41.0) / 40, abs=1e-12)
    assert (body.norm, body.tau) == ("l1", 0.1)


def test_one_tiny_first_norm_does_not_take_the_whole_schedule() -> None:
    norms = np.full(1000, 2.0)
    norms[0] = 1e-9

    shape = np.array(refine(norms, optimizer="sgd").values)
    assert shape == pytest.approx(1.0 - np.linspace(0, 1, 1001), abs=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_zero_among_the_norms_is_filtered_and_a_stretch_of_them_is_capped(
    optimizer: Optimizer,
) -> None:
    single, stretch = np.ones(100), np.ones(100)
    single[40], stretch[40:80] = 0.0, 0.0

    linear = 1.0 - np.linspace(0, 1, 101)
    assert refine(single, optimizer=optimizer).values == pytest.approx(linear, abs=1e-12)
    # Weights of 100 in the stretch: 40 and 21 steps come after the last one before it, 39 and 21 after its first.
    values = refine(stretch, optimizer=optimizer, tau=0.0).values
    assert values[39] / values[40] == pytest.approx(4021 / (100 * 3921), rel=1e-9)


@pytest.mark.parametrize("most", [4.0, 100.0])
def test_weights_stay_within_their_range(most: float) -> None:
    norms = np.repeat([10.0, 0.01], 250)
    shape = refine(norms, optimizer="sgd", tau=0.0, weight_range=most).values

    # Weights 1 and `most`: first 1 * (249 + 251 most), at the step down most * 250 most, which is the top.
    assert shape[250] == 1.0
    assert shape[0] == pytest.approx((249 + 251 * most) / (250 * most**2), rel=1e-9)


def test_long_runs_come_down_to_the_points_asked_for() -> None:
    norms = 1.0 + 9.0 * np.exp(-np.arange(30_000) / 3000)
    few, many = (refine(norms, optimizer="adam", points=n) for n in (101, 10_000))

    assert (len(few.values), len(many.values)) == (101, 10_000)
    assert max(few.values) == 1.0
    at = np.linspace(0, 30_000, 101)
    schedules = [Schedule(length=30_000, body=body) for body in (few, many)]
    assert schedules[0].over(at) == pytest.approx(schedules[1].over(at), abs=2e-3)


@pytest.mark.parametrize(
    ("norms", "closed_form", "optimum", "linear"),
    [
        (np.ones(100), 0.2036, 0.2001, 0.2036),
        (
            np.interp(np.arange(100) / 99, [0, 0.05, 0.2, 1], [10, 3, 1, 1]),
            0.2215,
            0.2170,
            0.4143,
        ),
        (np.linspace(1, 3, 100), 0.3515, 0.3493, 0.4297),
    ],
    ids=["constant", "falling", "rising"],
)
def test_the_closed_form_is_within_some_two_percent_of_the_least_bound(
    norms: FloatArray, closed_form: float, optimum: float, linear: float
) -> None:
    shape = _refined(norms)
    # Over logarithms, so that every rate stays above 0, as the bound needs.
    least = minimize(
        lambda logs: convex_bound(np.exp(logs), norms).best_value, np.log(shape), method="L-BFGS-B"
    )
    ours = convex_bound(shape, norms).best_value

    assert (ours, _bound_of_linear(norms)) == pytest.approx((closed_form, linear), abs=5e-5)
    assert least.fun == pytest.approx(optimum, abs=2e-4)
    assert 1.0 <= ours / least.fun < 1.021


@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.05, 1.5), wandering=st.booleans())
def test_its_bound_is_at_most_that_of_linear_whatever_the_norms(
    seed: int, spread: float, wandering: bool
) -> None:
    logs = np.random.default_rng(seed).normal(0.0, spread, 100)
    norms = np.exp(np.cumsum(logs) / 5.0 if wandering else logs)

    # Being within two percent of the least bound only, it can lose a tenth of a percent where norms hardly vary.
    assert convex_bound(_refined(norms), norms).best_value <= 1.002 * _bound_of_linear(norms)


def _refined(norms: FloatArray) -> FloatArray:
    return refined_shape(np.append(norms, norms[-1]), 2)[:-1]


def _bound_of_linear(norms: FloatArray) -> float:
    return convex_bound(1.0 - np.arange(len(norms)) / len(norms), norms).best_value


@pytest.mark.parametrize(
    ("norms", "settings", "words"),
    [
        (np.ones(9), {}, "at least 10 steps"),
        (np.ones((10, 2)), {}, r"shape \(10, 2\)"),
        ([1.0] * 10 + [float("nan")], {}, "nan at index 10.*leave out steps that were skipped"),
        ([1.0] * 10 + [-1.0], {}, "-1.0 at index 10"),
        ([float("inf")] + [1.0] * 10, {}, "inf at index 0"),
        (np.zeros(20), {}, "every gradient norm is 0"),
        (np.ones(20), {"tau": 1.5}, "no share of the run"),
        (np.ones(20), {"weight_range": 0.5}, "below 1"),
        (np.ones(20), {"guarded": -1}, "below 0"),
        (np.ones(20), {"points": 20_000}, "2 to 10,000"),
    ],
)
def test_norms_that_cannot_be_used_are_refused(
    norms: FloatArray, settings: dict[str, float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        refine(norms, optimizer="sgd", **settings)  # type: ignore[arg-type]
