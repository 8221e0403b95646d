"""``wsd_branch``: where the trunk is cut, what a branch sees, and what is handed over."""

from typing import Any

import pytest
from pacesetter.protocol import INITIAL, Capabilities, Segment
from pacesetter.schedules import Constant, Linear, Schedule, Warmup
from pacesetter_search.contract import JobFacts, Overridden
from pacesetter_search.strategies.wsd_branch import WSDBranch
from pydantic import ValidationError

from tests.search.support.landscape import NoisyQuadratic
from tests.search.support.simulator import SimulatedJob, job_facts

TOTAL = 1000


def strategy(**parameters: Any) -> WSDBranch:
    made = WSDBranch.from_document(parameters)
    assert isinstance(made, WSDBranch)
    return made


def facts(**changes: Any) -> JobFacts:
    base = Schedule(length=TOTAL, warmup=Warmup(length=20), body=Linear())
    return job_facts(TOTAL, **{"base": base, "limits": {"max_multiplier": None}, **changes})


def run(parameters: dict[str, Any], **simulated: Any) -> SimulatedJob:
    described = simulated.pop("facts", facts())
    return SimulatedJob(strategy(**parameters), described, **simulated).run()


def of_kind(job: SimulatedJob, kind: str) -> list[Segment]:
    return [one for one in job.controller.segments if one.kind == kind]


def codes(job: SimulatedJob) -> list[str]:
    return [entry.code for entry in job.controller.log]


def test_each_budget_gets_a_decay_off_the_trunk_that_ends_at_it() -> None:
    job = run({"budgets": [250, 500], "decay": 0.2})
    branches = of_kind(job, "branch")
    assert [(one.start, one.length, one.end) for one in branches] == [
        (200, 50, 250),
        (400, 100, 500),
    ]
    for one in branches:
        assert one.policy.at(one.start) == 1.0
        assert one.policy.at(one.end) == 0.0
        assert one.data == "rewind"
        assert one.measure.validate_at_end
    assert [one.save_end_as for one in branches] == ["budget-250", "budget-500"]


def test_the_trunk_is_as_if_there_had_been_no_branch() -> None:
    alone = run({"budgets": []}, landscape=NoisyQuadratic())
    job = run({"budgets": [250, 500]}, landscape=NoisyQuadratic())
    assert job.main_losses == alone.main_losses
    assert job.main_multipliers == alone.main_multipliers
    assert len(job.main_losses) == TOTAL
    assert job.probe_units == 150


def test_the_trunk_holds_its_rate_and_ends_in_a_decay_of_its_own() -> None:
    rates = run({"budgets": [250], "decay": 0.1, "shape": "linear"}).main_multipliers
    assert set(rates[20:900]) == {1.0}
    assert rates[950] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(facts().base.at(10))


def test_wsd_s_goes_on_from_the_decayed_state_and_trains_nothing_beside_the_main_line() -> None:
    job = run({"budgets": [250, 500], "mode": "wsd_s", "shape": "linear"})
    rates = job.main_multipliers
    assert len(rates) == TOTAL
    assert job.probe_units == 0
    assert of_kind(job, "branch") == []
    assert rates[225] == pytest.approx(0.5)
    assert rates[249] == pytest.approx(0.02)
    assert rates[300] == 1.0
    assert rates[450] == pytest.approx(0.5)
    assert rates[900] == pytest.approx(0.5)
    handed = [one for one in of_kind(job, "main") if one.hand_over]
    assert [(one.end, one.save_end_as) for one in handed] == [
        (250, "budget-250"),
        (500, "budget-500"),
    ]


@pytest.mark.parametrize("mode", ["wsd", "wsd_s"])
def test_every_budget_reached_is_in_the_log_with_its_loss_and_its_state_is_released(
    mode: str,
) -> None:
    job = run({"budgets": [250, 500], "mode": mode})
    reached = [each.numbers for each in job.controller.log if each.code == "budget_reached"]
    assert [each["budget"] for each in reached] == [250, 500]
    if mode == "wsd":
        assert all(isinstance(each["validation_loss"], float) for each in reached)
    released = [name for one in job.controller.segments for name in one.release]
    assert "budget-250" in released


def test_every_main_segment_is_defined_to_the_end_of_the_budget() -> None:
    for mode in ("wsd", "wsd_s"):
        for one in of_kind(run({"budgets": [300, 600], "mode": mode}), "main"):
            assert one.policy.end == TOTAL
            assert one.policy.at(TOTAL) == 0.0


def test_a_branch_whose_answer_is_lost_leaves_the_trunk_going_and_the_next_one_comes() -> None:
    job = run({"budgets": [250, 500]}, deaf=lambda ended: ended == 1)
    assert len(job.main_losses) == TOTAL
    assert [one.end for one in of_kind(job, "branch")][-1] == 500


def test_an_answer_that_comes_late_skips_no_budget_that_can_still_be_had() -> None:
    job = run({"budgets": [250, 500]}, delay=30)
    assert len(job.main_losses) == TOTAL
    assert 500 in {one.end for one in of_kind(job, "branch")}


def test_a_refused_branch_is_not_asked_for_again() -> None:
    job = run(
        {"budgets": [250, 500]},
        refuse=lambda one: "NO_REWIND" if one.kind == "branch" and one.end == 250 else None,
    )
    assert [one.end for one in of_kind(job, "branch")] == [250, 500]
    assert len(job.main_losses) == TOTAL


def test_a_job_that_cannot_keep_states_has_no_branches_but_may_decay_in_place() -> None:
    bare = facts(capabilities=Capabilities(rollback="none"))
    assert "cannot roll back" in next(strategy(budgets=[250]).obstacles(bare))
    assert list(strategy(budgets=[250], mode="wsd_s").obstacles(bare)) == []
    job = run({"budgets": [250], "mode": "wsd_s"}, facts=bare)
    assert [one.save_end_as for one in job.controller.segments] == [None, None]
    assert job.main_multipliers[249] < 0.2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"budgets": [1000]}, "not below the job's own of 1000"),
        ({"budgets": [22]}, "the decay for budget 22 would begin at 18"),
        ({"budgets": [500, 510], "mode": "wsd_s"}, "the decay for budget 510"),
        ({"budgets": [900], "mode": "wsd_s"}, "the decay for budget 1000 would begin at 800"),
    ],
)
def test_budgets_that_leave_no_trunk_are_refused_at_registration(
    parameters: dict[str, Any], message: str
) -> None:
    assert message in next(strategy(**parameters).obstacles(facts()))


def test_budgets_near_each_other_are_fine_as_branches() -> None:
    assert list(strategy(budgets=[500, 510]).obstacles(facts())) == []


@pytest.mark.parametrize("budgets", [[300, 200], [200, 200], [0, 100]])
def test_budgets_rise(budgets: list[int]) -> None:
    with pytest.raises(ValidationError, match="do not rise from 1 on"):
        strategy(budgets=budgets)


def test_a_person_who_hands_back_gets_the_branches_that_are_still_ahead() -> None:
    made = strategy(budgets=[250, 500])
    job = SimulatedJob(made, facts())
    controller = job.controller
    controller.tell(Overridden(active=True, seq=1, position=10))
    sent = controller.tell(Overridden(active=False, seq=1, position=300))
    assert [(one.kind, one.start, one.end) for one in sent] == [
        ("main", 300, 400),
        ("branch", 400, 500),
    ]


def test_nothing_starts_from_the_untrained_model() -> None:
    job = run({"budgets": [250]})
    assert all(one.source != INITIAL for one in job.controller.segments)
    assert Constant().family == "constant"
