"""The baseline: training alone, by hand, and blind to decay."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Constant, Cosine
from pacesetter_search.laws import BaselineLaw, Curve, FittedBaseline, LawNotFitted

from tests.search.support.loss_curves import PEAK, STEPS, curve_of, rates

TRUE = (2.8, 0.4, 0.5)


def measured(noise: float = 0.0) -> Curve:
    lrs = rates(Constant())
    places = np.arange(200, STEPS + 1, 40)
    losses = TRUE[0] + TRUE[1] * np.cumsum(lrs)[places - 1] ** -TRUE[2]
    drawn = np.random.default_rng(4).standard_normal(places.size)
    return Curve.of(lrs, places, losses * np.exp(noise * drawn))


def test_a_fit_finds_the_power_law_behind_a_curve() -> None:
    law = BaselineLaw().fit([measured()])
    floor, amplitude, alpha = np.exp(law.parameters)
    assert floor == pytest.approx(TRUE[0], rel=1e-4)
    assert alpha == pytest.approx(TRUE[2], rel=1e-3)
    assert amplitude * law.scale**alpha == pytest.approx(TRUE[1], rel=1e-3)
    total = float(np.sum(rates(Cosine())))
    expected = TRUE[0] + TRUE[1] * total ** -TRUE[2]
    assert law.predict(rates(Cosine())).mean[0] == pytest.approx(expected, rel=1e-5)


def test_the_more_is_trained_the_lower_the_loss_whatever_the_decay() -> None:
    law = BaselineLaw().fit([measured(1e-3)])
    constant, wsd, cosine = (
        law.predict(rates(body)).mean[0] for body in (Constant(), WSD(), Cosine())
    )
    assert constant < wsd < cosine


def test_it_misses_the_response_to_decay_and_says_that_it_cannot_tell_it() -> None:
    curves = [curve_of(rates(Constant())), curve_of(rates(WSD(cooldown=0.2)), seed=1)]
    law = BaselineLaw().fit(curves)
    off = law.predict(curves[1].lrs, [STEPS]).mean[0] / curves[1].losses[-1] - 1.0
    assert off > 0.01
    assert any(
        "do not tell the response" in each for each in BaselineLaw().fit(curves[:1]).warnings
    )


def test_noise_moves_the_fit_no_further_than_its_sd() -> None:
    law = BaselineLaw().fit([measured(3e-3)])
    found = law.predict(np.full(2 * STEPS, PEAK))
    truth = TRUE[0] + TRUE[1] * (2 * STEPS * PEAK) ** -TRUE[2]
    assert abs(found.mean[0] - truth) < 2.0 * found.sd[0]
    assert found.sd[0] < 0.05


def test_two_points_are_refused() -> None:
    with pytest.raises(LawNotFitted, match="2 points for 3 parameters; give 6"):
        BaselineLaw().fit([Curve.of(np.full(9, 1e-3), [3, 9], [3.0, 2.5])])


def test_its_document_names_the_kind() -> None:
    assert FittedBaseline(scale=1.0, parameters=(0.0, 0.0, 0.0)).kind == "baseline"
