"""Budgets and restarts: what a person set stands, and what the training code gives anew counts."""

import pytest
from pacesetter.limits import Limits
from pacesetter.schedules import Linear, Schedule
from pacesetter_service.controller import Controller
from pacesetter_service.errors import Refused
from pacesetter_service.overrides import (
    BackToStrategy,
    SetBudget,
    SetMultiplier,
    SetSchedule,
)

from tests.service.domain.budgets import (
    LINEAR,
    events,
    job_spec,
    led_on,
    restarted,
    started,
)
from tests.service.domain.simulated import STEERABLE, SimulatedJob

# What a person set


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
    assert second.rates == pytest.approx({at: LINEAR.at(at) for at in range(40)} | led_on(40, 150))
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
    assert third.rates == pytest.approx({at: LINEAR.at(at) for at in range(40)} | led_on(40, 150))


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
    assert second.rates == pytest.approx(expected | led_on(40, 150, peak=0.5))


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


async def test_a_job_that_was_complete_goes_on_to_a_larger_budget(controller: Controller) -> None:
    first = await started(controller, until=0)
    await first.run()
    budget = first.spec.budget.model_copy(update={"total": 150})
    base = Schedule(length=150, body=Linear())
    second = await restarted(controller, first, 100, budget=budget, base=base)
    assert (await controller.get_job(second.job)).status == "running"
    await second.run()
    # The old schedule has run out; the new one is the training code's own affair, a jump up included.
    assert second.rates == pytest.approx(
        {at: LINEAR.at(at) for at in range(100)} | {at: base.at(at) for at in range(100, 150)}
    )


async def test_the_base_schedule_of_the_training_code_is_taken_as_it_is(
    controller: Controller,
) -> None:
    first = await started(controller, authority="advise")
    budget = first.spec.budget.model_copy(update={"total": 200})
    base = Schedule(length=100, floor=0.2, body=Linear())
    second = await restarted(controller, first, 40, budget=budget, base=base)
    await second.run()
    assert {second.rates[at] for at in range(100, 200)} == {0.2}


async def test_what_has_run_out_is_left_to_the_client_where_the_training_code_goes_on(
    controller: Controller,
) -> None:
    """It follows its new base schedule by itself, and the job waits for a person to hand it back."""
    first = await started(controller, "ladder", until=30)
    await controller.override(first.job, SetMultiplier(multiplier=0.0))
    await first.run(until=60)
    budget = first.spec.budget.model_copy(update={"total": 150})
    second = await restarted(controller, first, 60, budget=budget, base=Schedule(length=150))
    view = await controller.get_job(second.job)
    assert (view.budget, view.overridden, view.last_seq) == (150, True, first.seen)
    await controller.override(second.job, BackToStrategy())
    await second.run()
    assert second.position == 150


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
