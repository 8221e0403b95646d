import dataclasses

import numpy as np
import pytest
from pacesetter_search.strategies.horizon.worth import (
    BIAS_SD,
    COMPRESSION,
    CURVATURE,
    DETECTED,
    LAW_ERROR,
    PAIRED,
    SHAPE_SPREAD,
    Prospect,
    worth,
)

PROSPECT = Prospect(
    slope=0.1,
    noise=0.01,
    rows=300.0,
    paired=True,
    doublings=1.6,
    share=0.02,
    rest=0.7,
    octaves=1.5,
    shape_free=False,
    win_probability=0.9,
)


def changed(**values: float | bool) -> Prospect:
    return dataclasses.replace(PROSPECT, **values)  # type: ignore[arg-type]


def test_the_cost_is_what_the_same_steps_would_bring() -> None:
    assert worth(PROSPECT).cost == pytest.approx(0.1 * np.log2(1.02), rel=0.02)


def test_the_minimum_detectable_effect_follows_from_the_noise() -> None:
    found = worth(PROSPECT)
    assert found.detectable == pytest.approx(DETECTED * 0.01 * PAIRED / 10.0 / COMPRESSION)
    assert worth(changed(noise=0.02)).detectable == pytest.approx(2.0 * found.detectable)


def test_probes_on_different_batches_detect_less() -> None:
    ratio = worth(changed(paired=False)).detectable / worth(PROSPECT).detectable
    assert ratio == pytest.approx(2**0.5 / PAIRED)


def test_the_gain_of_a_trim_is_that_of_playing_it() -> None:
    """The closed form against a simulation: draw an optimum, measure it badly, change only where that is sure."""
    generator = np.random.default_rng(0)
    curvature, size = CURVATURE * PROSPECT.slope * PROSPECT.rest, 400_000
    noise = 0.01 * PAIRED / 10.0 / (2.0 * curvature * COMPRESSION)
    error = np.sqrt((BIAS_SD * PROSPECT.doublings) ** 2 + noise**2)
    optimum = PROSPECT.octaves * generator.standard_normal(size)
    measured = optimum + error * generator.standard_normal(size)
    share = PROSPECT.octaves**2 / (PROSPECT.octaves**2 + error**2)
    mean, sd = share * measured, PROSPECT.octaves * np.sqrt(1.0 - share)
    step = np.where(np.abs(mean) > 1.2816 * sd, mean, 0.0)
    saved = curvature * (optimum**2 - (optimum - step) ** 2)
    assert worth(PROSPECT).gain == pytest.approx(float(np.mean(saved)), rel=0.02)
    assert worth(PROSPECT).most == pytest.approx(curvature * 1.5**2)


def test_the_gain_of_a_shape_is_that_of_playing_it() -> None:
    generator = np.random.default_rng(0)
    spread, size = SHAPE_SPREAD * PROSPECT.slope * PROSPECT.rest, 400_000
    error = np.hypot(0.01 * PAIRED / 10.0 / COMPRESSION, LAW_ERROR * spread)
    effect = spread * generator.standard_normal(size)
    measured = effect + error * generator.standard_normal(size)
    share = spread**2 / (spread**2 + error**2)
    mean, sd = share * measured, spread * np.sqrt(1.0 - share)
    played = float(np.mean(np.where(mean > 1.2816 * sd, effect, 0.0)))
    both, trim = worth(changed(shape_free=True)), worth(PROSPECT)
    assert both.gain - trim.gain == pytest.approx(played, rel=0.03)


def test_a_good_rate_under_a_schedule_of_ones_own_is_left_alone() -> None:
    found = worth(changed(octaves=0.5))
    assert not found.pays
    assert found.gain < found.cost


def test_a_rate_from_elsewhere_is_worth_probing() -> None:
    assert worth(PROSPECT).pays


def test_noise_that_hides_every_effect_forbids_probing() -> None:
    found = worth(changed(noise=1.0))
    assert found.detectable > found.most
    assert not found.pays


@pytest.mark.parametrize(
    "values", [{"slope": 0.0}, {"slope": -1.0}, {"noise": float("inf")}, {"noise": 1e300}]
)
def test_without_a_slope_or_a_level_nothing_pays(values: dict[str, float]) -> None:
    assert not worth(changed(**values)).pays
