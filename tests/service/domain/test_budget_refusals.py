"""Budgets that a job refuses, and budgets in any order: service and job agree on one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pacesetter.judgement import check_segment
from pacesetter.protocol import Acknowledgement, Finished
from pacesetter.schedules import WSD, Constant, Linear, Schedule
from pacesetter_service.controller import Controller
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import Refused
from pacesetter_service.jobs.open_job import lock_job
from pacesetter_service.overrides import (
    BackToStrategy,
    DecayNow,
    SetBudget,
    SetMultiplier,
    Steering,
)
from pacesetter_service.planning.commit import slow_request, still_stands
from pacesetter_service.planning.messages import PlanRequest

from tests.service.domain.budgets import (
    events,
    job_spec,
    restarted,
    started,
)
from tests.service.domain.conftest import OPTIONS, Open
from tests.service.domain.simulated import SimulatedJob

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


@pytest.mark.parametrize("strategy", ["fixed", "ladder"])
async def test_two_budgets_that_are_refused_leave_the_job_as_it_was(
    controller: Controller, strategy: str
) -> None:
    job = await started(controller, strategy)
    sent = [
        (await controller.override(job.job, SetBudget(total=total))).segments[0]
        for total in (150, 300)
    ]
    for seq in sent:
        await job.send(refusal(job, seq))
    view = await controller.get_job(job.job)
    assert (view.budget, view.overridden) == (100, False)


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


async def test_a_cut_that_comes_after_the_last_step_is_taken_back(controller: Controller) -> None:
    job = await started(controller, until=98)
    await controller.override(job.job, SetBudget(total=99))
    await job.send(Finished(number=job._next(), segment=1, position=100))
    view = await controller.get_job(job.job)
    assert (view.status, view.budget) == ("completed", 100)


async def test_a_job_that_reached_the_budget_has_it_whether_or_not_it_said_so(
    controller: Controller,
) -> None:
    """A process that was killed may never have told that it took the segment up."""
    job = await started(controller)
    await controller.override(job.job, SetBudget(total=150))
    await job.send(Finished(number=job._next(), segment=2, position=153))
    view = await controller.get_job(job.job)
    assert (view.status, view.budget, view.main_position) == ("completed", 150, 153)
    assert len(await events(controller, job.job, "budget")) == 1


async def test_a_stop_before_the_end_takes_no_budget_back(controller: Controller) -> None:
    job = await started(controller, "manual")
    await controller.override(job.job, SetBudget(total=150))
    await job.run(until=60)
    _, stop = (await controller.override(job.job, DecayNow(over=50))).segments
    await job.run(until=110)
    end = Acknowledgement(number=job._next(), segment=stop, position=110, status="applied")
    await job.send(end, Finished(number=job._next(), segment=stop, position=110))
    view = await controller.get_job(job.job)
    assert (view.status, view.budget) == ("completed", 150)


async def test_what_the_training_code_gave_is_not_taken_back_by_a_refusal(
    controller: Controller,
) -> None:
    first = await started(controller)
    budget = first.spec.budget.model_copy(update={"total": 200})
    base = Schedule(length=200, body=Linear())
    second = await restarted(controller, first, 40, budget=budget, base=base)
    await second.send(refusal(second, 2, "CHANGE_TOO_FAST"))
    assert (await controller.get_job(second.job)).budget == 200
    (seq,) = (await controller.override(second.job, SetBudget(total=300))).segments
    await second.send(refusal(second, seq))
    assert (await controller.get_job(second.job)).budget == 200


async def test_the_base_schedule_comes_back_with_the_budget(controller: Controller) -> None:
    job = await started(controller)
    await controller.override(job.job, SetBudget(total=150))
    await job.run(until=50)
    (seq,) = (await controller.override(job.job, SetBudget(total=300))).segments
    await job.send(refusal(job, seq))
    newest = (await controller.segments_after(job.job)).segments[-1]
    assert (newest.budget, newest.end) == (150, 150)
    assert newest.policy.at(95) == pytest.approx(55 / 150)


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


async def test_what_was_planned_for_a_budget_that_was_taken_back_is_not_sent(
    open_controller: Open,
) -> None:
    controller = await open_controller(replace(OPTIONS, planning=False))
    # Nothing plans here, so there is no answer to wait for.
    job = await SimulatedJob(controller, job_spec("slow_fixed"), patience=0.0).start()
    store, registry = controller._store, controller._registry

    def asked(tx: Transaction) -> PlanRequest | None:
        return slow_request(lock_job(tx, job.job), registry)

    def stands(tx: Transaction) -> bool:
        return request is not None and still_stands(lock_job(tx, job.job), request)

    request = await store.read(asked)
    assert await store.read(stands)
    await controller.override(job.job, SetBudget(total=150))
    request = await store.read(asked)
    assert request is not None
    assert request.facts.budget.total == 150
    assert await store.read(stands)
    (last,) = (await controller.segments_after(job.job)).segments[-1:]
    await job.send(refusal(job, last.seq))
    assert (await controller.get_job(job.job)).budget == 100
    assert not await store.read(stands)
