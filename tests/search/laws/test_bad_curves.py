"""Curves that are wrong somehow: each ends in a clear refusal or in a warning, never in a sure number."""

import numpy as np
import pytest
from pacesetter.schedules import Constant, Cosine
from pacesetter_search.laws import AnnealingLaw, Curve, EnsembleLaw, LawNotFitted, MultiPowerLaw

from tests.search.support.loss_curves import LAWS, PEAK, STEPS, TRUE, curve_of, rates, usual_curves

ONE_PEAK = [name for name in LAWS if name != "across peaks"]
WARNED = [name for name in ONE_PEAK if name != "spectral"]


@pytest.mark.parametrize("name", WARNED)
def test_one_curve_is_warned_of(name: str) -> None:
    law = LAWS[name]().fit([curve_of(rates(Cosine()))])
    assert any("do not tell the response to decay" in warning for warning in law.warnings)


@pytest.mark.parametrize("name", LAWS)
def test_constant_losses_are_refused(name: str) -> None:
    curves = [
        Curve.of(one.lrs, one.positions, np.full(one.losses.size, 2.5))
        for one in usual_curves(name)
    ]
    with pytest.raises(LawNotFitted, match=r"every loss is 2\.5; nothing tells"):
        LAWS[name]().fit(curves)


@pytest.mark.parametrize("name", LAWS)
def test_nan_among_the_losses_changes_little(name: str) -> None:
    curves = usual_curves(name)
    holed = []
    for one in curves:
        losses = one.losses.copy()
        losses[::7] = np.nan
        holed.append(Curve.of(one.lrs, one.positions, losses))
    lrs = rates(Cosine(), peak=PEAK / 1.2)
    whole, found = LAWS[name]().fit(curves).predict(lrs), LAWS[name]().fit(holed).predict(lrs)
    assert found.mean[0] == pytest.approx(whole.mean[0], rel=2e-3)


def test_nothing_but_nan_and_a_rate_that_is_nan_are_refused() -> None:
    places = np.arange(10, 101, 10)
    with pytest.raises(ValueError, match="no finite loss"):
        Curve.of(np.full(100, PEAK), places, np.full(10, np.nan))
    lrs = np.full(100, PEAK)
    lrs[50] = np.nan
    with pytest.raises(ValueError, match="negative or not finite"):
        Curve.of(lrs, places, np.full(10, 3.0))


@pytest.mark.parametrize("name", LAWS)
def test_shuffled_rows_are_the_same_curve(name: str) -> None:
    curves, shuffled = usual_curves(name), []
    for seed, one in enumerate(curves):
        order = np.random.default_rng(seed).permutation(one.positions.size)
        shuffled.append(Curve.of(one.lrs, one.positions[order], one.losses[order]))
    assert LAWS[name]().fit(shuffled) == LAWS[name]().fit(curves)


def test_losses_under_the_wrong_steps_are_no_sure_number() -> None:
    """Losses shuffled against their steps: the fit is bad, the interval says so, and so does a sentence."""
    curves = usual_curves("ensemble")
    order = np.random.default_rng(0).permutation(curves[0].losses.size)
    mixed = [Curve.of(one.lrs, one.positions, one.losses[order]) for one in curves]
    law = EnsembleLaw().fit(mixed)
    lrs = rates(Cosine())
    found, right = law.predict(lrs), EnsembleLaw().fit(curves).predict(lrs)
    assert right.sd[0] < 2e-3 * right.mean[0]
    assert found.sd[0] > 0.03 * found.mean[0]
    assert abs(found.mean[0] - right.mean[0]) < 1.645 * found.sd[0]
    assert sum("% off the fit" in warning for warning in law.warnings) == 3


@pytest.mark.parametrize("name", LAWS)
def test_stretches_at_rate_zero_change_nothing(name: str) -> None:
    """A pause in the middle, and a run that stood still at its end: the weights did not move."""
    curves, paused = usual_curves(name), []
    for one in curves:
        lrs = np.concatenate([one.lrs[:2000], np.zeros(700), one.lrs[2000:], np.zeros(300)])
        places = np.where(one.positions <= 2000, one.positions, one.positions + 700)
        paused.append(Curve.of(lrs, places, one.losses))
    law, other = LAWS[name]().fit(curves), LAWS[name]().fit(paused)
    lrs = rates(Cosine())
    assert other.predict(lrs).mean == pytest.approx(law.predict(lrs).mean, rel=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_a_run_that_never_left_zero_is_refused_and_so_is_a_schedule(name: str) -> None:
    stopped = [Curve.of(np.zeros(STEPS), one.positions, one.losses) for one in usual_curves(name)]
    with pytest.raises(LawNotFitted, match="every learning rate is zero"):
        LAWS[name]().fit(stopped)
    with pytest.raises(ValueError, match="every learning rate is zero; give a schedule"):
        LAWS[name]().fit(usual_curves(name)).predict(np.zeros(100))


@pytest.mark.parametrize(
    ("lrs", "positions", "words"),
    [
        (np.array([1e-4, -1e-4]), None, "negative or not finite"),
        (np.array([1e-4, np.nan]), None, "negative or not finite"),
        (np.empty(0), None, "are empty"),
        (np.full((2, 2), 1e-4), None, "shape"),
        (np.full(100, 1e-4), [101], "outside of the 100 steps"),
        (np.full(100, 1e-4), [-1], "outside of the 100 steps"),
        (np.full(100, 1e-4), [np.nan], "outside of the 100 steps"),
    ],
)
@pytest.mark.parametrize("name", ["annealing", "ensemble", "multi-power", "spectral"])
def test_what_cannot_be_predicted_is_said(
    name: str, lrs: np.ndarray, positions: list[float] | None, words: str
) -> None:
    law = LAWS[name]().fit(usual_curves(name))
    with pytest.raises(ValueError, match=words):
        law.predict(lrs, positions)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("ensemble", 3_000_000),
        ("convex bound", 10_000_000),
        ("across peaks", 1_000_000),
        ("functional", 1_000_000),
    ],
)
def test_millions_of_points_are_fitted(name: str, steps: int) -> None:
    """A loss of every step: averaged in blocks, and thinned where every step is looked at."""
    coarse = np.unique(np.geomspace(steps // 100, steps, 400).astype(int))
    curves = []
    for body, factor in ((Constant(), 1.0), (Cosine(), 0.5 if name == "across peaks" else 1.0)):
        lrs = rates(body, steps, factor * PEAK)
        losses = np.interp(np.arange(1.0, steps + 1.0), coarse, TRUE.predict(lrs, coarse).mean)
        curves.append(Curve.of(lrs, np.arange(1, steps + 1), losses).after(steps // 100))
    law = LAWS[name]().fit(curves)
    (end,) = law.predict(curves[1].lrs).mean
    assert end == pytest.approx(float(curves[1].losses[-1]), rel=5e-3)


def test_ten_million_steps_are_gone_through_in_few_by_the_spectral_law() -> None:
    steps = 10_000_000
    lrs = rates(Constant(), steps)
    places = np.geomspace(1e5, steps, 60)
    curve = Curve.of(lrs, places, 3.0 + 50.0 * np.cumsum(lrs)[places.astype(int) - 1] ** -1.0)
    law = LAWS["spectral"]().fit([curve])
    assert law.predict(lrs).mean[0] == pytest.approx(float(curve.losses[-1]), rel=5e-3)


@pytest.mark.parametrize("name", LAWS)
def test_multipliers_among_learning_rates_are_refused(name: str) -> None:
    curves = usual_curves(name)
    mixed = [Curve.of(curves[0].lrs / PEAK, curves[0].positions, curves[0].losses), *curves[1:]]
    with pytest.raises(LawNotFitted, match="as if some were multipliers"):
        LAWS[name]().fit(mixed)


def test_positions_in_tokens_are_refused() -> None:
    lrs = np.full(1000, PEAK)
    places = np.arange(1, 11) * 1e6
    places[0] = 500.0
    with pytest.raises(
        ValueError, match=r"9 of 10 losses lie beyond the 1000 steps.*not in tokens"
    ):
        Curve.of(lrs, places, np.linspace(4.0, 3.0, 10))


@pytest.mark.parametrize("factor", [1.4427, 7.0])
def test_losses_in_other_units_contradict_the_rest(factor: float) -> None:
    """Bits among nats, perplexities among losses: one curve is far off whatever fits best."""
    curves = usual_curves("ensemble")
    other = Curve.of(curves[1].lrs, curves[1].positions, factor * curves[1].losses)
    with pytest.raises(LawNotFitted, match=r"curve 2 of 3 lies \d+ % off"):
        EnsembleLaw().fit([curves[0], other, curves[2]])


def test_another_data_set_is_a_warning() -> None:
    curves = usual_curves("ensemble")
    other = Curve.of(curves[1].lrs, curves[1].positions, 1.05 * curves[1].losses)
    law = EnsembleLaw().fit([curves[0], other, curves[2]])
    assert any("curve 2 of 3 lies" in warning for warning in law.warnings)


def test_different_peaks_widen_the_interval() -> None:
    low = curve_of(rates(Cosine(), peak=PEAK / 2.0), seed=1)
    one, several = (
        EnsembleLaw().fit(usual_curves("ensemble")),
        EnsembleLaw().fit([*usual_curves("ensemble"), low]),
    )
    lrs = rates(Constant())
    assert several.predict(lrs).sd[0] > one.predict(lrs).sd[0] + 0.01 * one.predict(lrs).mean[0]
    assert any("different peak learning rates" in warning for warning in several.warnings)
    outside = one.predict(rates(Constant(), peak=PEAK / 4.0))
    assert outside.sd[0] > 0.035 * outside.mean[0]


def test_a_curve_that_never_moved_is_left_out_of_the_rest() -> None:
    curves = usual_curves("ensemble")
    still = Curve.of(np.zeros(STEPS), curves[0].positions, curves[0].losses)
    assert (
        MultiPowerLaw().fit([*curves, still]).parameters == MultiPowerLaw().fit(curves).parameters
    )
    law = EnsembleLaw().fit([*curves, still])
    assert law.hull.curves == 3
    with pytest.raises(LawNotFitted, match="0 points after a step at a rate above zero"):
        lrs = np.append(np.zeros(STEPS), PEAK)
        AnnealingLaw().fit([Curve.of(lrs, still.positions, still.losses)])
