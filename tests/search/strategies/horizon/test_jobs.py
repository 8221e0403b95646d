"""Whole simulated jobs under the horizon objective."""

from functools import lru_cache
from typing import Any

import pytest
from pacesetter.protocol import Budget, Capabilities, ParameterGroup, Segment, SegmentEnded
from pacesetter.schedules import Cosine, Schedule
from pacesetter_search.contract import JobFacts, Overridden, Rewound, Strategy
from pacesetter_search.strategies import get_strategy

from tests.search.support.expected_quadratic import ExpectedQuadratic
from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import SimulatedJob, job_facts

STEPS = 6000
LONG = 23_000
QUICK = {"win_probability": 0.7}
"""So short a run leaves much open; what these tests look at is what happens once something wins."""

OWN = Schedule(length=STEPS, body=Cosine())


def horizon(**parameters: Any) -> Strategy:
    return get_strategy("autolrs").from_document({"objective": "horizon", **parameters})


def facts(lr: float = 1.4, **changes: Any) -> JobFacts:
    given = {"base": Schedule.default_base(STEPS), "overhead_cap": 0.15, **changes}
    groups = (ParameterGroup(name="all", base_lr=lr),)
    total = given.pop("total", STEPS)
    return job_facts(total, groups=groups, limits={"max_multiplier": 4.0}, **given)


def run(
    job: JobFacts | None = None, parameters: dict[str, Any] | None = None, **others: Any
) -> SimulatedJob:
    given = {"landscape": ExpectedQuadratic(), **others}
    strategy = horizon(**(QUICK if parameters is None else parameters))
    return SimulatedJob(strategy, job or facts(), **given).run()


@lru_cache(maxsize=1)
def uneventful() -> SimulatedJob:
    return run()


def unsteered(lr: float, base: Schedule) -> float:
    problem = ExpectedQuadratic()
    for step in range(base.length):
        problem.step(lr * base.at(step))
    return problem.validate()


def codes(job: SimulatedJob) -> list[str]:
    return [entry.code for entry in job.controller.log]


def probes(job: SimulatedJob) -> list[Segment]:
    return [segment for segment in job.controller.segments if segment.kind == "probe"]


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
            assert segment.policy.at(total) == pytest.approx(0.0, abs=1e-9)  # always a final ramp


def test_a_better_decay_is_found_and_followed() -> None:
    """The bar of the noisy quadratic: 1.3 times the loss of the best cosine, which is 2.357e-4."""
    default = Schedule.default_base(LONG)
    job = run(facts(0.7071, total=LONG, base=default), {})
    assert_sound(job)
    assert "changed" in codes(job)
    assert job.landscape.validate() < 1.15 * 2.357e-4 < unsteered(0.7071, default)
    assert job.probe_units <= 0.06 * LONG


def test_a_rate_twice_too_high_comes_down() -> None:
    job = uneventful()
    assert_sound(job)
    assert job.landscape.validate() < 0.95 * unsteered(1.4, Schedule.default_base(STEPS))


def test_it_decides_only_at_the_declared_positions() -> None:
    starts = {segment.start for segment in uneventful().controller.segments if segment.seq > 1}
    for start in starts:
        assert any(mark <= start <= mark + 60 for mark in (600, 1800, 3000))


def test_probes_anneal_to_nothing_on_the_same_batches_as_their_siblings() -> None:
    for probe in probes(uneventful()):
        assert probe.length == STEPS // 100
        assert probe.data == "rewind"
        assert probe.policy.at(probe.end) == 0.0
    first, second = probes(uneventful())[:2]
    assert first.start == second.start
    assert second.policy.peak == pytest.approx(2.0 * first.policy.peak)


def test_a_good_rate_under_a_schedule_of_ones_own_costs_nothing() -> None:
    job = run(facts(0.7, base=OWN), {})
    assert_sound(job)
    assert codes(job) == ["keep_your_schedule"] * 3
    assert job.probe_units == 0
    assert job.landscape.validate() == pytest.approx(unsteered(0.7, OWN), rel=1e-12)


def test_what_ends_in_keep_has_spent_three_per_cent_at_most() -> None:
    job = run(facts(0.7, base=OWN), {"lr_uncertainty": 1.0, "win_probability": 0.999})
    assert "changed" not in codes(job)
    assert 0 < job.probe_units <= 0.03 * STEPS


def test_every_decision_states_its_numbers() -> None:
    log = {entry.code: entry.numbers for entry in uneventful().controller.log}
    assert {"expected_gain", "cost", "minimum_detectable_effect", "spent"} <= log[
        "worth_probing"
    ].keys()
    assert {"expected_gain", "win_probability", "predicted_loss", "spent_share"} <= log[
        "changed"
    ].keys()
    changed = next(one for one in uneventful().controller.segments if "saves" in one.reason.text)
    certainty = changed.reason.numbers["win_probability"]
    assert isinstance(certainty, float)
    assert certainty >= 0.7


def test_noise_that_hides_every_effect_keeps_the_schedule() -> None:
    job = run(landscape=NoisyQuadratic(noise=30.0), job=facts(1e-3), parameters={})
    assert_sound(job)
    assert set(codes(job)) == {"keep_your_schedule"}


def test_losses_below_zero_keep_the_schedule() -> None:
    job = run(landscape=NoisyQuadratic(floor=-5.0), job=facts(0.1))
    assert_sound(job)
    assert "changed" not in codes(job)


def test_rates_that_diverge_are_stopped_early_and_not_chosen() -> None:
    job = uneventful()
    stopped = [entry for entry in job.controller.log if entry.code == "diverged"]
    assert stopped
    assert job.probe_units < sum(probe.length for probe in probes(job))


def test_nothing_is_changed_on_probes_that_all_diverged() -> None:
    job = SimulatedJob(horizon(**QUICK), facts(), ExpectedQuadratic()).controller
    for event in uneventful().controller.events:
        body = event.body
        if isinstance(body, SegmentEnded) and body.kind == "probe":
            body = body.model_copy(update={"outcome": "stopped", "code": "NON_FINITE"})
        decided = job.tell(body)
        if "no_evidence" in {entry.code for entry in job.log}:
            break
    (answer,) = decided
    assert (answer.kind, answer.policy) == ("main", facts().base)


def test_reports_may_be_cut_anywhere() -> None:
    other = run(cut=lambda n: 1 + 7 * n % 90)
    assert other.controller.segments == uneventful().controller.segments


def test_a_replay_of_the_events_decides_the_same() -> None:
    job = uneventful()
    again = SimulatedJob(horizon(**QUICK), facts(), ExpectedQuadratic()).controller
    for event in job.controller.events:
        again.tell(event.body)
    assert again.segments == job.controller.segments
    assert again.states == job.controller.states


@pytest.mark.parametrize(("delay", "stale"), [(1, 0), (40, 0), (150, 1), (3000, 1)])
def test_a_probe_that_comes_too_late_is_planned_further_ahead(delay: int, stale: int) -> None:
    job = run(delay=delay)
    assert_sound(job)
    assert codes(job).count("stale") == stale
    assert ("measured" in codes(job)) == (delay < 3000)


def test_a_job_that_falls_back_goes_on() -> None:
    job = run(deaf=lambda ended: ended == 1)
    assert_sound(job)
    assert "fell_back" in codes(job)


@pytest.mark.parametrize(
    ("kind", "code", "left"),
    [
        ("probe", "NO_REWIND", True),
        ("probe", "SNAPSHOT_FAILED", False),
        ("main", "ABOVE_LIMIT", True),
    ],
)
def test_refusals_are_taken_into_account(kind: str, code: str, left: bool) -> None:
    refused: list[int] = []

    def refuse(segment: Segment) -> str | None:
        if segment.kind == kind and segment.seq > 1 and not refused:
            refused.append(segment.seq)
            return code
        return None

    job = run(refuse=refuse)
    assert_sound(job)
    assert bool(probes(job)[1:]) is left
    if code == "NO_REWIND":
        assert all(probe.data == "continue" for probe in probes(job)[1:])


def test_a_person_who_steered_and_handed_back_is_not_overruled() -> None:
    controller = SimulatedJob(horizon(**QUICK), facts(), ExpectedQuadratic()).controller
    job = uneventful()
    for event in job.controller.events[:4]:
        controller.tell(event.body)
    assert controller.tell(Overridden(active=True, seq=2, position=100)) == []
    handed_back = controller.tell(Overridden(active=False, seq=2, position=900))
    assert [(one.kind, one.start, one.end) for one in handed_back] == [("main", 900, STEPS)]


def test_a_session_that_resumes_between_two_probes_follows_the_line_again() -> None:
    job = uneventful()
    sibling = probes(job)[1]
    controller = SimulatedJob(horizon(**QUICK), facts(), ExpectedQuadratic()).controller
    controller.state = job.controller.states[sibling.seq - 1]
    (answer,) = controller.tell(Rewound(position=sibling.start))
    assert (answer.kind, answer.when, answer.start) == ("main", "now", sibling.start)


def test_a_job_in_tokens_is_steered_alike() -> None:
    tokens = 512 * STEPS
    job = run(
        facts(
            budget=Budget(clock="tokens", total=tokens),
            base=Schedule.default_base(tokens, clock="tokens"),
        ),
        units=lambda _: 512,
    )
    assert job.follower.main_position == tokens
    assert len(job.main_losses) == STEPS
    assert "changed" in codes(job)
    assert job.probe_units <= 0.15 * tokens


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"authority": "advise"}, "authority"),
        ({"capabilities": Capabilities()}, "roll back"),
    ],
)
def test_what_it_cannot_do_is_said_at_registration(changes: dict[str, Any], word: str) -> None:
    (sentence,) = horizon().obstacles(facts(**changes))
    assert word in sentence


def test_a_budget_too_short_to_probe_is_left_alone() -> None:
    job = SimulatedJob(horizon(), job_facts(200, base=Schedule.default_base(200))).run()
    assert len(job.main_losses) == 200
    assert job.probe_units == 0
