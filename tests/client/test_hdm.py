"""HDM: the authors' toy, a function that never rises, and settings that cannot be."""

import numpy as np
import pytest
from pacesetter.hdm import FloatArray, descend


def toy(x: FloatArray) -> float:
    return float(x[0] ** 2 + 2.0 * x[1] ** 2 - 2.0 * x[0] - 4.0 * x[1])


def toy_gradient(x: FloatArray) -> FloatArray:
    return np.array([2.0 * x[0] - 2.0, 4.0 * x[1] - 4.0])


def test_the_authors_toy_takes_two_null_steps_among_the_first_four() -> None:
    found = descend(toy, toy_gradient, [0.0, 0.0], steps=4, smoothness=4.0, rate=0.25)
    assert found.values == pytest.approx((0.0, 0.0, -2.75, -2.75, -2.85902574), abs=1e-8)
    assert found.null_steps == 2


def test_it_reaches_the_minimum_of_an_ill_conditioned_quadratic() -> None:
    curvature = np.geomspace(1.0, 1e-3, 20)
    found = descend(
        lambda x: 0.5 * float(curvature @ x**2),
        lambda x: curvature * x,
        np.ones(20),
        steps=400,
        smoothness=1.0,
    )
    # Plain gradient descent at 1 / L keeps e^-.8 of the slowest direction for so long.
    assert found.values[-1] < 1e-6 * found.values[0]
    assert toy(found.point[:2]) == pytest.approx(0.0, abs=1e-2)


def test_the_value_never_rises_also_where_trials_are_not_finite() -> None:
    def cliff(x: FloatArray) -> float:
        return float(x @ x) if np.abs(x).max() < 1.5 else float("nan")

    found = descend(cliff, lambda x: 2.0 * x, [1.0, -1.0], steps=50, smoothness=0.01)
    assert list(found.values) == sorted(found.values, reverse=True)
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": -1, "smoothness": 1.0},
        {"steps": 1, "smoothness": 0.0},
        {"steps": 1, "smoothness": 1.0, "rate": 0.0},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"above 0|0 or more"):
        descend(toy, toy_gradient, [0.0, 0.0], **settings)  # type: ignore[arg-type]
