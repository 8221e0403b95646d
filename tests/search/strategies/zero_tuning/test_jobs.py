"""Whole simulated jobs under ``zero_tuning``."""

import math
from functools import lru_cache
from typing import Any

import pytest
from pacesetter.limits import Limits
from pacesetter.protocol import INITIAL, Budget, Capabilities, ParameterGroup, Segment
from pacesetter.schedules import WSD, Cosine, Schedule, Warmup
from pacesetter_search.contract import JobFacts, Overridden, Rewound
from pacesetter_search.strategies.zero_tuning import ZeroTuning, value

from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.peaks import KnownPeaks
from tests.search.support.simulator import SimulatedJob, job_facts

TOTAL = 3000
ADAMW_DEFAULT = 1e-3
FRESH_DATA = Capabilities.model_validate(
    {
        "rollback": "memory",
        "rewind_batches": "unlimited",
        "validate": True,
        "epoch_batches": 10 * TOTAL,
    }
)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the draws: what plans are worth is less exact, and whole jobs take a fifth of the time."""
    monkeypatch.setattr(value, "DRAWS", 600)
    monkeypatch.setattr(value, "OUTCOMES", 30)


def zero_tuning(**parameters: Any) -> ZeroTuning:
    strategy = ZeroTuning.from_document(parameters)
    assert isinstance(strategy, ZeroTuning)
    return strategy


def facts(lr: float = ADAMW_DEFAULT, total: int = TOTAL, **changes: Any) -> JobFacts:
    described: dict[str, Any] = {
        "base": Schedule.default_base(total),
        "groups": (ParameterGroup(name="all", base_lr=lr, optimizer="AdamW"),),
        "overhead_cap": 0.15,
        "limits": Limits(),
        "capabilities": FRESH_DATA,
    }
    return job_facts(total, **{**described, **changes})


def run(
    job: JobFacts | None = None,
    landscape: Any = None,
    parameters: dict[str, Any] | None = None,
    **simulated: Any,
) -> SimulatedJob:
    job = facts() if job is None else job
    landscape = KnownPeaks(job.budget.total) if landscape is None else landscape
    strategy = zero_tuning(**(parameters or {}))
    return SimulatedJob(strategy, job, landscape=landscape, **simulated).run()


@lru_cache(maxsize=1)
def uneventful() -> SimulatedJob:
    return run()


def rungs(job: SimulatedJob) -> list[Segment]:
    return [one for one in job.controller.segments if one.kind == "probe" and one.data != "hold"]


def main_line(job: SimulatedJob) -> Segment:
    return [one for one in job.controller.segments if one.kind == "main"][-1]


def chosen(job: SimulatedJob) -> float:
    """Return log2 of the main line's peak rate."""
    policy = main_line(job).policy
    base = 1.0 if policy.unit == "absolute" else job.facts.groups[0].base_lr
    return math.log2(policy.peak * base)


def codes(job: SimulatedJob) -> list[str]:
    return [entry.code for entry in job.controller.log]


def assert_sound(job: SimulatedJob) -> None:
    """What holds for every job: it ends at its budget on the main line, within the cap."""
    total = job.facts.budget.total
    allowed = job.facts.overhead_cap * total
    assert job.follower.finished
    assert job.follower.on_main_line
    assert job.follower.position >= total
    assert job.probe_units <= allowed
    assert sum(s.length for s in job.controller.segments if s.kind == "probe") <= allowed
    assert len(job.controller.segments) <= 40
    mains = [one for one in job.controller.segments if one.kind == "main"]
    assert mains[-1].end == total
    if job.facts.capabilities == FRESH_DATA:
        assert {one.end for one in mains} == {total}


# -- the flow --


def test_a_range_test_then_rungs_then_the_whole_main_line() -> None:
    job = uneventful()
    assert_sound(job)
    first, *others = job.controller.segments
    assert (first.kind, first.data, first.start, first.length) == ("probe", "hold", 0, 45)
    assert {one.kind for one in others[:-1]} == {"probe"}
    assert (others[-1].kind, others[-1].start, others[-1].length) == ("main", 0, TOTAL)
    assert len(job.main_losses) == TOTAL


def test_rungs_are_complete_schedules_from_the_untrained_model_on_the_same_batches() -> None:
    for rung in rungs(uneventful()):
        assert rung.source == INITIAL
        assert rung.data == "rewind"
        assert rung.measure.validate_at_end
        assert rung.policy.length == rung.length
        assert rung.policy.body == WSD(cooldown=0.5)
        assert rung.policy.at(rung.length) == 0.0
        assert rung.policy.warmup == Warmup(length=max(1, round(0.05 * rung.length)))


def test_the_main_line_trains_from_the_untrained_model_on_the_first_batches() -> None:
    landscape = NoisyQuadratic()
    job = run(landscape=landscape, job=facts(lr=0.02))
    assert landscape.data == TOTAL
    assert main_line(job).policy.warmup == job.facts.base.warmup


def test_every_decision_says_what_it_believes_expects_and_pays() -> None:
    job = uneventful()
    for entry in job.controller.log:
        if entry.code == "main":
            assert {"log2_lr", "log2_lr_mean", "log2_lr_sd", "expected_regret", "spent"} <= set(
                entry.numbers
            )
        if entry.code == "rung" and "plan" in entry.numbers:
            assert {"expected_gain", "cost", "minimum_detectable_effect"} <= set(entry.numbers)
    reason = main_line(job).reason
    assert reason.numbers["rungs"] == len(rungs(job))
    low, high = reason.numbers["log2_lr_low"], reason.numbers["log2_lr_high"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low < -6.0 < high


# -- what it finds --


@pytest.mark.parametrize("optimum", [-3.0, -6.0, -9.0, -12.0])
def test_it_finds_the_best_rate_without_one_being_given(optimum: float) -> None:
    job = run(landscape=KnownPeaks(TOTAL, optimum=optimum))
    assert_sound(job)
    assert optimum - 1.75 < chosen(job) < optimum + 1.0


@pytest.mark.parametrize("octaves", [-4.9, 0.0, 4.9], ids=["30x low", "right", "30x high"])
def test_a_wrong_rate_is_a_hint_only(octaves: float) -> None:
    job = run(facts(lr=2.0 ** (-6.0 + octaves)))
    assert_sound(job)
    assert -7.75 < chosen(job) < -5.25


@pytest.mark.parametrize(
    "landscape",
    [
        {"explode": True},
        {"turn": 6.0},
        {"drift": 0.0},
        {"drift": 0.5},
        {"shift": -10.0},
        {"curvature": 0.05},
    ],
    ids=str,
)
def test_it_finds_the_best_rate_of_odd_landscapes(landscape: dict[str, Any]) -> None:
    job = run(landscape=KnownPeaks(TOTAL, **landscape))
    assert_sound(job)
    assert -8.5 < chosen(job) < -5.0


def test_a_trusted_rate_costs_nothing() -> None:
    job = run(facts(lr=2.0**-6), parameters={"trust": 1.0, "trust_octaves": 0.15})
    assert_sound(job)
    assert [one.kind for one in job.controller.segments] == ["main"]
    assert "not_bought" in codes(job)
    assert chosen(job) == pytest.approx(-6.6, abs=0.3)  # WSD wants .6 octaves less than linear


def test_a_larger_margin_buys_less() -> None:
    thrifty = run(parameters={"margin": 20.0})
    assert_sound(thrifty)
    assert thrifty.probe_units < 0.5 * uneventful().probe_units


def test_without_validation_the_training_loss_of_the_decayed_end_counts() -> None:
    capabilities = Capabilities(rollback="memory", rewind_batches="unlimited")
    job = run(facts(lr=0.02, capabilities=capabilities), landscape=NoisyQuadratic())
    assert_sound(job)
    assert not any(rung.measure.validate_at_end for rung in rungs(job))
    assert "measured" in codes(job)
    assert job.landscape.validate() < 0.51


def test_a_base_schedule_of_the_users_own_keeps_its_shape() -> None:
    own = Schedule(length=TOTAL, warmup=Warmup(length=100), body=Cosine())
    job = run(facts(base=own))
    policy = main_line(job).policy
    assert (policy.body, policy.warmup) == (own.body, own.warmup)
    assert chosen(job) == pytest.approx(chosen(uneventful()) + 0.566, abs=0.3)


def test_groups_keep_their_ratio_and_an_absolute_base_its_unit() -> None:
    own = Schedule(length=TOTAL, unit="absolute", peak=0.002, body=Cosine())
    job = run(facts(base=own))
    assert_sound(job)
    assert main_line(job).policy.unit == "absolute"
    assert -8.0 < chosen(job) < -5.0


# -- losses that say nothing --


def test_a_job_whose_losses_are_all_broken_runs_to_its_end() -> None:
    job = run(landscape=NoisyQuadratic(floor=math.nan))
    assert_sound(job)
    assert all(math.isfinite(multiplier) for multiplier in job.main_multipliers)


def test_rates_that_explode_at_once_are_divergences() -> None:
    job = run(landscape=NoisyQuadratic(explode_above=0.004))
    assert_sound(job)
    assert chosen(job) < math.log2(0.004)


# -- caps and limits --


@pytest.mark.parametrize("cap", [0.0, 0.01, 0.05, 0.3])
def test_the_cap_is_kept(cap: float) -> None:
    job = run(facts(overhead_cap=cap))
    assert_sound(job)
    assert job.probe_units > 0 or cap <= 0.01


def test_the_cap_is_kept_in_tokens_although_steps_overshoot() -> None:
    total = 120_000
    job = run(
        facts(
            budget=Budget(clock="tokens", total=total),
            base=Schedule.default_base(total, clock="tokens"),
        ),
        landscape=KnownPeaks(3000),
        units=lambda step: 37 + step % 5,
    )
    assert job.follower.position >= total
    assert 0 < job.probe_units <= 0.15 * total
    assert rungs(job)
    assert -8.5 < chosen(job) < -4.5


def test_everything_stays_within_the_limits_of_the_training_code() -> None:
    limits = Limits(max_multiplier=2.0, min_multiplier=0.25, probe_max_multiplier=4.0)
    job = run(facts(lr=2.0**-9, limits=limits), parameters={"trust": 0.0})
    assert_sound(job)
    assert "refused" not in codes(job)
    assert 1.0 < max(job.main_multipliers) <= 2.0
    assert min(job.main_multipliers) >= 0.25
    assert max(one.policy.peak for one in rungs(job)) <= 4.0


def test_a_slow_rise_is_granted_where_the_limits_ask_for_it() -> None:
    job = run(facts(lr=2.0**-12, limits=Limits(max_change_per_step=1.5)))
    assert_sound(job)
    assert "refused" not in codes(job)
    before, after = job.main_multipliers, job.main_multipliers[1:]
    steepest = max(max(b, 0.05) / max(a, 0.05) for a, b in zip(before, after, strict=False))
    assert steepest <= 1.5 + 1e-6
    assert chosen(job) > -9.0


def test_probes_are_never_longer_than_allowed() -> None:
    job = run(facts(limits=Limits(max_probe_length=60)))
    assert_sound(job)
    assert max(one.length for one in job.controller.segments if one.kind == "probe") <= 60


def test_a_bounded_buffer_is_rewound_as_far_as_it_reaches() -> None:
    capabilities = Capabilities.model_validate(
        {"rollback": "memory", "rewind_batches": 64, "validate": True}
    )
    job = run(facts(capabilities=capabilities))
    assert_sound(job)
    for rung in rungs(job):
        assert rung.source == "current"
        assert rung.data == ("rewind" if rung.length <= 64 else "continue")


# -- refusals, absence, restarts --


@pytest.mark.parametrize(
    "code",
    ["PROBE_NOT_ALLOWED", "NO_ROLLBACK", "SNAPSHOT_FAILED", "ABOVE_LIMIT", "NO_REWIND", "ODD"],
)
def test_refused_probes_end_in_a_main_line_without_looping(code: str) -> None:
    job = run(refuse=lambda one: code if one.kind == "probe" else None)
    assert_sound(job)
    assert job.probe_units == 0
    assert main_line(job).origin == "zero_tuning"


def test_a_refusal_of_high_rates_lowers_the_probes() -> None:
    job = run(refuse=lambda one: "ABOVE_LIMIT" if one.policy.peak > 1.0 else None)
    assert_sound(job)
    assert rungs(job)
    assert chosen(job) < -9.9


@pytest.mark.parametrize("code", ["NO_REWIND", "NO_VALIDATION", "NO_CHECKPOINT"])
def test_what_the_job_cannot_do_after_all_is_done_without(code: str) -> None:
    def refuse(one: Segment) -> str | None:
        asked = {
            "NO_REWIND": one.data == "rewind",
            "NO_VALIDATION": one.measure.validate_at_end,
            "NO_CHECKPOINT": one.source == INITIAL,
        }
        return code if asked[code] else None

    job = run(refuse=refuse)
    assert_sound(job)
    assert rungs(job)


def test_refused_main_segments_leave_the_base_schedule() -> None:
    job = run(refuse=lambda one: "CHANGE_TOO_FAST" if one.kind == "main" else None)
    assert_sound(job)
    assert max(job.main_multipliers) == 1.0


@pytest.mark.parametrize("delay", [1, 5, 40])
def test_segments_that_arrive_late_find_the_untrained_model_all_the_same(delay: int) -> None:
    job = run(delay=delay)
    assert_sound(job)
    assert -8.0 < chosen(job) < -5.0
    assert (main_line(job).source, main_line(job).start) == (INITIAL, 0)
    assert len(job.main_losses) - TOTAL + job.probe_units <= 0.15 * TOTAL


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_an_answer_that_comes_too_late_is_planned_again(lost: int) -> None:
    job = run(deaf=lambda probes: probes == lost)
    assert "fell_back" in codes(job)
    assert_sound(job)
    assert main_line(job).origin == "zero_tuning"


def test_a_service_that_never_answers_in_time_leaves_the_job_alone_in_the_end() -> None:
    job = run(deaf=lambda _: True)
    assert_sound(job)
    assert len(job.controller.segments) < 20


def test_without_leave_to_roll_back_a_moved_main_line_goes_on_from_where_it_stands() -> None:
    job = run(facts(limits=Limits(allow_rollback=False)), delay=10)
    assert_sound(job)
    assert len(job.main_losses) == TOTAL
    assert main_line(job).source == "current"
    assert main_line(job).start > 0


def test_a_session_resumed_at_the_start_runs_the_first_probe_again() -> None:
    job = uneventful()
    controller = SimulatedJob(zero_tuning(), job.facts).controller
    controller.state = dict(job.controller.states[0])
    assert controller.tell(Rewound(position=0)) == []
    assert controller.state["live"]


def test_a_session_resumed_later_keeps_its_main_line() -> None:
    job = uneventful()
    controller = SimulatedJob(zero_tuning(), job.facts).controller
    controller.state = dict(job.controller.states[-1])
    assert controller.tell(Rewound(position=500)) == []


def test_a_session_resumed_later_without_a_main_line_gets_one_without_probes() -> None:
    job = uneventful()
    controller = SimulatedJob(zero_tuning(), job.facts).controller
    controller.state = dict(job.controller.states[0])
    (answer,) = controller.tell(Rewound(position=500))
    assert (answer.kind, answer.start, answer.when) == ("main", 500, "now")
    assert answer.end == TOTAL


def test_a_person_who_takes_over_is_left_alone_until_handing_back() -> None:
    job = uneventful()
    controller = SimulatedJob(zero_tuning(), job.facts).controller
    for event in job.controller.events[:8]:
        controller.tell(event.body)
    assert controller.tell(Overridden(active=True, seq=50, position=0)) == []
    for event in job.controller.events[8:20]:
        assert controller.tell(event.body) == []
    (resumed,) = controller.tell(Overridden(active=False, seq=51, position=150))
    assert (resumed.kind, resumed.start, resumed.source) == ("main", 150, "current")


# -- determinism --


def test_same_seed_gives_the_same_segments_however_rows_are_cut() -> None:
    assert run(cut=lambda _: 7).controller.segments == uneventful().controller.segments
    assert run(cut=lambda n: 1 + n % 90).controller.segments == uneventful().controller.segments


def test_replaying_the_events_gives_the_same_state() -> None:
    job = uneventful()
    again = SimulatedJob(zero_tuning(), job.facts).controller
    for event in job.controller.events:
        again.tell(event.body)
    assert again.state == job.controller.state


# -- what it cannot do --


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"authority": "advise"}, "authority"),
        ({"capabilities": Capabilities()}, "roll back"),
        ({"limits": Limits(allow_probes=False)}, "allow_probes"),
        ({"limits": Limits(max_probe_length=5)}, "max_probe_length"),
        ({"total": 200}, "too short"),
    ],
)
def test_jobs_it_cannot_steer_are_told_why(changes: dict[str, Any], word: str) -> None:
    found = list(zero_tuning().obstacles(facts(**changes)))
    assert len(found) == 1
    assert word in found[0]


def test_a_capable_job_has_no_obstacles() -> None:
    assert list(zero_tuning().obstacles(facts())) == []


def test_a_client_that_knows_neither_table_nor_wsd_gets_its_own_base_at_a_better_rate() -> None:
    old = Capabilities(rollback="memory", rewind_batches="unlimited", families=("linear", "cosine"))
    job = run(facts(capabilities=old))
    assert_sound(job)
    assert [one.policy.body.family for one in job.controller.segments] == ["linear"]
