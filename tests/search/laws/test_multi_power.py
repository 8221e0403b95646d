"""The Multi-Power Law: its sum by hand, exact and fast, its invariances, and what few curves leave open."""

import numpy as np
import pytest
from pacesetter.schedules import WSD, Constant, Cosine, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import Curve, FittedMultiPower, LawNotFitted, MultiPowerLaw

from benchmarks.public_curves import FITTED, FOLDER, multi_power_curve

PARAMETERS = (3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64)
STEPS = 6000
BODIES: tuple[AnyFamily, ...] = (Constant(), Cosine(), WSD())


def rates(body: AnyFamily, steps: int = STEPS, peak: float = 3e-4) -> np.ndarray:
    warmup = Warmup(length=steps // 20, start=0.0)
    schedule = Schedule(length=steps, warmup=warmup, body=body)
    return peak * schedule.over(np.arange(steps, dtype=np.float64))


def curve(body: AnyFamily, law: FittedMultiPower, noise: float = 0.0, seed: int = 0) -> Curve:
    lrs = rates(body)
    positions = np.arange(500, STEPS + 1, 50)
    losses = law.predict(lrs, positions).mean
    drawn = np.random.default_rng(seed).standard_normal(losses.size)
    return Curve.of(lrs, positions, losses * np.exp(noise * drawn))


def by_hand(lrs: list[float]) -> float:
    """Return the formula, literally."""
    floor, amplitude, alpha, response, speed, beta, gamma = PARAMETERS
    total = 0.0
    for k, now in enumerate(lrs):
        before = lrs[k - 1] if k else 0.0
        reach = speed * now**-gamma * sum(lrs[k:])
        total += (before - now) * (1.0 - (1.0 + reach) ** -beta)
    return float(floor + amplitude * sum(lrs) ** -alpha - response * total)


def test_the_exact_sum_is_the_formula() -> None:
    lrs = [1e-4, 2e-4, 3e-4, 3e-4, 3e-4, 1e-4, 1e-4, 5e-5]
    law = FittedMultiPower.of(*PARAMETERS)
    for steps in (1, 3, 6, 8):
        found = law.predict(np.array(lrs), [steps]).mean[0]
        assert found == pytest.approx(by_hand(lrs[:steps]), rel=1e-12)


@pytest.mark.parametrize(
    "body", [Constant(), Cosine(), WSD(cooldown=0.2), WSD(cooldown=0.2, shape="sqrt")]
)
def test_blocks_are_as_good_as_the_exact_sum(body: AnyFamily) -> None:
    lrs, places = rates(body), [700, 3000, 4810, 5500, STEPS]
    exact = FittedMultiPower.of(*PARAMETERS).predict(lrs, places).mean
    fast = FittedMultiPower.of(*PARAMETERS, exact=False).predict(lrs, places).mean
    assert np.abs(fast / exact - 1.0).max() < 1e-3


def test_a_sudden_drop_is_not_smeared() -> None:
    lrs = np.where(np.arange(STEPS) < 3011, 3e-4, 3e-5)
    exact = FittedMultiPower.of(*PARAMETERS).predict(lrs, [3012, 3020, 3100, 6000]).mean
    fast = FittedMultiPower.of(*PARAMETERS, exact=False).predict(lrs, [3012, 3020, 3100, 6000]).mean
    assert fast == pytest.approx(exact, rel=2e-4)


def test_a_lower_rate_at_the_end_lowers_the_loss_and_a_constant_one_does_not() -> None:
    law = FittedMultiPower.of(*PARAMETERS, exact=False)
    decayed = law.predict(rates(WSD(cooldown=0.2))).mean[0]
    assert decayed < law.predict(rates(Constant())).mean[0] - 0.05


def test_a_fit_finds_the_law_behind_three_curves() -> None:
    true = FittedMultiPower.of(*PARAMETERS, exact=False)
    curves = [curve(body, true, 5e-4, seed) for seed, body in enumerate(BODIES)]
    law = MultiPowerLaw().fit(curves)
    other = rates(WSD(cooldown=0.5, shape="linear"))
    wanted = true.predict(other).mean[0]
    found = law.predict(other)
    assert found.mean[0] == pytest.approx(wanted, rel=1e-3)
    assert abs(found.mean[0] - wanted) < 3.0 * found.sd[0]


def test_the_unit_of_the_rates_makes_no_difference() -> None:
    true = FittedMultiPower.of(*PARAMETERS, exact=False)
    curves = [curve(body, true, 1e-3, 3) for body in BODIES[:2]]
    scaled = [Curve.of(one.lrs * 1e4, one.positions, one.losses) for one in curves]
    here, there = MultiPowerLaw().fit(curves), MultiPowerLaw().fit(scaled)
    lrs = rates(WSD())
    assert here.predict(lrs).mean == pytest.approx(there.predict(lrs * 1e4).mean, rel=1e-6)


def test_two_curves_leave_the_free_shape_open_and_the_prior_holds_it() -> None:
    true = FittedMultiPower.of(*PARAMETERS, exact=False)
    curves = [curve(body, true, 2e-3, seed) for seed, body in enumerate(BODIES[:2])]
    held, free = MultiPowerLaw().fit(curves), MultiPowerLaw(prior=False).fit(curves)
    shape = np.log(PARAMETERS[4:])
    assert np.abs(np.array(held.parameters[4:]) - shape).max() < 1.0
    assert np.abs(np.array(free.parameters[4:]) - shape).max() > 1.0


def test_it_survives_json_and_predicts_the_same() -> None:
    true = FittedMultiPower.of(*PARAMETERS, exact=False)
    law = MultiPowerLaw().fit([curve(Cosine(), true, 1e-3)])
    again = FittedMultiPower.model_validate_json(law.model_dump_json())
    assert again.predict(rates(WSD())).mean == law.predict(rates(WSD())).mean
    assert again.predict(rates(WSD())).sd == law.predict(rates(WSD())).sd


def test_losses_of_every_step_are_those_at_each_position() -> None:
    law = FittedMultiPower.of(*PARAMETERS, exact=False)
    lrs = rates(Cosine(), 1000)
    assert law.losses(lrs)[[0, 499, 999]] == pytest.approx(law.predict(lrs, [1, 500, 1000]).mean)


def test_what_cannot_be_fitted_is_said() -> None:
    lrs = np.full(100, 1e-3)
    with pytest.raises(LawNotFitted, match="3 points for 7 parameters"):
        MultiPowerLaw().fit([Curve.of(lrs, [10, 20, 30], [3.0, 2.9, 2.8])])
    places = np.arange(1, 41)
    with pytest.raises(LawNotFitted, match="not above zero"):
        MultiPowerLaw().fit([Curve.of(lrs, places, np.linspace(1.0, -1.0, 40))])
    with pytest.raises(LawNotFitted, match="every learning rate is zero"):
        MultiPowerLaw().fit([Curve.of(np.zeros(100), places, np.linspace(2.0, 1.0, 40))])


def test_different_peaks_are_warned_of() -> None:
    true = FittedMultiPower.of(*PARAMETERS, exact=False)
    one = curve(Cosine(), true)
    other = Curve.of(one.lrs * 2.0, one.positions, one.losses)
    (warning,) = MultiPowerLaw().fit([one, other]).warnings
    assert "different peak learning rates" in warning


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the public curves are not at {FOLDER}")
def test_the_fit_of_the_published_split_predicts_as_measured() -> None:
    law = MultiPowerLaw().fit([multi_power_curve(100, name) for name in FITTED])
    run = multi_power_curve(100, "wsd_20000_24000")
    mean = law.predict(run.lrs, run.positions).mean
    assert np.mean(np.abs(mean - run.losses) / run.losses) < 0.002
