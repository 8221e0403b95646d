"""The convex bound against vectors from the literature's own package."""

import numpy as np
import pytest
from pacesetter.schedules import FloatArray, convex_bound
from pacesetter.schedules.refinement import refined_shape

from tests.support.convex_vectors import BOUNDS, LONG_RUNS, rates_of

FALLING = np.interp(np.arange(60) / 60, [0, 0.05, 0.2, 1], [10, 3, 1, 1])
"""Gradient norms that fall tenfold within the first fifth of the run."""


@pytest.mark.parametrize(("steps", "shape", "base_lr", "bound"), BOUNDS)
def test_best_rate_and_bound_of_every_shape_and_length(
    steps: int, shape: str, base_lr: float, bound: float
) -> None:
    found = convex_bound(rates_of(shape, steps))

    assert (found.best_base_lr, found.best_value) == pytest.approx((base_lr, bound), abs=1e-8)


@pytest.mark.parametrize(("shape", "base_lr", "bound"), LONG_RUNS)
def test_long_runs_have_come_to_their_limits(shape: str, base_lr: float, bound: float) -> None:
    found = convex_bound(rates_of(shape, 10_000))

    scaled = 100.0 * found.best_base_lr, 100.0 * found.best_value
    assert scaled == pytest.approx((base_lr, bound), abs=5.1e-5)


def test_linear_wants_almost_twice_the_rate_of_a_short_cooldown() -> None:
    linear, short = (convex_bound(rates_of(shape, 10_000)) for shape in ("linear", "wsd-0.2"))

    assert linear.best_base_lr / short.best_base_lr == pytest.approx(1.94, abs=0.005)


def test_constant_beats_linear_until_eighteen_steps() -> None:
    constant, linear = (
        [convex_bound(rates_of(shape, steps)).best_value for steps in range(2, 101)]
        for shape in ("constant", "linear")
    )

    order = [one < other for one, other in zip(constant, linear, strict=True)]
    assert order == [steps < 18 for steps in range(2, 101)]
    assert (linear[16], constant[16]) == pytest.approx((0.494881, 0.496630), abs=1e-6)


@pytest.mark.parametrize(
    ("steps", "terms"),
    [
        (5, (1.0 / 6.0, 0.3666666667, 0.95)),
        (10, (0.0909090909, 0.35, 0.8828968254)),
        (100, (0.0099009901, 0.335, 0.7117737752)),
    ],
)
def test_terms_of_linear(steps: int, terms: tuple[float, float, float]) -> None:
    assert convex_bound(rates_of("linear", steps)).terms == pytest.approx(terms, abs=1e-10)  # B1


def test_norms_and_distance_enter() -> None:
    found = convex_bound([1, 1, 0.75, 0.5, 0.25], [2, 1, 1, 1.5, 0.5], distance=3.0)  # B2

    assert found.terms == pytest.approx((1.2857142857, 0.8772321429, 1.7873511905), abs=1e-10)
    assert found.value == pytest.approx(3.9502976190, abs=1e-10)
    assert (found.best_base_lr, found.best_value) == pytest.approx(
        (0.6946364702, 3.7018335225), abs=1e-10
    )


def test_constant_norms_scale_the_bound_and_no_order() -> None:
    found = convex_bound(1.0 - np.arange(10) / 10, 2.0, distance=3.0)  # B4

    assert (found.best_base_lr, found.best_value) == pytest.approx(
        (0.4073160742, 4.0174295588), abs=1e-10
    )


def test_a_rise_costs_what_the_vector_says() -> None:
    found = convex_bound([0.25, 0.5, 0.75, 1, 0.8, 0.6, 0.4, 0.2])  # B3

    assert found.terms == pytest.approx((0.1111111111, 0.3416666667, 1.1094362745), abs=1e-10)
    assert (found.best_base_lr, found.best_value) == pytest.approx(
        (0.2767130454, 0.8030782281), abs=1e-10
    )


@pytest.mark.parametrize(
    ("rates", "base_lr", "bound"),
    [
        (refined_shape(np.append(FALLING, FALLING[-1]), 2)[:-1], 0.126906, 0.288946),
        (1.0 - np.arange(60) / 60, 0.058619, 0.559324),
        (np.ones(60), 0.041985, 0.396966),
        (np.minimum(1.0, (60 - np.arange(60)) / 12), 0.045639, 0.402036),
    ],
    ids=["refined", "linear", "constant", "wsd-0.2"],
)
def test_norms_that_fall_put_refined_first_and_constant_before_linear(
    rates: FloatArray, base_lr: float, bound: float
) -> None:
    found = convex_bound(rates, FALLING)  # B5

    assert (found.best_base_lr, found.best_value) == pytest.approx((base_lr, bound), abs=1e-6)


def test_long_sums_equal_the_slow_double_sum() -> None:
    rates, norms = np.random.default_rng(1).uniform(0.1, 2.0, (2, 60))

    assert convex_bound(rates, norms).value == pytest.approx(_slow(rates, norms), rel=1e-12)


def _slow(eta: FloatArray, norms: FloatArray) -> float:
    noise = eta**2 * norms**2
    total = 1.0 / (2.0 * eta.sum()) + noise.sum() / (2.0 * eta.sum())
    for k in range(len(eta) - 1):
        total += 0.5 * eta[k] / eta[k + 1 :].sum() * noise[k:].sum() / eta[k:].sum()
    return float(total)


@pytest.mark.parametrize("rates", [[1.0, 0.5, 0.0], [], [[1.0]], [1.0, float("nan")]])
def test_a_zero_at_the_end_is_refused(rates: list[float]) -> None:
    # Summed with it, the published code returns -7e9 for a linear decay.
    with pytest.raises(ValueError, match="leave out the zero"):
        convex_bound(rates)
