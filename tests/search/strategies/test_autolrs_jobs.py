"""Whole simulated jobs under ``autolrs``."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter.protocol import Budget, Capabilities, ParameterGroup, Segment
from pacesetter.schedules import Schedule, Warmup
from pacesetter_search.contract import JobFacts, Overridden, Rewound
from pacesetter_search.strategies.autolrs import AutoLRS

from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import SimulatedJob, job_facts

SHORT = 420
QUICK = {"candidates": 4}


def autolrs(**parameters: Any) -> AutoLRS:
    strategy = AutoLRS.from_document({**QUICK, **parameters})
    assert isinstance(strategy, AutoLRS)
    return strategy


def run(
    facts: JobFacts | None = None, parameters: dict[str, Any] | None = None, **job: Any
) -> SimulatedJob:
    return SimulatedJob(
        autolrs(**(parameters or {})), facts if facts is not None else job_facts(SHORT), **job
    ).run()


@lru_cache(maxsize=1)
def uneventful() -> SimulatedJob:
    return run()


def kinds(job: SimulatedJob) -> list[str]:
    return [segment.kind for segment in job.controller.segments]


def codes(job: SimulatedJob) -> list[str]:
    return [entry.code for entry in job.controller.log]


def assert_sound(job: SimulatedJob) -> None:
    """What holds for every job: the main line is the budget, the cap holds, the model is the main line's."""
    total = job.facts.budget.total
    assert len(job.main_losses) == total
    assert job.probe_units <= job.facts.overhead_cap * total
    assert job.follower.on_main_line
    assert job.follower.finished
    for segment in job.controller.segments:
        assert segment.end <= total
        if segment.kind == "main":
            assert segment.policy.at(total - 1) > 0
            assert segment.source == "current"


def test_main_line_is_exactly_the_budget_and_ends_on_a_main_segment() -> None:
    job = uneventful()
    assert_sound(job)
    assert kinds(job)[-1] == "main"
    assert job.controller.segments[-1].end == SHORT


def test_each_stage_is_probed_at_its_start_and_then_run() -> None:
    assert kinds(uneventful()) == ["probe"] * 4 + ["main"] + ["probe"] * 4 + ["main"]


def test_the_stage_and_the_first_probe_of_the_next_travel_together() -> None:
    segments = uneventful().controller.segments
    main, probe = segments[4], segments[5]
    assert (main.kind, probe.kind, probe.when) == ("main", "probe", "end")
    assert probe.after == main.seq
    assert probe.start == main.end
    assert probe.policy.peak == main.policy.peak


def test_a_low_start_ends_better_than_the_base_schedule() -> None:
    base = NoisyQuadratic()
    for _ in range(SHORT):
        base.step(0.1)
    job = run(job_facts(SHORT, groups=(ParameterGroup(name="all", base_lr=0.1),)))
    assert job.landscape.validate() - 0.5 < 0.5 * (base.validate() - 0.5)


def test_siblings_see_the_same_batches() -> None:
    job = uneventful()
    assert all(one.data == "rewind" for one in job.controller.segments if one.kind == "probe")
    assert isinstance(job.landscape, NoisyQuadratic)
    assert job.landscape.data == SHORT


@pytest.mark.parametrize(
    ("capability", "data"), [(0, "continue"), (10, "continue"), (13, "rewind")]
)
def test_data_is_rewound_only_as_far_as_the_job_can(capability: int, data: str) -> None:
    capabilities = Capabilities(rollback="memory", rewind_batches=capability)
    job = run(job_facts(SHORT, capabilities=capabilities))
    assert job.controller.segments[0].length == 13
    assert {one.data for one in job.controller.segments if one.kind == "probe"} >= {data}
    assert_sound(job)


def test_full_length_stages_are_judged_by_validation_loss() -> None:
    job = run(job_facts(1600), {"candidates": 2})
    asked = [one.measure.validate_at_end for one in job.controller.segments if one.kind == "probe"]
    assert asked == [False] * 6 + [True] * 2
    assert_sound(job)


def test_a_job_that_cannot_validate_is_never_asked_to() -> None:
    capabilities = Capabilities(rollback="memory", rewind_batches="unlimited")
    job = run(job_facts(1600, capabilities=capabilities), {"candidates": 2})
    assert not any(one.measure.validate_at_end for one in job.controller.segments)


def test_warm_up_of_the_base_schedule_is_never_searched() -> None:
    base = Schedule(length=SHORT, warmup=Warmup(length=60))
    job = run(job_facts(SHORT, base=base))
    assert job.controller.segments[0].start == 60
    assert job.main_multipliers[:60] == pytest.approx([base.at(p) for p in range(60)])


def test_long_budget_has_the_published_stages() -> None:
    facts = job_facts(40_000, base=Schedule(length=40_000, warmup=Warmup(length=500)))
    stages = AutoLRS.from_document({}).initial(facts)["stages"]
    assert isinstance(stages, list)
    lengths = [stage["length"] for stage in stages if isinstance(stage, dict)]
    assert lengths == [1000, 2000, 4000, 8000, 8000, 8000, 8500]


@pytest.mark.parametrize("cap", [0.0, 0.05, 0.3])
def test_overhead_cap_is_kept_and_the_last_stage_then_runs_to_the_end(cap: float) -> None:
    job = run(job_facts(SHORT, overhead_cap=cap))
    assert_sound(job)
    assert job.probe_units <= cap * SHORT
    assert "cap_reached" in codes(job)


def test_cap_is_kept_in_tokens_although_steps_overshoot() -> None:
    total = 20_000
    facts = job_facts(
        total,
        budget=Budget(clock="tokens", total=total),
        base=Schedule(length=total, warmup=Warmup(length=400)),
        overhead_cap=0.2,
    )
    job = run(facts, units=lambda step: 37 + step % 5)
    assert job.probe_units <= 0.2 * total
    assert job.follower.position >= total
    assert kinds(job).count("probe") > 3


def test_same_seed_gives_the_same_segments() -> None:
    assert run().controller.segments == uneventful().controller.segments


def test_another_seed_tries_other_rates() -> None:
    peaks = [one.policy.peak for one in uneventful().controller.segments]
    others = [one.policy.peak for one in run(job_facts(SHORT, seed=1)).controller.segments]
    assert peaks[0] == others[0]
    assert peaks[1:4] != others[1:4]


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_how_rows_are_cut_into_records_changes_nothing(cuts: list[int]) -> None:
    job = run(cut=lambda record: cuts[record % len(cuts)])
    assert job.controller.segments == uneventful().controller.segments


def test_replaying_the_events_gives_the_same_state() -> None:
    job = uneventful()
    again = SimulatedJob(autolrs(), job.facts).controller
    for event in job.controller.events:
        again.tell(event.body)
    assert again.state == job.controller.state


@pytest.mark.parametrize("delay", [1, 5, 40])
def test_segments_that_arrive_late_still_steer(delay: int) -> None:
    job = run(delay=delay)
    assert_sound(job)
    assert kinds(job).count("main") >= 1
    assert "stage_chosen" in codes(job)


@pytest.mark.parametrize("lost", [1, 3, 4, 6])
def test_an_answer_that_comes_too_late_is_planned_again(lost: int) -> None:
    job = run(deaf=lambda probes: probes == lost)
    assert "fell_back" in codes(job)
    assert_sound(job)
    assert kinds(job)[-1] == "main"


def test_a_service_that_never_answers_in_time_leaves_the_job_alone_in_the_end() -> None:
    job = run(deaf=lambda _: True)
    assert_sound(job)
    assert len(job.controller.segments) < 60


@pytest.mark.parametrize(
    "code",
    ["PROBE_NOT_ALLOWED", "NO_ROLLBACK", "SNAPSHOT_FAILED", "ABOVE_LIMIT", "NO_REWIND", "ODD"],
)
def test_refused_probes_end_in_a_main_line_without_looping(code: str) -> None:
    job = run(refuse=lambda one: code if one.kind == "probe" else None)
    assert_sound(job)
    assert job.probe_units == 0
    assert len(job.controller.segments) <= 12
    assert "refused" in codes(job)


def test_a_refusal_to_rewind_is_answered_by_going_on_through_the_data() -> None:
    def no_rewind(segment: Segment) -> str | None:
        return "NO_REWIND" if segment.data == "rewind" else None

    job = run(refuse=no_rewind)
    assert_sound(job)
    data = [one.data for one in job.controller.segments if one.kind == "probe"]
    assert data[0] == "rewind"
    assert set(data[1:]) == {"continue"}


def test_refused_main_segments_leave_the_base_schedule() -> None:
    job = run(refuse=lambda one: "CHANGE_TOO_FAST" if one.kind == "main" else None)
    assert_sound(job)
    assert job.main_multipliers[-1] == 1.0


def test_probes_stay_within_the_limits_of_the_training_code() -> None:
    limits = {"max_multiplier": 2.0, "min_multiplier": 0.25, "probe_max_multiplier": 1.5}
    job = run(job_facts(SHORT, limits=limits))
    peaks = [one.policy.peak for one in job.controller.segments]
    assert max(peaks) <= 1.5
    assert min(peaks) >= 0.25
    assert "refused" not in codes(job)


def test_stages_never_jump_further_than_allowed() -> None:
    job = run(job_facts(SHORT, limits={"max_change_per_step": 1.5}))
    after_warmup = np.array(job.main_multipliers[10:])
    ratios = np.maximum(after_warmup[1:] / after_warmup[:-1], after_warmup[:-1] / after_warmup[1:])
    assert ratios.max() <= 1.5 + 1e-9
    assert "refused" not in codes(job)


def test_absolute_rates_refer_to_the_first_group() -> None:
    groups = (ParameterGroup(name="a", base_lr=0.1), ParameterGroup(name="b", base_lr=5.0))
    job = run(job_facts(SHORT, groups=groups), {"lr_min": 0.05, "lr_max": 0.4})
    peaks = [one.policy.peak * 0.1 for one in job.controller.segments]
    assert min(peaks) >= 0.05 - 1e-12
    assert max(peaks) <= 0.4 + 1e-12


def test_a_person_who_takes_over_is_left_alone_until_handing_back() -> None:
    job = uneventful()
    controller = SimulatedJob(autolrs(), job.facts).controller
    for event in job.controller.events[:12]:
        controller.tell(event.body)
    assert controller.tell(Overridden(active=True, seq=50, position=100)) == []
    for event in job.controller.events[12:20]:
        assert controller.tell(event.body) == []
    resumed = controller.tell(Overridden(active=False, seq=51, position=150))
    assert resumed
    assert resumed[0].when == "now"
    assert resumed[0].end > 150


def decided(job: SimulatedJob, kind: str, nth: int) -> tuple[Segment, dict[str, Any]]:
    found = [
        (segment, state)
        for segment, state in zip(job.controller.segments, job.controller.states, strict=True)
        if segment.kind == kind
    ]
    return found[nth]


def test_a_session_resumed_within_a_stage_keeps_its_segments() -> None:
    job = uneventful()
    main, state = decided(job, "main", 0)
    controller = SimulatedJob(autolrs(), job.facts).controller
    controller.state = dict(state)
    assert controller.tell(Rewound(position=main.start + 5)) == []


def test_a_session_resumed_between_siblings_probes_again() -> None:
    job = uneventful()
    probe, state = decided(job, "probe", 2)
    controller = SimulatedJob(autolrs(), job.facts).controller
    controller.state = dict(state)
    answer = controller.tell(Rewound(position=probe.start))
    assert [one.kind for one in answer] == ["probe"]
    assert (answer[0].when, answer[0].start > probe.start) == ("now", True)


def test_a_job_whose_losses_are_all_broken_runs_to_its_end() -> None:
    job = run(landscape=NoisyQuadratic(floor=math.nan))
    assert_sound(job)
    assert "all_diverged" in codes(job)
    assert all(math.isfinite(multiplier) for multiplier in job.main_multipliers)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"authority": "advise"}, "authority"),
        ({"authority": "observe"}, "authority"),
        ({"capabilities": Capabilities()}, "roll back"),
        ({"limits": {"allow_probes": False}}, "allow_probes"),
        ({"limits": {"max_probe_length": 5}}, "max_probe_length"),
        ({"limits": {"max_change_per_step": 1.01}}, "max_change_per_step"),
        ({"limits": {"max_multiplier": 0.001}}, "range"),
        ({"total": 80}, "too short"),
    ],
)
def test_jobs_it_cannot_steer_are_told_why(changes: dict[str, Any], word: str) -> None:
    facts = job_facts(changes.pop("total", SHORT), **changes)
    found = list(autolrs().obstacles(facts))
    assert len(found) == 1
    assert word in found[0]


def test_a_capable_job_has_no_obstacles() -> None:
    assert list(autolrs().obstacles(job_facts(SHORT))) == []


def test_a_probe_that_came_too_late_is_planned_further_ahead_and_its_rate_is_not_lost() -> None:
    """The first probe starts at 32 and lasts 80; it arrives at 130, which is 98 late."""
    job = run(job_facts(1600), {"first_stage": 800, "candidates": 2}, delay=130)
    first, again = job.controller.segments[:2]
    assert (first.start, first.length) == (32, 80)
    assert (again.kind, again.when) == ("probe", "now")
    assert again.start == 130 + 2 * 98
    assert again.policy.peak == first.policy.peak
    assert_sound(job)


def test_a_probe_that_would_come_too_late_for_its_stage_is_left_out() -> None:
    job = run(delay=30)
    assert kinds(job)[:3] == ["probe", "main", "probe"]
    assert job.controller.segments[1].policy == job.facts.base
    assert_sound(job)
