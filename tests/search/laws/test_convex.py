"""The convex bound as a law: the bound's vectors, its traps, its scaling, and a fit that finds it back."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Constant, Cosine, convex_bound
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import ConvexBoundLaw, Curve, FittedConvexBound, LawNotFitted
from pacesetter_search.laws.curves import FloatArray, thinned

from benchmarks.public_curves import FITTED, FOLDER, TESTED, multi_power_curve
from tests.search.support.loss_curves import STEPS, rates
from tests.support.convex_vectors import BOUNDS, rates_of

BOUND = FittedConvexBound.of(0.0, 1.0, 1.0, 1.0)
TRUE = FittedConvexBound.of(2.6, 0.08, 30.0, 0.4)


def linear(steps: int) -> FloatArray:
    return 1.0 - np.arange(steps) / steps


def cosine(steps: int) -> FloatArray:
    values: FloatArray = 0.5 * (1.0 + np.cos(np.pi * np.arange(steps) / steps))
    return values


def curve(lrs: FloatArray, noise: float = 0.0, seed: int = 0) -> Curve:
    places = np.arange(400, lrs.size + 1, 40)
    drawn = np.random.default_rng(seed).standard_normal(places.size)
    return Curve.of(lrs, places, TRUE.predict(lrs, places).mean * np.exp(noise * drawn))


@pytest.mark.parametrize(("steps", "shape", "base", "bound"), BOUNDS)
def test_the_law_with_plain_coefficients_is_the_published_bound(
    steps: int, shape: str, base: float, bound: float
) -> None:
    assert BOUND.predict(base * rates_of(shape, steps)).mean[0] == pytest.approx(bound, rel=1e-7)


def test_a_rise_is_bounded_as_published() -> None:
    lrs = 0.2767130454 * np.array([0.25, 0.5, 0.75, 1.0, 0.8, 0.6, 0.4, 0.2])
    assert BOUND.predict(lrs).mean[0] == pytest.approx(0.8030782281, rel=1e-7)


def test_every_position_is_the_end_of_a_run_of_its_own() -> None:
    lrs = 0.05 * cosine(300)
    found = BOUND.predict(lrs, [1, 40, 299, 300]).mean
    wanted = [convex_bound(lrs[:count]).value for count in (1, 40, 299, 300)]
    assert found == pytest.approx(np.array(wanted), rel=1e-9)


@pytest.mark.parametrize("tail", [0.0, 1e-17])
def test_a_zero_at_the_end_is_no_step_and_divides_nothing(tail: float) -> None:
    """A linear decay whose last value is zero, or what rounding left of it."""
    lrs = linear(400)
    padded = np.append(lrs, np.full(3, tail))
    assert BOUND.predict(padded).mean[0] == pytest.approx(BOUND.predict(lrs).mean[0], rel=1e-9)


def test_steps_at_zero_in_the_middle_change_nothing() -> None:
    lrs = 0.05 * cosine(300)
    paused = np.concatenate([lrs[:100], np.zeros(50), lrs[100:]])
    assert BOUND.predict(paused).mean == pytest.approx(BOUND.predict(lrs).mean, rel=1e-12)
    assert BOUND.predict(paused, [120]).mean == pytest.approx(BOUND.predict(lrs, [100]).mean)


@pytest.mark.parametrize("factor", [0.01, 3.0])
def test_rates_times_c_scale_the_two_parts_against_each_other(factor: float) -> None:
    lrs = 0.05 * cosine(300)
    signal, noise = (
        FittedConvexBound.of(0.0, *coefficients, 1.0) for coefficients in ((1.0, 0.0), (0.0, 1.0))
    )
    assert signal.predict(factor * lrs).mean == pytest.approx(signal.predict(lrs).mean / factor)
    assert noise.predict(factor * lrs).mean == pytest.approx(noise.predict(lrs).mean * factor)


@pytest.mark.parametrize("factor", [2, 7, 20])
def test_a_step_that_stands_for_several_counts_as_them(factor: float) -> None:
    lrs = rates(WSD(cooldown=0.2))
    thick = thinned(lrs, int(factor))
    places = np.array([STEPS // 2, STEPS])
    found = TRUE.thinned(factor).predict(thick, np.minimum(places / factor, thick.size)).mean
    assert found == pytest.approx(TRUE.predict(lrs, places).mean, rel=3e-4)


def test_a_fit_finds_the_law_behind_three_curves() -> None:
    bodies: tuple[AnyFamily, ...] = (Constant(), Cosine(), WSD(cooldown=0.2))
    curves = [curve(rates(body), 2e-4, seed) for seed, body in enumerate(bodies)]
    law = ConvexBoundLaw().fit(curves)
    assert law.parameters[3] == pytest.approx(0.4, abs=0.051)
    other = rates(WSD(cooldown=0.6))
    found = law.predict(other)
    assert found.mean[0] == pytest.approx(TRUE.predict(other).mean[0], rel=1e-3)
    assert law.residual_sd == pytest.approx(2e-4, rel=0.3)
    assert found.sd[0] < 2e-3 * found.mean[0]


def test_a_coefficient_that_would_be_negative_stays_at_zero() -> None:
    """A law that rewards noise: the fit goes no further than to deny that there is any."""
    odd = FittedConvexBound.of(2.6, 0.08, -30.0, 0.4)
    bodies: tuple[AnyFamily, ...] = (Constant(), Cosine())
    runs = [rates(body) for body in bodies]
    places = np.arange(400, STEPS + 1, 40)
    law = ConvexBoundLaw().fit(
        [Curve.of(lrs, places, odd.predict(lrs, places).mean) for lrs in runs]
    )
    assert law.parameters[2] == 0.0
    assert all(value >= 0.0 for value in law.parameters)
    found = law.predict(runs[1])
    assert np.isfinite(found.sd).all()
    assert found.mean[0] == pytest.approx(odd.predict(runs[1]).mean[0], rel=0.02)


def test_losses_of_a_whole_run_join_those_of_positions() -> None:
    lrs = rates(Cosine())
    every = TRUE.losses(lrs)
    assert every.shape == (STEPS,)
    assert every[[0, STEPS // 2, STEPS - 1]] == pytest.approx(
        TRUE.predict(lrs, [1, STEPS // 2 + 1, STEPS]).mean, rel=2e-4
    )


def test_too_few_points_are_refused() -> None:
    with pytest.raises(LawNotFitted, match="3 points for 4 parameters"):
        ConvexBoundLaw().fit([Curve.of(np.full(30, 1e-3), [10, 20, 30], [3.0, 2.9, 2.8])])


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the public curves are not at {FOLDER}")
def test_on_public_curves_it_is_between_the_baseline_and_the_best() -> None:
    law = ConvexBoundLaw().fit([multi_power_curve(25, name) for name in FITTED])
    errors = []
    for name in TESTED:
        run = multi_power_curve(25, name)
        mean = law.predict(run.lrs, run.positions).mean
        errors.append(float(np.mean(np.abs(mean - run.losses) / run.losses)))
    assert np.mean(errors) == pytest.approx(0.0015, abs=1e-4)
    assert 0.3 <= law.parameters[3] <= 0.6
