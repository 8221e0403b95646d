"""Budgets that change while a job runs: by a person, by training code that starts again, and back by a refusal."""

from itertools import count
from typing import Any

import numpy as np
import pytest
from pacesetter.feedback import Hypergradient
from pacesetter.judgement import check_segment
from pacesetter.limits import Limits
from pacesetter.protocol import Acknowledgement, Finished, ParameterGroup, Reason, Segment
from pacesetter.schedules import WSD, Constant, Linear, Schedule
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
    SetSchedule,
    Steering,
)
from pacesetter_service.views import EventView

from tests.service.domain.simulated import STEERABLE, SimulatedJob, spec

LINEAR = Schedule(length=100, body=Linear())
ALLOWED = Limits(max_budget=400, allow_shorter_main=True)
HANDLING = ("fixed", "manual")
STARTS = count()


def job_spec(strategy: str = "fixed", **fields: Any) -> Any:
    return spec(strategy=strategy, **{"base": LINEAR, "limits": ALLOWED, **fields})


async def started(
    controller: Controller, strategy: str = "fixed", *, until: int = 40, **fields: Any
) -> SimulatedJob:
    job = await SimulatedJob(controller, job_spec(strategy, **fields)).start()
    await job.run(until=until)
    return job


async def events(controller: Controller, job: str, *types: str) -> list[EventView]:
    return list((await controller.events(job, page_size=1000, types=types)).items)


async def restarted(
    controller: Controller, first: SimulatedJob, position: int, **changes: Any
) -> SimulatedJob:
    """Return a new process of the same run, from a checkpoint at ``position``."""
    again = first.spec.model_copy(update={"nonce": f"start-{next(STARTS)}", **changes})
    job = SimulatedJob(controller, again, position=position)
    if not changes and first.position > 0 and position >= first.position:
        job.total = first.total
    job.rates = {at: rate for at, rate in first.rates.items() if at < position}
    return await job.start()


def line(level: float, start: int, end: int) -> dict[int, float]:
    """Return the values of a line from ``level`` at ``start`` to zero at ``end``."""
    return {at: level * (end - at) / (end - start) for at in range(start, end)}


def assert_led(segments: list[Segment], total: int) -> None:
    """Every main segment carries the budget, keeps within it and trains to its end."""
    for each in segments:
        if each.kind == "main":
            assert (each.budget, each.end <= total) == (total, True)
            assert each.policy.end >= total or each.policy.at(total) > 0.0


# A person


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
    assert job.rates == pytest.approx(
        {at: LINEAR.at(at) for at in range(40)} | line(0.6, 40, total)
    )
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
    assert job.rates == pytest.approx({at: LINEAR.at(at) for at in range(40)} | line(0.6, 40, 150))
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
    assert job.rates == pytest.approx({at: LINEAR.at(at) for at in range(40)} | line(0.6, 40, 150))


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
    back = {at: 0.5 * (150 - at) / 100 for at in range(90, 150)}
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


# Sessions


@pytest.mark.parametrize("strategy", ["fixed", "manual"])
@pytest.mark.parametrize("resumed", [20, 60])
async def test_a_restart_before_or_after_the_change_trains_as_if_there_had_been_none(
    controller: Controller, strategy: str, resumed: int
) -> None:
    first = await started(controller, strategy)
    await controller.override(first.job, SetBudget(total=150))
    await first.run(until=70)
    second = await restarted(controller, first, resumed)
    await second.run()
    assert second.position == 150
    assert second.rates == pytest.approx(
        {at: LINEAR.at(at) for at in range(40)} | line(0.6, 40, 150)
    )
    told = await events(controller, second.job, "budget_changed")
    # A state that is newer than the change knows of it.
    assert [each.position for each in told] == [40, *([20] if resumed < 40 else [])]
    assert len(await events(controller, second.job, "budget")) == 1


@pytest.mark.parametrize("authority", ["advise", "steer"])
@pytest.mark.parametrize("strategy", ["ladder", "halving", "fixed"])
@pytest.mark.parametrize("resumed", [20, 60])
async def test_after_a_restart_the_job_is_led_to_the_budget_whatever_its_strategy(
    controller: Controller, strategy: str, authority: str, resumed: int
) -> None:
    first = await started(controller, strategy, authority=authority, until=50)
    await controller.override(first.job, SetBudget(total=150))
    await first.run(until=70)
    second = await restarted(controller, first, resumed)
    view = await controller.get_job(second.job)
    assert (view.budget, view.overridden) == (150, strategy != "fixed")
    await second.run()
    assert sorted(second.rates) == list(range(150))
    # A search that had not found its next rate by then is led on at the rate that it had.
    kept = 40 if (strategy, authority, resumed) == ("ladder", "steer", 20) else 70
    for at in range(kept):
        assert second.rates[at] == pytest.approx(first.rates[at])


async def test_a_second_restart_goes_back_further_than_the_first(controller: Controller) -> None:
    first = await started(controller)
    await controller.override(first.job, SetBudget(total=150))
    await first.run(until=90)
    second = await restarted(controller, first, 60)
    await second.run(until=80)
    third = await restarted(controller, second, 10)
    await third.run()
    assert third.rates == pytest.approx(
        {at: LINEAR.at(at) for at in range(40)} | line(0.6, 40, 150)
    )


async def test_what_a_person_steered_before_the_change_is_steered_after_a_restart_between(
    controller: Controller,
) -> None:
    first = await started(controller, until=20)
    await controller.override(first.job, SetMultiplier(multiplier=0.25))
    await first.run(until=60)
    await controller.override(first.job, SetBudget(total=150))
    await first.run(until=80)
    second = await restarted(controller, first, 40)
    assert (await controller.get_job(second.job)).overridden
    await second.run()
    expected = {at: LINEAR.at(at) for at in range(20)} | dict.fromkeys(range(20, 150), 0.25)
    assert second.rates == pytest.approx(expected)


async def test_what_a_person_drew_is_extended_where_it_was_the_first_time(
    controller: Controller,
) -> None:
    first = await started(controller, "manual", until=10)
    own = Schedule(length=100, peak=0.5, body=Linear())
    await controller.override(first.job, SetSchedule(schedule=own))
    await first.run(until=40)
    await controller.override(first.job, SetBudget(total=150))
    await first.run(until=70)
    second = await restarted(controller, first, 20)
    await second.run()
    expected = {at: LINEAR.at(at) for at in range(10)} | {at: own.at(at) for at in range(10, 40)}
    assert second.rates == pytest.approx(expected | line(0.3, 40, 150))


async def test_a_strategy_that_had_not_been_planned_yet_is_told_after_the_restart(
    controller: Controller,
) -> None:
    first = await started(controller)
    await controller.transition(first.job, "pause")
    await controller.override(first.job, SetBudget(total=150))
    await first.run(until=60)
    second = await restarted(controller, first, 50)
    told = await events(controller, second.job, "budget_changed")
    assert [each.position for each in told] == [40, 50]
    await controller.transition(second.job, "resume")
    newest = (await controller.segments_after(second.job)).segments[-1]
    assert (newest.origin, newest.start, newest.end) == ("fixed", 50, 150)
    await second.run()
    assert second.position == 150


@pytest.mark.parametrize(("resumed", "overridden"), [(20, False), (40, True), (70, True)])
async def test_a_job_is_overridden_after_a_restart_if_it_was_at_that_place(
    controller: Controller, resumed: int, overridden: bool
) -> None:
    first = await started(controller, until=30)
    await controller.override(first.job, SetMultiplier(multiplier=0.5))
    await first.run(until=60)
    await controller.override(first.job, SetMultiplier(multiplier=0.25))
    await first.run(until=80)
    second = await restarted(controller, first, resumed)
    assert (await controller.get_job(second.job)).overridden == overridden


@pytest.mark.parametrize("strategy", ["fixed", "ladder"])
async def test_reports_cut_differently_give_the_same_segments(
    controller: Controller, strategy: str
) -> None:
    sent = []
    for cut in (1, 7, 50):
        job = SimulatedJob(controller, job_spec(strategy, external_id=f"cut-{cut}"), cut=cut)
        await job.start()
        await job.run(until=50)
        await controller.override(job.job, SetBudget(total=150))
        await job.run(until=60)
        await controller.override(job.job, BackToStrategy())
        await job.run(until=90)
        again = await restarted(controller, job, 30)
        await again.run()
        page = await controller.segments_after(job.job)
        sent.append([each.model_dump() for each in page.segments])
    assert sent[0] == sent[1] == sent[2]


# Training code


@pytest.mark.parametrize("total", [300, 70])
async def test_training_code_that_starts_again_with_another_budget_has_it_whatever_the_limits(
    controller: Controller, total: int
) -> None:
    first = await started(controller, limits=Limits(), until=60)
    base = Schedule(length=total, peak=0.9, body=Linear())
    budget = first.spec.budget.model_copy(update={"total": total})
    second = await restarted(controller, first, 50, budget=budget, base=base)
    await second.run()
    assert second.position == total
    assert second.rates == pytest.approx(
        {at: LINEAR.at(at) for at in range(50)} | {at: base.at(at) for at in range(50, total)}
    )
    view = await controller.get_job(second.job)
    assert (view.budget, view.spec.budget.total, view.spec.base) == (total, total, base)
    (event,) = await events(controller, second.job, "budget")
    assert (event.body["cause"], event.body["by"]) == ("restart", "training code")
    assert (event.body["before"], event.body["total"]) == (100, total)
    (told,) = await events(controller, second.job, "budget_changed")
    assert told.body == {"type": "budget_changed", "total": total, "before": 100, "position": 50}


async def test_the_main_line_begins_with_the_base_schedule_that_the_job_was_started_on(
    controller: Controller,
) -> None:
    first = await started(controller, authority="advise")
    budget = first.spec.budget.model_copy(update={"total": 200})
    base = Schedule(length=200, body=Linear())
    second = await restarted(controller, first, 30, budget=budget, base=base)
    await second.run(until=50)
    pieces = await controller.schedule(second.job)
    assert [(each.start, each.end, each.policy["length"]) for each in pieces] == [
        (0, 30, 100),
        (30, None, 200),
    ]


async def test_an_unchanged_script_does_not_undo_what_a_person_set(controller: Controller) -> None:
    first = await started(controller)
    await controller.override(first.job, SetBudget(total=150))
    await first.run(until=60)
    second = await restarted(controller, first, 60)
    assert (await controller.get_job(second.job)).budget == 150
    changed = {"budget": first.spec.budget.model_copy(update={"total": 200})}
    longer = {**changed, "base": Schedule(length=200, body=Linear())}
    third = await restarted(controller, second, 60, **longer)
    assert (await controller.get_job(third.job)).budget == 200
    fourth = await restarted(controller, third, 61, **longer)
    await fourth.run()
    assert fourth.position == 200


async def test_what_the_training_code_gives_anew_may_be_changed_from_there(
    controller: Controller,
) -> None:
    first = await started(controller, limits=Limits())
    budget = first.spec.budget.model_copy(update={"total": 200})
    base = Schedule(length=200, body=Linear())
    second = await restarted(controller, first, 40, budget=budget, base=base)
    with pytest.raises(Refused) as refused:
        await controller.override(second.job, SetBudget(total=199))
    assert "199 of the 200 steps given" in refused.value.message
    await second.run()
    assert second.position == 200


async def test_another_strategy_s_job_is_led_on_after_a_start_with_another_budget(
    controller: Controller,
) -> None:
    first = await started(controller, "ladder", until=50)
    running = first.running
    assert running is not None
    budget = first.spec.budget.model_copy(update={"total": 150})
    second = await restarted(controller, first, 45, budget=budget, base=Schedule(length=150))
    assert (await controller.get_job(second.job)).overridden
    await second.run(until=60)
    assert second.rates[59] == running.policy.at(59)
    await controller.override(second.job, BackToStrategy())
    await second.run()
    assert second.position == 150


@pytest.mark.parametrize("strategy", ["ladder", "slow_ladder", "fixed"])
async def test_a_job_that_begins_once_more_with_another_budget_begins_anew(
    controller: Controller, strategy: str
) -> None:
    other = {"budget": {"total": 150}, "base": Schedule(length=150)}
    expected = SimulatedJob(controller, job_spec(strategy, external_id="expected", **other))
    await expected.start()
    await expected.run()
    first = await started(controller, strategy, until=50)
    budget = first.spec.budget.model_copy(update={"total": 150})
    second = await restarted(controller, first, 0, budget=budget, base=Schedule(length=150))
    assert second.kept_through == 0
    if strategy == "slow_ladder":
        await controller.wait_segments(second.job, second.seen, 60.0)
    await second.run()
    assert second.rates == expected.rates
    view = await controller.get_job(second.job)
    assert (view.overridden, view.strategy) == (False, strategy)
    third = await restarted(controller, second, 60)
    await third.run()
    assert third.rates == expected.rates


async def test_a_job_that_began_anew_with_nothing_sent_has_a_state_to_go_back_to(
    controller: Controller,
) -> None:
    first = await started(controller, "manual", authority="approve")
    budget = first.spec.budget.model_copy(update={"total": 150})
    second = await restarted(controller, first, 0, budget=budget, base=Schedule(length=150))
    await second.run(until=50)
    third = await restarted(controller, second, 30)
    rewound = await events(controller, third.job, "rewound")
    assert [each.body["position"] for each in rewound] == [0, 30]


async def test_a_strategy_that_cannot_steer_the_new_budget_hands_over(
    controller: Controller,
) -> None:
    first = await started(controller, "ladder", until=50)
    changes = {
        "budget": first.spec.budget.model_copy(update={"total": 150}),
        "base": Schedule(length=150),
        "capabilities": STEERABLE.model_copy(update={"rollback": "none"}),
    }
    second = await restarted(controller, first, 0, **changes)
    await second.run()
    assert (second.position, (await controller.get_job(second.job)).strategy) == (150, "fixed")
    (event,) = await events(controller, second.job, "handed_over")
    assert "the job cannot roll back" in str(event.body["reason"])


# Refusals


def refusal(job: SimulatedJob, seq: int, code: str = "ABOVE_MAX_BUDGET") -> Acknowledgement:
    return Acknowledgement(
        number=job._next(), segment=seq, position=job.position, status="refused", code=code
    )


@pytest.mark.parametrize("strategy", ["fixed", "ladder"])
async def test_a_budget_that_the_job_refuses_is_taken_back_and_the_strategy_goes_on(
    controller: Controller, strategy: str
) -> None:
    job = await started(controller, strategy, until=50)
    (seq,) = (await controller.override(job.job, SetBudget(total=150))).segments
    await job.send(refusal(job, seq))
    job.received.pop(seq, None)
    job._accept_received()
    view = await controller.get_job(job.job)
    assert (view.budget, view.overridden) == (100, False)
    _, back = await events(controller, job.job, "budget")
    assert (back.body["cause"], back.body["by"], back.body["total"]) == ("refused", "job", 100)
    assert str(back.body["reason"]).startswith("ABOVE_MAX_BUDGET")
    await job.run()
    assert job.position == 100
    assert (await controller.get_job(job.job)).status == "completed"


async def test_a_refusal_of_what_changes_nothing_leaves_the_budget(controller: Controller) -> None:
    job = await started(controller)
    await controller.override(job.job, SetBudget(total=150))
    await job.run(until=60)
    (seq,) = (await controller.override(job.job, SetMultiplier(multiplier=0.5))).segments
    await job.send(refusal(job, seq, "CHANGE_TOO_FAST"))
    assert (await controller.get_job(job.job)).budget == 150


async def test_the_first_of_two_budgets_holds_where_the_second_is_refused(
    controller: Controller,
) -> None:
    job = await started(controller)
    await controller.override(job.job, SetBudget(total=150))
    (seq,) = (await controller.override(job.job, SetBudget(total=300))).segments
    # The refusal of the second is told before the first has made a step.
    await job.send(refusal(job, seq))
    assert (await controller.get_job(job.job)).budget == 150
    job.received.pop(seq, None)
    await job.run()
    assert job.position == 150


async def test_a_cut_that_the_job_had_passed_is_taken_back(controller: Controller) -> None:
    job = await started(controller)
    (seq,) = (await controller.override(job.job, SetBudget(total=50))).segments
    job.position = 55
    stale = refusal(job, seq, "POSITION_PAST").model_copy(update={"status": "stale"})
    await job.send(stale)
    job.received.pop(seq, None)
    assert (await controller.get_job(job.job)).budget == 100


async def test_a_budget_that_comes_after_the_last_step_is_taken_back(
    controller: Controller,
) -> None:
    job = await started(controller, until=99)
    (seq,) = (await controller.override(job.job, SetBudget(total=150))).segments
    expired = refusal(job, seq, "FINISHED").model_copy(update={"status": "expired"})
    end = Finished(number=job._next(), segment=1, position=100)
    await job.send(expired, end)
    view = await controller.get_job(job.job)
    assert (view.status, view.budget, view.main_position) == ("completed", 100, 100)
    _, back = await events(controller, job.job, "budget")
    assert str(back.body["reason"]).startswith("FINISHED: the job ended at 100")


async def test_the_base_schedule_comes_back_with_the_budget(controller: Controller) -> None:
    job = await started(controller)
    await controller.override(job.job, SetBudget(total=150))
    await job.run(until=50)
    (seq,) = (await controller.override(job.job, SetBudget(total=300))).segments
    await job.send(refusal(job, seq))
    newest = (await controller.segments_after(job.job)).segments[-1]
    assert (newest.budget, newest.end) == (150, 150)
    assert newest.policy.at(95) == pytest.approx(0.3)


# Any sequence


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("body", [Linear(), WSD(cooldown=0.2), Constant()])
async def test_any_sequence_of_changes_keeps_every_main_line_defined_to_its_end(
    controller: Controller, seed: int, body: Any
) -> None:
    """Budgets, overrides and restarts in any order: the newest main segment leads to the end of the budget of then."""
    draw = np.random.default_rng(seed)
    base = Schedule(length=100, body=body)
    strategy = ("fixed", "manual", "ladder", "halving")[seed]
    job = await started(controller, strategy, base=base, until=5)
    for number in range(12):
        view = await controller.get_job(job.job)
        wish: Steering | SetBudget | BackToStrategy | None = None
        match draw.choice(["budget", "budget", "budget", "multiplier", "back", "restart", "anew"]):
            case "budget":
                wish = SetBudget(total=int(draw.integers(job.position + 2, 400)))
            case "multiplier":
                wish = SetMultiplier(multiplier=float(draw.uniform(0.1, 1.0)))
            case "back":
                wish = BackToStrategy()
            case "restart":
                job = await restarted(controller, job, int(draw.integers(0, job.position + 1)))
            case "anew":
                place = int(draw.integers(0, job.position + 1))
                total = int(draw.integers(place + 2, 400))
                budget = job.spec.budget.model_copy(update={"total": total})
                base = Schedule(length=total, body=body)
                job = await restarted(controller, job, place, budget=budget, base=base)
        try:
            if wish is not None:
                await controller.override(job.job, wish)
        except Refused as refused:
            assert refused.code in ("BUDGET_UNCHANGED", "NOTHING_TO_EXTEND"), (number, wish, view)
        await job.poll()
        total = (await controller.get_job(job.job)).budget
        await job.run(until=min(job.position + int(draw.integers(1, 15)), total - 1))
        await assert_newest_main_reaches_the_end(controller, job)
    view = await controller.get_job(job.job)
    await job.run()
    assert job.position == view.budget


async def assert_newest_main_reaches_the_end(controller: Controller, job: SimulatedJob) -> None:
    view = await controller.get_job(job.job)
    assert job.pending is not None or job.total == view.budget
    page = await controller.segments_after(job.job)
    main = [each for each in page.segments if each.kind == "main"]
    if not main:
        return
    newest = main[-1]
    refusal = check_segment(
        newest,
        view.spec.limits,
        current_multiplier=None,
        budget_total=view.budget,
        registered_total=view.spec.budget.total,
        clock="steps",
        base_schedule=view.spec.base,
        capabilities=view.spec.capabilities,
        groups=view.spec.groups,
    )
    assert refusal is None, refusal
    assert newest.budget in (None, view.budget)
    assert newest.policy.end >= view.budget or newest.policy.at(view.budget) > 0.0
