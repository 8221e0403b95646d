"""Budgets that a person changes while a job runs."""

from typing import Any

import pytest
from pacesetter.feedback import Hypergradient
from pacesetter.limits import Limits
from pacesetter.protocol import ParameterGroup, Reason, Segment
from pacesetter.schedules import Linear, Schedule
from pacesetter_service.budgets.plans import Move, carried_on
from pacesetter_service.controller import Controller
from pacesetter_service.errors import Conflict, Refused
from pacesetter_service.jobs.open_job import current_spec
from pacesetter_service.overrides import (
    ApproveProposal,
    BackToStrategy,
    DecayNow,
    SetBudget,
    SetLearningRate,
    SetMultiplier,
    Steering,
)

from tests.service.domain.budgets import (
    ALLOWED,
    HANDLING,
    LINEAR,
    assert_led,
    events,
    job_spec,
    led_on,
    started,
)
from tests.service.domain.simulated import STEERABLE, SimulatedJob


@pytest.mark.parametrize("strategy", HANDLING)
@pytest.mark.parametrize("total", [150, 60])
async def test_a_strategy_that_handles_budgets_goes_on_to_the_new_end_by_itself(
    controller: Controller, strategy: str, total: int
) -> None:
    job = await started(controller, strategy)
    wish = SetBudget(total=total, by="ada", reason="the loss still falls")
    result = await controller.override(job.job, wish)
    await job.run()
    assert job.position == total
    assert job.rates == pytest.approx({at: LINEAR.at(at) for at in range(40)} | led_on(40, total))
    assert result.segments == (2,)
    assert_led([job.received[2]], total)
    assert job.received[2].origin == strategy
    view = await controller.get_job(job.job)
    assert (view.budget, view.spec.budget.total, view.overridden) == (total, 100, False)
    assert (view.status, view.main_position) == ("completed", total)
    ledger = await controller.ledger(job.job)
    assert (ledger.budget, ledger.totals.main_steps) == (total, total)
    (event,) = await events(controller, job.job, "budget")
    assert event.number == result.event
    assert event.body == {
        "cause": "override",
        "by": "ada",
        "reason": "the loss still falls",
        "before": 100,
        "total": total,
        "base_before": LINEAR.model_dump(mode="json"),
        "took_over": False,
        "seq": 1,
        "segments": [2],
    }
    assert event.position == 40


@pytest.mark.parametrize("strategy", ["ladder", "slow_ladder"])
@pytest.mark.parametrize("total", [150, 70])
async def test_for_every_other_strategy_the_controller_leads_what_runs_to_the_new_end(
    controller: Controller, strategy: str, total: int
) -> None:
    job = await started(controller, strategy, until=50)
    running = job.running
    assert running is not None
    (seq,) = (await controller.override(job.job, SetBudget(total=total, by="ada"))).segments
    view = await controller.get_job(job.job)
    assert (view.overridden, view.budget) == (True, total)
    (event,) = await events(controller, job.job, "budget")
    assert (event.body["took_over"], event.body["segments"]) == (True, [seq])
    await job.run(until=60)
    sent = job.received[seq]
    assert (sent.origin, sent.start, sent.end, sent.after) == ("person", 50, total, 0)
    assert sent.policy.at(60) == running.policy.at(60)
    assert sent.reason.text == f"ada set the budget to {total}"
    await controller.override(job.job, BackToStrategy())
    await job.run()
    assert job.position == total
    assert_led([each for each in job.received.values() if each.seq >= seq], total)


async def test_a_stopped_clause_snapshots_and_a_rule_stay_with_what_is_led_on() -> None:
    rule = Hypergradient(lowest=0.5, highest=1.0)
    running = Segment.model_validate(
        {
            "seq": 1,
            "after": 0,
            "kind": "main",
            "start": 0,
            "length": 100,
            "policy": LINEAR,
            "feedback": rule,
            "stop_if": [{"rule": "loss_spike"}],
            "save_every": 10,
            "measure": {"report_every": 5, "validate_at_end": True},
            "reason": Reason(text="regulated"),
        }
    )
    longer = current_spec(job_spec(), 150, None)
    move = Move(before=100, total=150, at=40)
    plan = carried_on(longer, {"all": running}, 40, move, "longer")
    assert (plan.feedback, plan.stop_if, plan.save_every) == (rule, running.stop_if, 10)
    assert (plan.measure.report_every, plan.measure.validate_at_end) == (5, False)
    unable = longer.model_copy(
        update={"capabilities": STEERABLE.model_copy(update={"rollback": "none"})}
    )
    assert carried_on(unable, {"all": running}, 40, move, "longer").save_every is None


@pytest.mark.parametrize(
    ("total", "fields", "code", "words"),
    [
        (150, {"capabilities": {}}, "NO_BUDGET_CHANGES", "cannot change its budget"),
        (100, {}, "BUDGET_UNCHANGED", "100 steps already"),
        (40, {}, "BUDGET_PAST", "stands at 40, and a budget of 40 steps"),
        (401, {}, "ABOVE_MAX_BUDGET", "above max_budget 400"),
        (101, {"limits": Limits()}, "ABOVE_MAX_BUDGET", "above the 100 given"),
        (99, {"limits": Limits()}, "SHORTER_MAIN", "a budget of 99 of the 100 steps given"),
    ],
)
async def test_what_cannot_be_or_may_not_be_is_refused_and_changes_nothing(
    controller: Controller, total: int, fields: dict[str, Any], code: str, words: str
) -> None:
    job = await started(controller, **fields)
    with pytest.raises(Refused) as refused:
        await controller.override(job.job, SetBudget(total=total))
    assert (refused.value.code, words in refused.value.message) == (code, True)
    assert refused.value.hint
    view = await controller.get_job(job.job)
    assert (view.budget, view.last_seq, view.overridden) == (100, 1, False)
    assert await events(controller, job.job, "budget", "budget_changed") == []


async def test_a_rate_that_has_come_to_zero_cannot_be_extended(controller: Controller) -> None:
    job = await started(controller, "manual", until=50)
    await controller.override(job.job, DecayNow(over=20))
    await job.run(until=65)
    wish = SetBudget(total=150)
    assert (await controller.override(job.job, wish)).segments
    again = await started(controller, "manual", until=50, external_id="run-2")
    await controller.override(again.job, SetMultiplier(multiplier=0.0))
    await again.run(until=60)
    with pytest.raises(Refused) as refused:
        await controller.override(again.job, wish)
    assert refused.value.code == "NOTHING_TO_EXTEND"
    assert "resume_trunk" in refused.value.message
    assert "start the training code again" in refused.value.hint


@pytest.mark.parametrize(("most", "rises"), [(1.05, False), (1.5, True)])
async def test_a_rate_rises_only_where_the_limits_would_take_it_for_a_jump(
    controller: Controller, most: float, rises: bool
) -> None:
    base = Schedule(length=100, floor=0.5, body=Linear())
    limits = ALLOWED.model_copy(update={"max_change_per_step": most})
    job = await started(controller, base=base, limits=limits)
    await controller.override(job.job, SetBudget(total=150))
    await job.run()
    assert (job.position, job.rates[40]) == (150, 0.8)
    # Else it falls from where it stands.
    assert job.rates[95] == pytest.approx(0.5 + 0.5 * 55 / 150 if rises else 0.65)


async def test_control_sets_on_schedules_of_their_own_are_not_led_on_together(
    controller: Controller,
) -> None:
    groups = tuple(
        ParameterGroup(name=name, base_lr=0.1, control=name) for name in ("body", "head")
    )
    job = await started(controller, "manual", groups=groups)
    await controller.override(job.job, SetLearningRate(lr=0.004, controls=("head",)))
    await job.run(until=50)
    with pytest.raises(Refused) as refused:
        await controller.override(job.job, SetBudget(total=150))
    assert refused.value.code == "MIXED_POLICIES"
    await controller.override(job.job, SetMultiplier(multiplier=0.5))
    await job.run(until=60)
    assert (await controller.override(job.job, SetBudget(total=150))).segments


async def test_a_job_that_has_ended_has_no_budget_to_change(controller: Controller) -> None:
    job = await started(controller, until=0)
    await job.run()
    with pytest.raises(Conflict) as conflict:
        await controller.override(job.job, SetBudget(total=150))
    assert conflict.value.code == "JOB_ENDED"


@pytest.mark.parametrize("authority", ["observe", "advise", "approve"])
@pytest.mark.parametrize("strategy", ["fixed", "manual", "halving"])
async def test_a_person_s_budget_counts_under_every_authority(
    controller: Controller, strategy: str, authority: str
) -> None:
    job = await started(controller, strategy, authority=authority)
    (seq,) = (await controller.override(job.job, SetBudget(total=150))).segments
    await job.run()
    assert job.position == 150
    assert job.rates == pytest.approx({at: LINEAR.at(at) for at in range(40)} | led_on(40, 150))
    assert job.received[seq].origin == "person"
    view = await controller.get_job(job.job)
    assert (view.budget, view.overridden) == (150, strategy == "halving")


async def test_what_the_strategy_proposes_for_the_new_budget_may_be_approved(
    controller: Controller,
) -> None:
    job = await started(controller, authority="approve")
    assert (await controller.override(job.job, SetBudget(total=150))).segments == (2,)
    proposed = (await events(controller, job.job, "proposal"))[-1].body["seq"]
    assert proposed == 3
    await controller.override(job.job, ApproveProposal(seq=3))
    await job.run(until=60)
    assert_led([job.received[3]], 150)
    assert job.running_seq == 3


async def test_a_paused_job_is_led_at_once_and_planned_when_it_is_resumed(
    controller: Controller,
) -> None:
    job = await started(controller)
    await controller.transition(job.job, "pause")
    assert (await controller.override(job.job, SetBudget(total=150))).segments == (2,)
    await job.run(until=50)
    assert (job.running_seq, job.received[2].origin) == (2, "person")
    await controller.transition(job.job, "resume")
    await job.run()
    assert (job.position, job.received[3].origin) == (150, "fixed")
    assert job.rates == pytest.approx({at: LINEAR.at(at) for at in range(40)} | led_on(40, 150))


async def test_what_a_person_steers_goes_on_to_the_new_end_as_the_person_s(
    controller: Controller,
) -> None:
    job = await started(controller)
    await controller.override(job.job, SetMultiplier(multiplier=0.25))
    await job.run(until=50)
    await controller.override(job.job, SetBudget(total=150))
    await job.run(until=90)
    assert (await controller.get_job(job.job)).overridden
    await controller.override(job.job, BackToStrategy())
    await job.run()
    base = {at: LINEAR.at(at) for at in range(40)}
    # The base schedule was extended where the budget changed, whoever steered.
    back = {at: (150 - at) / 150 for at in range(90, 150)}
    assert job.rates == pytest.approx(base | dict.fromkeys(range(40, 90), 0.25) | back)


@pytest.mark.parametrize("wish", [SetMultiplier(multiplier=0.5), DecayNow(over=60, floor=0.1)])
async def test_later_overrides_reach_to_the_new_end(controller: Controller, wish: Steering) -> None:
    job = await started(controller, limits=Limits(max_budget=150))
    await controller.override(job.job, SetBudget(total=150))
    await job.run(until=70)
    (seq,) = (await controller.override(job.job, wish)).segments
    await job.run()
    assert job.position == 150
    assert (job.received[seq].end, job.received[seq].budget) == (150, 150)


async def test_a_slow_strategy_finds_the_job_led_to_the_new_end_already(
    controller: Controller,
) -> None:
    job = await started(controller, "slow_fixed")
    first = len((await controller.segments_after(job.job)).segments)
    (own,) = (await controller.override(job.job, SetBudget(total=150))).segments
    assert own == first + 1
    assert not (await controller.get_job(job.job)).overridden
    assert await controller.wait_segments(job.job, own, 60.0)
    (planned,) = (await controller.segments_after(job.job, after=own)).segments
    assert planned.origin == "slow_fixed"
    await job.run()
    assert job.position == 150
    assert_led([each for each in job.received.values() if each.seq >= own], 150)


async def test_a_strategy_cannot_set_a_budget(controller: Controller) -> None:
    job = await SimulatedJob(controller, job_spec("greedy")).start()
    view = await controller.get_job(job.job)
    assert (view.strategy, view.budget) == ("fixed", 100)
    (event,) = await events(controller, job.job, "handed_over")
    assert "sets the budget to 200, which is for people" in str(event.body["reason"])


async def test_the_exported_main_line_reaches_to_the_new_end(controller: Controller) -> None:
    job = await started(controller)
    await controller.override(job.job, SetBudget(total=150))
    await job.run(until=60)
    rows = (await controller.export_schedule(job.job, "csv")).splitlines()[1:]
    assert [int(rows[index].split(",")[1]) for index in (0, -1)] == [0, 149]
