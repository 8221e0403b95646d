"""The zoo: every family is in it or says why not, inside of what was fitted, and ranked in one order."""

import numpy as np
import pytest
from pacesetter.schedules import FAMILIES, WSD, Cosine, Linear, Schedule, Warmup
from pacesetter_search.laws import BaselineLaw, FittedMultiPower
from pacesetter_search.laws.choice import (
    SHRINK,
    learning_rates,
    rank_under,
    rank_zoo,
    usual_schedules,
    zoo,
)
from pacesetter_search.laws.choice.ranking import outside, rises_again
from pacesetter_search.laws.choice.zoo import LEFT_OUT
from pacesetter_search.laws.curves import thinned

from tests.search.support.fitted_laws import ensemble
from tests.search.support.loss_curves import PEAK, STEPS, TRUE, usual_curves

WARMUP = STEPS // 20
ALWAYS = {
    "linear",
    "cosine",
    "wsd linear 0.2",
    "wsd linear 0.4",
    "wsd linear 0.6",
    "wsd linear 0.8",
    "wsd sqrt 0.2",
    "wsd power 1.5 0.1",
    "wsd power 1.5 0.4",
    "power",
    "rex",
    "uba 0.5",
    "uba 1",
}
"""What a set of candidates must have, by the notes."""


def test_every_family_is_a_candidate_or_says_why_not() -> None:
    families = {
        family for each in zoo(STEPS, PEAK, WARMUP).values() for family in each.body.families_used()
    }
    assert families | set(LEFT_OUT) >= set(FAMILIES)
    assert set(LEFT_OUT) - {"joined"} <= set(FAMILIES) - families


def test_what_must_be_among_the_candidates_is() -> None:
    assert set(zoo(STEPS, PEAK, WARMUP)) >= ALWAYS
    assert set(zoo(STEPS, PEAK)) >= ALWAYS
    assert set(usual_schedules(STEPS, WARMUP)) <= set(zoo(STEPS, PEAK, WARMUP))


@pytest.mark.parametrize("warmup", [0, 1, WARMUP, STEPS // 2])
def test_every_candidate_is_a_run_of_the_length_that_stays_at_or_below_the_peak(
    warmup: int,
) -> None:
    for name, schedule in zoo(STEPS, PEAK, warmup).items():
        rates = learning_rates(schedule, PEAK)
        assert rates.shape == (STEPS,)
        assert 0.5 * PEAK < rates.max() <= PEAK * (1.0 + 1e-12), name
        assert rates.min() >= 0.0
        again = Schedule.model_validate_json(schedule.model_dump_json())
        assert learning_rates(again, PEAK).tolist() == rates.tolist(), name


def test_tails_that_do_not_fit_after_the_warm_up_are_left_out() -> None:
    names = set(zoo(1000, PEAK, 500))
    assert "wsd linear 0.4" in names
    assert "wsd linear 0.6" not in names


def test_the_power_law_leaves_its_top_where_the_warm_up_ends() -> None:
    rates = learning_rates(zoo(STEPS, PEAK, WARMUP)["power"], PEAK)
    assert rates[WARMUP] == pytest.approx(PEAK, rel=1e-9)
    assert rates[4 * WARMUP] == pytest.approx(PEAK * 4.0**-0.51, rel=1e-9)
    assert rates[-1] < 0.01 * PEAK


def test_the_order_is_that_of_the_true_losses_where_they_differ() -> None:
    found = rank_zoo(ensemble(), STEPS, PEAK, WARMUP)
    truth = {
        name: float(TRUE.predict(learning_rates(each, PEAK)).mean[0])
        for name, each in zoo(STEPS, PEAK, WARMUP).items()
        if name not in found.refused
    }
    order = [one.name for one in found.candidates]
    assert sorted(order) == sorted(truth)
    assert truth[order[0]] < min(truth.values()) + 2e-3
    ranks = np.argsort(np.argsort([truth[name] for name in order]))
    assert np.corrcoef(ranks, np.arange(len(order)))[0, 1] > 0.98
    assert [one.rank for one in found.candidates] == list(range(1, len(order) + 1))


def test_gains_are_shrunken_promises_over_the_linear_decay() -> None:
    found = {one.name: one for one in rank_zoo(ensemble(), STEPS, PEAK, WARMUP).candidates}
    base = found["linear"].loss
    assert found["linear"].gain == 0.0
    for one in found.values():
        assert one.gain == pytest.approx(SHRINK * (base - one.loss) / base, rel=1e-9)
        assert one.loss_sd > 1e-3 * one.loss


def test_long_runs_are_looked_at_in_fewer_steps_and_rank_the_same() -> None:
    steps = 60_000
    schedules = zoo(steps, PEAK, 600)
    rates = {name: learning_rates(each, PEAK) for name, each in schedules.items()}
    found = rank_under(ensemble(), rates)
    for one in found.candidates:
        whole = float(ensemble().predict(rates[one.name]).mean[0])
        assert one.loss == pytest.approx(whole, rel=3e-4), one.name


def test_a_stride_gives_the_rate_in_the_middle_of_each_group() -> None:
    schedule = Schedule(length=100, warmup=Warmup(length=10), body=Cosine())
    every = learning_rates(schedule, 2.0)
    fifths = learning_rates(schedule, 2.0, stride=5)
    assert fifths == pytest.approx(every[2::5], rel=1e-12)
    assert learning_rates(schedule, 2.0, stride=30).shape == (4,)


def test_doubts_are_said_once_for_all_whom_they_concern() -> None:
    law = ensemble()
    same = rank_zoo(law, STEPS, PEAK, WARMUP)
    assert [each for each in same.warnings if "never checked" in each] == [
        "cosine restarts, wsd-s 0.2: rising again after a fall, on which these laws were never checked"
    ]
    longer = rank_under(law, {"long": np.full(3 * STEPS, PEAK), "short": np.full(STEPS, PEAK)})
    assert [each for each in longer.warnings if each.startswith("long: more than twice as long")]
    lower = rank_under(law, {"low": np.full(STEPS, PEAK / 3.0)})
    assert any(each.startswith("low: far from the fitted peaks") for each in lower.warnings)
    given = rank_under(TRUE, {"one": np.full(STEPS, PEAK)})
    assert given.warnings == (
        "the law was given and not fitted; nothing is known of the runs behind it",
    )


def test_a_thinned_law_has_the_same_hull_in_fewer_steps() -> None:
    thick = np.full(STEPS // 10, PEAK)
    assert not rank_under(ensemble().thinned(10), {"one": thick}).warnings
    assert any(
        "twice as long" in each
        for each in rank_under(ensemble(), {"one": np.full(3 * STEPS, PEAK)}).warnings
    )
    assert any(
        "twice as long" in each
        for each in rank_under(ensemble().thinned(30), {"one": thick}).warnings
    )


def test_a_peak_above_and_a_short_tail_are_refused_and_a_margin_counts() -> None:
    law = ensemble()
    schedule = Schedule(length=STEPS, body=WSD(cooldown=0.06))
    rates = learning_rates(schedule, PEAK)
    assert outside(law, rates) is None
    assert "5 % is the least" in str(outside(law, rates, margin=0.01))
    assert "above the largest fitted rate" in str(outside(law, 1.1 * rates))
    assert outside(FittedMultiPower.of(3, 0.5, 0.5, 360, 2, 0.6, 0.64), 1.1 * rates) is None


@pytest.mark.parametrize(
    ("lrs", "rises"),
    [
        ([1.0, 2.0, 3.0, 2.0, 1.0], False),
        ([3.0, 3.0, 1.0, 1.0], False),
        ([3.0, 2.0, 2.5], True),
        ([3.0, 2.999, 3.0], False),
    ],
)
def test_a_rise_counts_after_a_fall_only(lrs: list[float], rises: bool) -> None:
    assert rises_again(np.array(lrs)) is rises


def test_a_reference_has_to_be_in_the_zoo_and_the_warm_up_to_leave_something() -> None:
    with pytest.raises(ValueError, match="a reference among"):
        rank_zoo(ensemble(), STEPS, PEAK, WARMUP, reference="nobody")
    with pytest.raises(ValueError, match="leaves nothing"):
        zoo(100, PEAK, 100)


def test_any_law_ranks_and_the_baseline_likes_what_trains_most() -> None:
    law = BaselineLaw().fit(usual_curves("baseline"))
    assert rank_zoo(law, STEPS, PEAK, WARMUP).candidates[0].name == "constant"


def test_thinning_keeps_the_mean_rate() -> None:
    rates = learning_rates(Schedule(length=1000, body=Linear()), PEAK)
    assert thinned(rates, 10).mean() == pytest.approx(rates.mean(), rel=1e-12)
