"""From losses to scores, and from a job's description to bounds, horizons, prior and price."""

import math
from typing import Any

import pytest
from pacesetter.limits import Limits
from pacesetter.protocol import Budget, Capabilities, ParameterGroup
from pacesetter.schedules import WSD, Cosine, Linear, Schedule, Warmup
from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.zero_tuning import shapes
from pacesetter_search.strategies.zero_tuning.knowledge import (
    bounds,
    gather,
    ladder,
    prior_of,
)
from pacesetter_search.strategies.zero_tuning.memory import Memory, Window
from pacesetter_search.strategies.zero_tuning.parameters import ZeroTuningParameters
from pacesetter_search.strategies.zero_tuning.prior import SLOPE_MEAN, drift_of
from pacesetter_search.strategies.zero_tuning.scores import Measured, scored
from pacesetter_search.transfer.practice import FIELD_SD

from tests.search.support.simulator import job_facts

TOTAL = 3200
DEFAULTS = ZeroTuningParameters()


def measured(*losses: float | None) -> list[Measured]:
    return [Measured(length=50, log2_lr=-6.0 + i, loss=loss) for i, loss in enumerate(losses)]


def job(lr: float = 0.01, optimizer: str = "AdamW", **changes: object) -> JobFacts:
    group = ParameterGroup(name="all", base_lr=lr, optimizer=optimizer)
    base = Schedule.default_base(TOTAL)
    return job_facts(TOTAL, **{"groups": (group,), "base": base, "limits": Limits(), **changes})


# -- scores --


def test_positive_losses_are_scored_by_their_logarithm() -> None:
    rungs, start = scored(measured(2.0, None, 0.5), 4.0, TOTAL)
    assert [rung.score for rung in rungs] == [math.log(2.0), None, math.log(0.5)]
    assert start == math.log(4.0)
    assert rungs[0].horizon == 50 / TOTAL


def test_losses_of_either_sign_are_scored_by_their_share_of_what_was_learned() -> None:
    rungs, start = scored(measured(-10.0, -4.0), 2.0, TOTAL)
    assert rungs[1].score is not None
    assert rungs[0].score is not None
    assert rungs[1].score - rungs[0].score == pytest.approx(0.5)
    assert start == pytest.approx(2.0 / 12.0)


def test_equal_negative_losses_are_not_blown_up() -> None:
    rungs, _ = scored(measured(-100.0, -100.1), None, TOTAL)
    assert rungs[0].score is not None
    assert rungs[1].score is not None
    assert abs(rungs[1].score - rungs[0].score) < 0.01


def test_nothing_but_divergences_and_zeros_can_be_scored() -> None:
    assert scored(measured(None, None), None, TOTAL)[1] is None
    assert [rung.score for rung in scored(measured(0.0, 0.0), 0.0, TOTAL)[0]] == [0.0, 0.0]


def test_a_window_takes_the_mean_of_the_last_fifth_however_rows_are_cut() -> None:
    window = Window(length=10, keep_rows=False)
    for position in range(10):
        window.add(float(position), float(position))
    assert window.tail == 8.5
    assert window.positions == []


def test_a_window_keeps_the_rows_of_a_range_test_up_to_a_thousand() -> None:
    window = Window(length=5000, keep_rows=True)
    for position in range(5000):
        window.add(float(position), 1.0)
    window.add(5000.0, math.nan)
    assert len(window.losses) == 1001
    assert window.losses[-1] is None
    assert window.broken


# -- shapes --


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (Linear(), 0.9995),
        (Cosine(), 0.9706),
        (WSD(cooldown=0.5), 0.6556),
        (WSD(cooldown=0.2), 0.5140),
    ],
    ids=["linear", "cosine", "wsd 50", "wsd 20"],
)
def test_the_convex_bounds_peaks_are_the_published_ones(body: object, expected: float) -> None:
    shape = Schedule.model_validate({"length": 10_000, "body": body})
    assert shapes.relative_peak(shape) == pytest.approx(expected, abs=2e-3)


def test_a_linear_base_wants_six_tenths_of_an_octave_more_than_the_rungs() -> None:
    linear = Schedule(length=1000, warmup=Warmup(length=50), body=Linear())
    assert shapes.octaves_from_rungs(linear) == pytest.approx(0.608, abs=0.01)
    assert shapes.octaves_from_rungs(Schedule(length=9, body=WSD(cooldown=0.5))) == pytest.approx(0)


def test_the_strategy_chooses_the_shape_where_nobody_did_and_keeps_the_warm_up() -> None:
    facts = job()
    chosen = shapes.main_shape(facts)
    assert chosen.body == WSD(cooldown=0.5)
    assert chosen.warmup == facts.base.warmup
    own = Schedule(length=TOTAL, body=Cosine())
    assert shapes.main_shape(job(base=own)) == own


def test_the_main_line_peaks_at_the_rate_asked_for_in_either_unit() -> None:
    relative = shapes.main(job(lr=0.01), -5.0)
    assert relative.peak * 0.01 == pytest.approx(2.0**-5)
    absolute = Schedule(length=TOTAL, unit="absolute", peak=0.3, body=Linear())
    assert shapes.main(job(base=absolute), -5.0).peak == 2.0**-5


def test_the_main_line_never_goes_below_the_lowest_multiplier() -> None:
    policy = shapes.main(job(lr=0.01, limits=Limits(min_multiplier=0.1)), -6.0)
    values = [policy.at(p) for p in range(TOTAL)]
    assert min(values) >= 0.1
    assert max(values) == pytest.approx(2.0**-6 / 0.01)


# -- bounds, horizons, prior, price --


def test_rungs_are_long_enough_to_say_something_and_no_longer_than_allowed() -> None:
    assert ladder(job()) == (50 / TOTAL, 100 / TOTAL, 200 / TOTAL, 400 / TOTAL)
    assert ladder(job(limits=Limits(max_probe_length=150))) == (50 / TOTAL, 100 / TOTAL)
    assert ladder(job(budget=Budget(total=600))) == (19 / 600, 38 / 600, 75 / 600)
    assert ladder(job(budget=Budget(total=128_000)))[0] == 500 / 128_000


def test_in_tokens_all_horizons_but_the_shortest_are_there() -> None:
    found = ladder(job(budget=Budget(clock="tokens", total=6400)))
    assert found == (100 / 6400, 200 / 6400, 400 / 6400, 800 / 6400)


def test_bounds_are_the_limits_in_octaves() -> None:
    limits = Limits(max_multiplier=4.0, min_multiplier=0.5, probe_max_multiplier=8.0)
    main, probe = bounds(job(limits=limits), "main"), bounds(job(limits=limits), "probe")
    assert (main.lowest, main.highest) == pytest.approx((math.log2(0.005), math.log2(0.04)))
    assert (probe.lowest, probe.highest) == pytest.approx((-24.0, math.log2(0.08)))
    assert bounds(job(), "main").highest == 5.0


def test_a_rate_that_is_torchs_default_is_no_hint() -> None:
    assert [part.sd for part in prior_of(job(lr=1e-3), DEFAULTS).optimum] == [FIELD_SD]
    given = prior_of(job(lr=0.004), DEFAULTS).optimum
    assert [part.weight for part in given] == [0.5, 0.5]
    assert given[0].mean == pytest.approx(math.log2(0.004) - 0.608, abs=0.01)


def test_full_trust_looks_around_the_given_rate_only_and_none_ignores_it() -> None:
    full = prior_of(job(lr=0.004), ZeroTuningParameters(trust=1.0, trust_octaves=0.5))
    assert [part.sd for part in full.optimum] == [0.5]
    assert [
        part.sd for part in prior_of(job(lr=0.004), ZeroTuningParameters(trust=0.0)).optimum
    ] == [FIELD_SD]


def pretraining(**changes: Any) -> JobFacts:
    described: dict[str, Any] = {
        "budget": Budget(clock="tokens", total=2_500_000_000),
        "groups": (
            ParameterGroup(name="a", base_lr=1e-3, parameters=100_000_000, optimizer="AdamW"),
            ParameterGroup(name="b", base_lr=1e-3, parameters=24_000_000, optimizer="AdamW"),
        ),
        "regime": "pretrain",
        "base": Schedule(length=2_500_000_000),
    }
    return job_facts(2_500_000_000, **{**described, **changes})


def test_a_published_law_is_believed_inside_its_range_at_the_rungs_shape() -> None:
    law, broad = prior_of(pretraining(), ZeroTuningParameters()).optimum
    # 2.33e-3 for a cosine; the rungs' WSD over half wants .6556 / .9706 of it by the convex bound.
    assert 2.0**law.mean == pytest.approx(2.330e-3 * 0.6556 / 0.9706, rel=5e-3)
    assert (law.weight, law.sd) == (0.7, 0.75)
    assert broad.weight == pytest.approx(0.3)
    assert broad.sd == FIELD_SD


@pytest.mark.parametrize(
    "changes",
    [
        {"regime": "finetune"},
        {"budget": Budget(clock="tokens", total=1_000_000_000)},
        {"budget": Budget(clock="steps", total=2_500_000_000)},
        {"groups": (ParameterGroup(name="a", base_lr=1e-3, parameters=124, optimizer="AdamW"),)},
        {"groups": (ParameterGroup(name="a", base_lr=1e-3, parameters=10**8, optimizer="SGD"),)},
    ],
)
def test_a_published_law_says_nothing_of_other_jobs(changes: dict[str, Any]) -> None:
    assert len(prior_of(pretraining(**changes), ZeroTuningParameters()).optimum) == 1


def test_the_rate_that_was_given_stands_beside_the_law() -> None:
    groups = (ParameterGroup(name="a", base_lr=4e-3, parameters=10**8, optimizer="AdamW"),)
    parts = prior_of(pretraining(groups=groups), ZeroTuningParameters(trust=0.5)).optimum
    assert [part.weight for part in parts] == pytest.approx([0.5, 0.35, 0.15])
    assert math.fsum(part.weight for part in parts) == pytest.approx(1.0)


def test_the_drift_is_known_better_where_no_data_repeat() -> None:
    assert drift_of(0.5)[2] < drift_of(50.0)[2]
    assert drift_of(0.5)[0] > drift_of(50.0)[0]


def test_data_that_do_not_say_how_long_they_are_are_taken_for_seen_once() -> None:
    assert drift_of(None) == drift_of(0.5)


def test_data_that_repeat_have_a_drift_of_their_own() -> None:
    reused = Capabilities(rollback="memory", epoch_batches=32)
    prior = prior_of(job(optimizer="SGD", capabilities=reused), DEFAULTS)
    assert (prior.drift_mean, prior.drift_sd, prior.drift_noise) == drift_of(100.0)


def test_steps_cost_what_the_measured_fall_says_shrunk_to_the_prior() -> None:
    def slope(short: float, long: float) -> float:
        memory = Memory(
            tested=True,
            measured=[
                Measured(length=50, log2_lr=-6.0, loss=short),
                Measured(length=200, log2_lr=-6.0, loss=long),
            ],
        )
        return gather(job(), memory, DEFAULTS).slope

    flat, steep = slope(1.0, 1.0), slope(1.6, 1.0)
    assert 0.0 < flat < SLOPE_MEAN < steep < 0.5 * math.log(1.6)


def test_a_share_of_the_budget_costs_its_part_of_a_doubling() -> None:
    knowledge = gather(job(), Memory(spent=320, lost=320), DEFAULTS)
    assert knowledge.spent == pytest.approx(0.2)
    assert knowledge.cost(1.2) == pytest.approx(knowledge.slope)
