"""The law across peaks: its sums by hand, powers that come back, and what one peak cannot tell."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Constant, Cosine
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import (
    AcrossPeaksLaw,
    AnnealingLaw,
    Curve,
    FittedAcrossPeaks,
    LawNotFitted,
)
from pacesetter_search.laws.curves import FloatArray

from benchmarks.public_curves import FOLDER, runs_124m
from tests.search.support.loss_curves import STEPS, rates

MEMORY = STEPS / 24.0
TRUE = FittedAcrossPeaks(
    memory=MEMORY,
    unit=1e3,
    signal_scale=float(STEPS),
    parameters=tuple(np.log([2.5, 0.35, 0.5, 0.25, 0.65, 0.47])),
)
PEAKS = (2.5e-4, 5e-4, 1e-3)
BODIES: tuple[AnyFamily, ...] = (Constant(), Cosine())


def curve(body: AnyFamily, peak: float, seed: int, noise: float = 2e-4) -> Curve:
    lrs = rates(body, peak=peak)
    places = np.arange(400, STEPS + 1, 40)
    drawn = np.random.default_rng(seed).standard_normal(places.size)
    return Curve.of(lrs, places, TRUE.predict(lrs, places).mean * np.exp(noise * drawn))


def curves(*peaks: float) -> list[Curve]:
    return [
        curve(body, peak, 10 * number + place)
        for number, peak in enumerate(peaks)
        for place, body in enumerate(BODIES)
    ]


def by_hand(lrs: FloatArray) -> float:
    """Return the formula, step by step."""
    floor, amplitude, alpha, response, p, q = np.exp(TRUE.parameters)
    momentum, annealed, signal, before = 0.0, 0.0, 0.0, 0.0
    for lr in lrs * TRUE.unit:
        momentum = (1.0 - 1.0 / MEMORY) * momentum + before - lr**q
        before = lr**q
        annealed += momentum / MEMORY
        signal += lr**p / STEPS
    return float(floor + amplitude * signal**-alpha - response * annealed)


def test_the_sums_are_those_of_the_formula() -> None:
    lrs = rates(WSD(cooldown=0.2), 900, 7e-4)
    assert TRUE.predict(lrs).mean[0] == pytest.approx(by_hand(lrs), rel=1e-10)


def test_derivatives_are_those_of_small_steps() -> None:
    lrs, place = rates(Cosine(), 900, 7e-4), np.array([500.0, 900.0])
    _, gradient = TRUE.evaluate(lrs, place)
    for column in range(6):
        moved = list(TRUE.parameters)
        moved[column] += 1e-6
        other = TRUE.model_copy(update={"parameters": tuple(moved)})
        slope = (other.evaluate(lrs, place)[0] - TRUE.evaluate(lrs, place)[0]) / 1e-6
        assert gradient[:, column] == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_powers_come_back_from_three_peaks() -> None:
    law = AcrossPeaksLaw().fit(curves(*PEAKS))
    assert np.exp(law.parameters[4:]) == pytest.approx([0.65, 0.47], abs=0.04)
    assert law.hull is not None
    assert law.hull.peaks == pytest.approx(PEAKS, rel=1e-12)
    assert law.warnings == ()


def test_a_peak_that_was_not_fitted_is_predicted_where_the_annealing_law_is_lost() -> None:
    fitted = curves(PEAKS[0], PEAKS[2])
    lrs = rates(WSD(cooldown=0.2), peak=PEAKS[1])
    truth = TRUE.predict(lrs).mean[0]
    found = AcrossPeaksLaw().fit(fitted).predict(lrs)
    plain = AnnealingLaw(MEMORY).fit(fitted).predict(lrs).mean[0]
    assert abs(found.mean[0] / truth - 1.0) < 2e-3
    assert abs(found.mean[0] - truth) < found.sd[0]
    assert abs(plain / truth - 1.0) > 3.0 * abs(found.mean[0] / truth - 1.0)


def test_the_interval_widens_with_the_distance_from_the_fitted_peaks() -> None:
    law = AcrossPeaksLaw().fit(curves(*PEAKS))
    widths = []
    for peak in (1e-3, 2e-3, 4e-3):
        found = law.predict(rates(Cosine(), peak=peak))
        widths.append(float(found.sd[0] / found.mean[0]))
    assert widths[0] > FittedAcrossPeaks.LAW_ERROR
    assert widths[1] > widths[0] + 0.008
    assert widths[2] > widths[1] + 0.008


def test_one_peak_does_not_tell_the_powers() -> None:
    with pytest.raises(LawNotFitted, match="all curves have the same peak"):
        AcrossPeaksLaw().fit(curves(5e-4))


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the public curves are not at {FOLDER}")
def test_on_public_runs_of_three_peaks_the_powers_are_as_noted() -> None:
    runs = {run.name: run.curve.after(1000) for run in runs_124m()}
    law = AcrossPeaksLaw(1000.0).fit(
        [runs[name] for name in ("230", "135", "231", "137", "232", "139")]
    )
    assert np.exp(law.parameters[4:]) == pytest.approx([0.65, 0.47], abs=0.06)
