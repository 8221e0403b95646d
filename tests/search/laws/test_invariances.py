"""What must not matter to a law, and what must move one way: drawn at random, for every law that has the property."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.schedules import WSD, Cosine, Polynomial
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import (
    Curve,
    FittedAcrossPeaks,
    FittedAnnealing,
    FittedBaseline,
    FittedConvexBound,
    FittedFunctional,
    FittedLaw,
    FittedMultiPower,
)
from pacesetter_search.laws.curves import FloatArray, thinned
from pacesetter_search.laws.parametric import FittedParametric

from tests.search.support.loss_curves import LAWS, PEAK, STEPS, rates, usual_curves

SHORT = 600
TOTAL = SHORT * PEAK

GIVEN: dict[str, FittedLaw] = {
    "across peaks": FittedAcrossPeaks(
        memory=50.0,
        unit=1.0 / PEAK,
        signal_scale=float(SHORT),
        parameters=tuple(np.log([2.5, 0.35, 0.5, 0.25, 0.65, 0.47])),
    ),
    "annealing": FittedAnnealing(
        memory=50.0,
        signal_scale=TOTAL,
        noise_scale=50.0 * PEAK,
        parameters=tuple(np.log([2.5, 0.4, 0.5, 0.2])),
    ),
    "baseline": FittedBaseline(scale=TOTAL, parameters=tuple(np.log([2.5, 0.4, 0.5]))),
    "convex bound": FittedConvexBound.of(2.5, 0.05, 30.0, 0.4),
    "functional": FittedFunctional.of(2.5, 0.6, 0.45, 5e4, 120.0, 1.6),
    "multi-power": FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64),
    "spectral": LAWS["spectral"]().fit(usual_curves("spectral")),
}
"""Laws of known parameters, and one whose parameters are too many to give."""

NAMES = sorted(GIVEN)
names = st.sampled_from(NAMES)
quick = settings(max_examples=40, deadline=None)
few = settings(max_examples=6, deadline=None)


@st.composite
def schedules(draw: st.DrawFn, steps: int = SHORT) -> FloatArray:
    """Draw rates that rise for a while and then fall in a few steps and slopes, never to zero."""
    levels = [draw(st.floats(0.02, 1.0)) for _ in range(draw(st.integers(2, 5)))]
    places = np.linspace(0.0, steps - 1.0, len(levels))
    values: FloatArray = PEAK * np.interp(np.arange(steps, dtype=np.float64), places, levels)
    if draw(st.booleans()):
        values[draw(st.integers(steps // 2, steps - 20)) :] *= draw(st.floats(0.1, 0.9))
    return values


@quick
@given(name=names, lrs=schedules(), begin=st.integers(1, SHORT), length=st.integers(1, 400))
def test_steps_at_zero_change_nothing_wherever_they_are(
    name: str, lrs: FloatArray, begin: int, length: int
) -> None:
    law = GIVEN[name]
    padded = np.insert(lrs, begin, np.zeros(length))
    here, there = law.predict(lrs, [begin, SHORT]), law.predict(padded, [begin, SHORT + length])
    assert there.mean == pytest.approx(here.mean, rel=1e-9)
    assert law.predict(padded, [begin + length]).mean == pytest.approx(here.mean[:1], rel=1e-9)


@quick
@given(name=names, lrs=schedules(), data=st.data())
def test_what_is_asked_besides_changes_no_prediction(
    name: str, lrs: FloatArray, data: st.DataObject
) -> None:
    places = sorted(data.draw(st.sets(st.integers(1, SHORT), min_size=2, max_size=12)))
    law = GIVEN[name]
    whole = law.predict(lrs, places)
    kept = [number for number in range(len(places)) if number % 2]
    part = law.predict(lrs, [places[number] for number in kept])
    assert part.mean == pytest.approx(whole.mean[kept], rel=1e-12)
    assert part.sd == pytest.approx(whole.sd[kept], rel=1e-9)


@quick
@given(
    name=st.sampled_from([name for name in NAMES if name != "convex bound"]),
    lrs=schedules(),
    cut=st.integers(100, SHORT - 1),
)
def test_the_future_does_not_reach_back(name: str, lrs: FloatArray, cut: int) -> None:
    """Up to the blocks in which drops are summed: those end elsewhere where the run is cut."""
    law = GIVEN[name]
    assert law.predict(lrs[:cut]).mean == pytest.approx(law.predict(lrs, [cut]).mean, rel=2e-3)


@quick
@given(lrs=schedules(), factor=st.floats(1e-3, 1e3))
def test_the_unit_of_rates_is_the_unit_of_parameters(lrs: FloatArray, factor: float) -> None:
    """Rates times c give the same losses where the parameters follow, each by its own power of c."""
    annealing, convex = GIVEN["annealing"], GIVEN["convex bound"]
    assert isinstance(annealing, FittedAnnealing)
    scaled = annealing.model_copy(
        update={
            "signal_scale": annealing.signal_scale * factor,
            "noise_scale": annealing.noise_scale * factor,
        }
    )
    pairs: list[tuple[FittedLaw, FittedLaw]] = [
        (annealing, scaled),
        (
            GIVEN["baseline"],
            FittedBaseline(scale=TOTAL * factor, parameters=GIVEN["baseline"].parameters),  # type: ignore[attr-defined]
        ),
        (
            GIVEN["multi-power"],
            FittedMultiPower.of(
                3.0, 0.5 * factor**0.5, 0.5, 360.0 / factor, 2.0 * factor ** (0.64 - 1.0), 0.6, 0.64
            ),
        ),
        (
            GIVEN["functional"],
            FittedFunctional.of(
                2.5, 0.6 * factor**0.45, 0.45, 5e4 / factor**2, 120.0 / factor, 1.6
            ),
        ),
        (convex, FittedConvexBound.of(2.5, 0.05 * factor**0.4, 30.0 / factor, 0.4)),
    ]
    for law, other in pairs:
        here, there = (
            law.predict(lrs, [50, SHORT]).mean,
            other.predict(factor * lrs, [50, SHORT]).mean,
        )
        assert there == pytest.approx(here, rel=1e-9)


@few
@given(name=st.sampled_from(sorted(LAWS)), factor=st.sampled_from([1e-3, 0.3, 20.0, 3e3]))
def test_a_fit_does_not_depend_on_the_unit_of_rates(name: str, factor: float) -> None:
    curves = usual_curves(name)
    scaled = [Curve.of(one.lrs * factor, one.positions, one.losses) for one in curves]
    lrs = rates(Cosine(), peak=PEAK / 1.3)
    here = LAWS[name]().fit(curves).predict(lrs)
    there = LAWS[name]().fit(scaled).predict(factor * lrs)
    assert there.mean == pytest.approx(here.mean, rel=1e-5)
    assert there.sd == pytest.approx(here.sd, rel=1e-2)


@few
@given(name=st.sampled_from(sorted(LAWS)), order=st.permutations([0, 1, 2]))
def test_a_fit_does_not_depend_on_the_order_of_curves(name: str, order: list[int]) -> None:
    curves = usual_curves(name)
    lrs = rates(Cosine(), peak=PEAK / 1.3)
    here = LAWS[name]().fit(curves).predict(lrs)
    there = LAWS[name]().fit([curves[number] for number in order]).predict(lrs)
    assert there.mean == pytest.approx(here.mean, rel=1e-6)
    assert there.sd == pytest.approx(here.sd, rel=1e-3)


@few
@given(name=st.sampled_from(sorted(LAWS)), number=st.integers(0, 2))
def test_points_that_are_given_twice_count_once(name: str, number: int) -> None:
    curves = usual_curves(name)
    one = curves[number]
    curves[number] = Curve.of(one.lrs, np.tile(one.positions, 2), np.tile(one.losses, 2))
    assert LAWS[name]().fit(curves) == LAWS[name]().fit(usual_curves(name))


MEMORY_OF_250 = {"across peaks": {}, "annealing": {"noise_scale": 250.0 * PEAK}}


@pytest.mark.parametrize("factor", [2, 5, 10])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", [Cosine(), WSD(cooldown=0.2), Polynomial(power=1.5)])
def test_a_step_may_stand_for_several(name: str, factor: int, body: AnyFamily) -> None:
    law, lrs = GIVEN[name], rates(body)
    if name in ("across peaks", "annealing"):
        law = law.model_copy(update={"memory": 250.0, **MEMORY_OF_250[name]})
    thick = thinned(lrs, factor)
    found = law.thinned(factor).predict(thick, [STEPS // 2 / factor, STEPS / factor]).mean
    assert found == pytest.approx(law.predict(lrs, [STEPS // 2, STEPS]).mean, rel=1.5e-3)
    assert law.thinned(factor).thinned(1.0 / factor).predict(lrs).mean == pytest.approx(
        law.predict(lrs).mean, rel=1e-12
    )


@pytest.mark.parametrize("name", ["across peaks", "annealing"])
def test_a_memory_shorter_than_a_thick_step_is_felt_at_once_and_no_more(name: str) -> None:
    law, lrs = GIVEN[name], rates(Cosine())
    found = law.thinned(100).predict(thinned(lrs, 100), [STEPS / 200, STEPS / 100]).mean
    assert found == pytest.approx(law.predict(lrs, [STEPS / 2, STEPS]).mean, rel=5e-3)


@quick
@given(name=st.sampled_from([name for name in NAMES if name != "spectral"]), lrs=schedules())
def test_derivatives_are_those_of_small_steps(name: str, lrs: FloatArray) -> None:
    law, places = GIVEN[name], np.array([150.0, 599.0])
    assert isinstance(law, FittedParametric)
    _, gradient = law.evaluate(lrs, places)
    for column, value in enumerate(law.parameters):
        step = 1e-5 * max(abs(value), 0.1)
        ends = []
        for sign in (1.0, -1.0):
            moved = [*law.parameters]
            moved[column] += sign * step
            other = law.model_copy(update={"parameters": tuple(moved)})
            ends.append(other.evaluate(lrs, places)[0])
        slope = (ends[0] - ends[1]) / (2.0 * step)
        assert gradient[:, column] == pytest.approx(slope, rel=1e-4, abs=1e-6)


@quick
@given(lrs=schedules(), factor=st.floats(1.0, 3.0))
def test_the_baseline_falls_with_every_rate(lrs: FloatArray, factor: float) -> None:
    law = GIVEN["baseline"]
    assert law.predict(factor * lrs).mean[0] <= law.predict(lrs).mean[0]


@quick
@given(lrs=schedules(), signal=st.floats(0.1, 2.0))
def test_the_convex_bound_scales_with_distance_and_norm(lrs: FloatArray, signal: float) -> None:
    """D^2 and G^2 in front of its two parts: the bound at rates times D / G is D G times that of 1 and 1."""
    plain = FittedConvexBound.of(0.0, 1.0, 1.0, 1.0)
    distance, norm = 3.0 * signal, 2.0
    scaled = FittedConvexBound.of(0.0, distance**2, norm**2, 1.0)
    assert scaled.predict(lrs * distance / norm).mean == pytest.approx(
        distance * norm * plain.predict(lrs).mean, rel=1e-9
    )


NOISE_ONLY: dict[str, FittedLaw] = {
    "across peaks": FittedAcrossPeaks(
        memory=50.0,
        unit=1.0 / PEAK,
        signal_scale=float(SHORT),
        parameters=tuple(np.log([2.5, 1e-9, 0.5, 0.25, 0.65, 0.47])),
    ),
    "annealing": FittedAnnealing(
        memory=50.0,
        signal_scale=TOTAL,
        noise_scale=50.0 * PEAK,
        parameters=tuple(np.log([2.5, 1e-9, 0.5, 0.2])),
    ),
    "functional": FittedFunctional.of(2.5, 1e-9, 0.45, 5e4, 120.0, 1.6),
    "multi-power": FittedMultiPower.of(3.0, 1e-9, 0.5, 360.0, 2.0, 0.6, 0.64),
}
"""Laws with nothing left to learn: what moves is the response to the rate alone."""


@quick
@given(
    name=st.sampled_from(sorted(NOISE_ONLY)),
    before=st.integers(1, 300),
    share=st.floats(0.05, 0.6),
)
def test_noise_only_rises_at_a_constant_rate_and_only_falls_after_a_drop(
    name: str, before: int, share: float
) -> None:
    lrs = np.append(np.full(300 + before, PEAK), np.full(300, share * PEAK))
    moves = np.diff(NOISE_ONLY[name].losses(lrs))
    dropped = 300 + before - 1
    slack = 5e-5  # of a block that counts as one
    assert moves[20:dropped].min() >= -slack
    assert moves[dropped:].max() <= slack
    assert moves[dropped:].sum() < -1e-3 * (1.0 - share)


@pytest.mark.parametrize("name", NAMES)
def test_a_cooldown_is_better_than_none_for_every_law_but_the_baseline(name: str) -> None:
    law = GIVEN[name]
    constant = law.predict(np.full(STEPS, PEAK)).mean[0]
    cooled = law.predict(PEAK * np.minimum(1.0, 5.0 * (1.0 - np.arange(STEPS) / STEPS))).mean[0]
    assert (cooled < constant) == (name != "baseline")
