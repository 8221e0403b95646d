"""The mean of laws, and the order of schedules: found where a law is the truth, refused outside of what was fitted."""

from itertools import combinations

import numpy as np
import pytest
from pacesetter.schedules import WSD, Constant, Cosine, Linear, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import (
    AnnealingLaw,
    Curve,
    EnsembleLaw,
    FittedAnnealing,
    FittedEnsemble,
    FittedMultiPower,
    LawNotFitted,
    MultiPowerLaw,
)
from pacesetter_search.laws.choice import SHRINK, learning_rates, rank_schedules

STEPS, PEAK = 5000, 3e-4
TRUE = FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64, exact=False)


def rates(body: AnyFamily, steps: int = STEPS) -> np.ndarray:
    schedule = Schedule(length=steps, warmup=Warmup(length=250, start=0.0), body=body)
    return learning_rates(schedule, PEAK)


def measured(body: AnyFamily, seed: int = 0) -> Curve:
    lrs, places = rates(body), np.arange(500, STEPS + 1, 50)
    noise = np.random.default_rng(seed).standard_normal(places.size)
    return Curve.of(lrs, places, TRUE.predict(lrs, places).mean * np.exp(3e-4 * noise))


CURVES = [measured(Constant(), 1), measured(Cosine(), 2)]
CANDIDATES = {
    "constant": rates(Constant()),
    "cosine": rates(Cosine()),
    "linear": rates(Linear()),
    "wsd .2": rates(WSD(cooldown=0.2)),
    "wsd .5": rates(WSD(cooldown=0.5)),
}


def test_schedules_come_in_the_order_of_their_true_losses() -> None:
    found = rank_schedules(CURVES, CANDIDATES, reference="cosine")
    truth = {name: float(TRUE.predict(lrs).mean[0]) for name, lrs in CANDIDATES.items()}
    assert [one.rank for one in found.candidates] == [1, 2, 3, 4, 5]
    order = [one.name for one in found.candidates]
    assert truth[order[0]] - min(truth.values()) < 1e-3
    for better, worse in combinations(order, 2):
        assert truth[better] < truth[worse] + 0.01
    assert truth["constant"] > truth[order[0]] + 0.02
    (cosine,) = [one for one in found.candidates if one.name == "cosine"]
    assert cosine.gain == 0.0
    for one in found.candidates:
        promised = (truth["cosine"] - truth[one.name]) / truth["cosine"]
        assert one.gain == pytest.approx(SHRINK * promised, abs=2e-3)
        assert abs(one.loss - truth[one.name]) < 3.0 * one.loss_sd


def test_what_lies_outside_of_the_fitted_runs_is_refused_with_a_reason() -> None:
    extreme = {
        **CANDIDATES,
        "higher": 2.0 * rates(Cosine()),
        "short tail": rates(WSD(cooldown=0.02)),
    }
    found = rank_schedules(CURVES, extreme)
    assert sorted(found.refused) == ["higher", "short tail"]
    assert "above the largest fitted rate" in found.refused["higher"]
    assert "5 % is the least" in found.refused["short tail"]
    assert {one.name for one in found.candidates} == set(CANDIDATES)


def test_a_reference_has_to_be_a_candidate() -> None:
    with pytest.raises(ValueError, match="a reference among"):
        rank_schedules(CURVES, CANDIDATES, reference="nobody")


def test_the_mean_of_laws_says_less_surely_what_its_members_disagree_on() -> None:
    law = EnsembleLaw().fit(CURVES)
    lrs = rates(WSD(cooldown=0.2))
    found = law.predict(lrs)
    parts = [member.predict(lrs) for member in law.members]
    middle = np.mean([part.mean[0] for part in parts])
    late = law.members[0].late_gain(lrs)[0]  # type: ignore[union-attr]  # the annealing law comes first
    assert late > 0.02
    assert found.mean[0] == pytest.approx(middle + FittedEnsemble.OPTIMISM * late)
    assert found.sd[0] > np.std([part.mean[0] for part in parts], ddof=1)
    assert found.sd[0] > found.mean[0] * FittedEnsemble.LAW_ERROR


def test_the_interval_widens_beyond_the_longest_curve() -> None:
    law = EnsembleLaw().fit(CURVES)
    here, beyond = law.predict(rates(Cosine())), law.predict(rates(Cosine(), 4 * STEPS))
    assert beyond.sd[0] / beyond.mean[0] > 2.0 * here.sd[0] / here.mean[0]


def test_it_survives_json() -> None:
    law = EnsembleLaw().fit(CURVES)
    again = FittedEnsemble.model_validate_json(law.model_dump_json())
    assert again.predict(rates(WSD())).mean == law.predict(rates(WSD())).mean


def test_a_member_that_cannot_be_fitted_is_left_out_with_a_warning() -> None:
    few = Curve.of(np.full(100, 1e-3), np.arange(10, 101, 10), np.geomspace(4.0, 3.0, 10))
    law = EnsembleLaw().fit([few])
    assert len(law.members) == 1
    assert any("MultiPowerLaw was left out: 10 points" in each for each in law.warnings)
    with pytest.raises(LawNotFitted, match="3 points for 4"):
        EnsembleLaw([AnnealingLaw(), MultiPowerLaw()]).fit(
            [Curve.of(np.full(100, 1e-3), [10, 20, 30], [3.0, 2.9, 2.8])]
        )


def test_a_late_decay_is_promised_too_much_and_nothing_else_is() -> None:
    law = EnsembleLaw().fit(CURVES)
    annealing = law.members[0]
    assert isinstance(annealing, FittedAnnealing)
    assert annealing.late_gain(rates(Constant()))[0] == pytest.approx(0.0, abs=1e-9)
    early = np.where(np.arange(STEPS) < 2000, PEAK, 0.1 * PEAK)
    assert annealing.late_gain(early)[0] == pytest.approx(0.0, abs=1e-6)
    # Held over the last fifth, it is the loss of the run that does not decay.
    decayed = np.where(np.arange(STEPS) < 4000, PEAK, 0.1 * PEAK)
    held = np.full(STEPS, PEAK)
    gain = annealing.predict(held).mean[0] - annealing.predict(decayed).mean[0]
    assert annealing.late_gain(decayed)[0] == pytest.approx(gain, rel=1e-9)


def test_a_cosine_alone_is_left_to_the_annealing_law() -> None:
    law = EnsembleLaw().fit([measured(Cosine())])
    assert [type(member).__name__ for member in law.members] == ["FittedAnnealing"]
    assert any("do not tell the response to decay" in each for each in law.warnings)
