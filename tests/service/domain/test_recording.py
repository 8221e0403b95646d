"""A job that has ended leaves a curve: its main line, what is known of it, and nothing twice."""

import asyncio
import math
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import pytest
from pacesetter.curves import Points
from pacesetter.protocol import Budget, Capabilities, Finished, ParameterGroup, Workload
from pacesetter.schedules import Constant, Linear, Schedule, Warmup
from pacesetter_service.controller import Controller
from pacesetter_service.curves.repository import CurveFilter
from pacesetter_service.views import EventView, StoredCurve

from tests.service.domain.conftest import OPTIONS, Open
from tests.service.domain.simulated import SimulatedJob, loss_at, spec
from tests.service.domain.test_sessions import restarted

QUIET = replace(OPTIONS, planning=False)
"""Nothing happens in the background: tests make curves themselves."""


@pytest.fixture
async def controller(open_controller: Open) -> Controller:
    return await open_controller(QUIET)


async def curve_of(controller: Controller, job: str) -> tuple[StoredCurve, Points]:
    page = await controller.curves.page(CurveFilter(job=job))
    (curve,) = page.items
    return (await controller.curves.points([curve.id]))[0]


async def events(controller: Controller, job: str, *types: str) -> list[EventView]:
    return list((await controller.events(job, types=types)).items)


async def finish(job: SimulatedJob, **fields: Any) -> None:
    record = Finished(number=job._next(), segment=job.running_seq, position=job.position, **fields)
    await job.send(record)


async def test_a_completed_job_leaves_its_main_line(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(100, "ladder", name="the job")).start()
    await job.run()
    assert await controller.record_curves() == (job.job,)
    curve, points = await curve_of(controller, job.job)
    # Of a hundred steps, each once, however many probes there were between them.
    assert points.steps.tolist() == list(range(1, 101))
    rates = np.array([job.rates[position] for position in range(100)])
    assert points.lrs == pytest.approx(0.1 * rates)
    losses = [loss_at(position, job.rates[position]) for position in range(100)]
    assert points.losses == pytest.approx(losses)
    record = curve.record
    assert (record.job, record.source, record.name) == (job.job, "job", "the job")
    assert (record.steps, record.completed, record.validated) == (100, True, False)
    assert record.peak_lr == pytest.approx(0.1 * rates.max())
    assert record.final_loss == pytest.approx(np.mean(losses[-5:]))
    assert record.tokens is None
    (event,) = await events(controller, job.job, "curve_kept")
    assert event.body == {
        "curve": curve.id,
        "completed": True,
        "final_loss": pytest.approx(record.final_loss),
    }


async def test_what_was_measured_stands_in_for_what_was_not_declared(
    controller: Controller,
) -> None:
    groups = (
        ParameterGroup(
            name="a", base_lr=0.1, optimizer="SGD", momentum=0.9, weight_decay=0.01, parameters=900
        ),
        ParameterGroup(name="b", base_lr=0.2, parameters=100),
    )
    declared = Workload(family="bytes", epochs=3.0)
    base = Schedule(length=100, warmup=Warmup(length=10), body=Linear())
    job = await SimulatedJob(
        controller,
        spec(100, "fixed", groups=groups, workload=declared, regime="pretrain", base=base),
    ).start()
    await job.run(until=100)
    job.ledger |= {"main_tokens": 51_200}
    await finish(job, validation_loss=1.75)
    await controller.record_curves()
    record = (await curve_of(controller, job.job))[0].record
    assert (record.workload.parameters, record.workload.batch_tokens) == (1000, 512.0)
    assert (record.workload.family, record.workload.epochs) == ("bytes", 3.0)
    assert (record.tokens, record.regime) == (51_200, "pretrain")
    assert (record.optimizer, record.momentum, record.weight_decay) == ("sgd", 0.9, 0.01)
    assert (record.final_loss, record.validated) == (1.75, True)
    # A linear decay, its warm-up left out.
    assert record.shape_octaves == pytest.approx(0.0, abs=0.05)


async def test_what_was_declared_comes_first(controller: Controller) -> None:
    declared = Workload(parameters=7e6, batch_tokens=256.0)
    capabilities = Capabilities(rollback="memory", epoch_batches=50)
    job = await SimulatedJob(
        controller, spec(100, "fixed", workload=declared, capabilities=capabilities)
    ).start()
    await job.run(until=100)
    job.ledger |= {"main_tokens": 51_200}
    await finish(job)
    await controller.record_curves()
    record = (await curve_of(controller, job.job))[0].record
    assert (record.workload.parameters, record.workload.batch_tokens) == (7e6, 256.0)
    assert (record.tokens, record.workload.epochs) == (25_600, 2.0)


async def test_a_job_that_counts_tokens_is_a_curve_by_steps(controller: Controller) -> None:
    budget = Budget(clock="tokens", total=800)
    job = await SimulatedJob(
        controller, spec(800, "fixed", budget=budget, base=Schedule(length=800, body=Constant()))
    ).start()
    for first in range(0, 100, 20):
        positions = range(first, first + 20)
        record = job.rows(positions, [1.0] * 20)
        columns = {**record.columns, "position": [8.0 * p for p in positions]}
        await job.send(record.model_copy(update={"columns": columns, "position": 8 * first + 160}))
    job.ledger |= {"main_steps": 100, "main_tokens": 800}
    job.position = 800
    await finish(job)
    await controller.record_curves()
    curve, points = await curve_of(controller, job.job)
    assert points.steps.tolist() == list(range(1, 101))
    assert (curve.record.tokens, curve.record.workload.batch_tokens) == (800, 8.0)
    assert curve.record.completed


@pytest.mark.parametrize("loss", [math.nan, math.inf])
async def test_a_job_that_diverged_leaves_a_run_without_a_final_loss(
    controller: Controller, loss: float
) -> None:
    job = await SimulatedJob(controller, spec(100, "fixed")).start()
    await job.run(until=90)
    record = job.rows(range(90, 100), [1.0] * 10)
    await job.send(record.model_copy(update={"columns": {**record.columns, "loss": [loss] * 10}}))
    job.position = 100
    await finish(job)
    await controller.record_curves()
    curve, points = await curve_of(controller, job.job)
    assert curve.record.final_loss is None
    assert points.diverged


@pytest.mark.parametrize(("until", "kept"), [(50, True), (49, False)])
async def test_a_job_that_failed_is_evidence_from_half_of_its_budget_on(
    controller: Controller, until: int, kept: bool
) -> None:
    job = await SimulatedJob(controller, spec(100, "fixed")).start()
    await job.run(until=until)
    await finish(job, completed=False)
    assert await controller.record_curves() == ((job.job,) if kept else ())
    if kept:
        record = (await curve_of(controller, job.job))[0].record
        assert (record.completed, record.steps) == (False, 50)
    else:
        (event,) = await events(controller, job.job, "curve_not_kept")
        assert "failed at 49% of its budget; half is the least" in str(event.body["problem"])
    assert await controller.record_curves() == ()


async def test_a_lost_job_is_evidence_too(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(100, "fixed")).start()
    await job.run(until=80)
    seen = (await controller.get_job(job.job)).last_seen_at
    assert await controller.reap(seen + timedelta(seconds=301)) == (job.job,)
    assert await controller.record_curves() == (job.job,)
    record = (await curve_of(controller, job.job))[0].record
    assert (record.completed, record.steps) == (False, 80)


@pytest.mark.parametrize(("verb", "kept"), [("cancel", False), ("complete", True)])
async def test_a_person_may_end_a_job_with_a_curve_or_without(
    controller: Controller, verb: Literal["cancel", "complete"], kept: bool
) -> None:
    job = await SimulatedJob(controller, spec(100, "fixed")).start()
    await job.run(until=30)
    await controller.transition(job.job, verb)
    assert await controller.record_curves() == ((job.job,) if kept else ())
    if not kept:
        await finish(job, completed=False)
        assert await controller.record_curves() == ()
        return
    assert not (await curve_of(controller, job.job))[0].record.completed
    # What the process still trains before it hears of the stop belongs to the curve, too.
    await job._train(30, 5, "main")
    job.position = 35
    await finish(job, completed=False)
    assert await controller.record_curves() == (job.job,)
    assert (await curve_of(controller, job.job))[0].record.steps == 35


async def test_a_resumed_job_replaces_its_curve(controller: Controller) -> None:
    first = await SimulatedJob(controller, spec(100, "fixed")).start()
    await first.run(until=60)
    await finish(first, completed=False)
    await controller.record_curves()
    before, _ = await curve_of(controller, first.job)
    await controller.curves.change(before.id, excluded=True)
    second = await restarted(controller, first, 50)
    # While it runs again its old curve stands, and no new one is due.
    assert await controller.record_curves() == ()
    await second.run()
    assert await controller.record_curves() == (first.job,)
    after, points = await curve_of(controller, first.job)
    assert (after.id, after.record.completed, after.record.steps) == (before.id, True, 100)
    assert points.steps.tolist() == list(range(1, 101))
    assert after.excluded and after.key == ""
    assert after.changed_at > before.changed_at


async def test_a_job_that_resumes_before_its_curve_was_made_waits_for_its_end(
    controller: Controller,
) -> None:
    first = await SimulatedJob(controller, spec(100, "fixed")).start()
    await first.run(until=60)
    await finish(first, completed=False)
    second = await restarted(controller, first, 50)
    assert await controller.record_curves() == ()
    (event,) = await events(controller, first.job, "curve_not_kept")
    assert event.body["problem"] == "the job is running"
    await second.run()
    assert await controller.record_curves() == (first.job,)


async def test_what_a_rollback_took_back_is_no_part_of_the_curve(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(100, "fixed")).start()
    await job.run(until=70)
    job.position = 60  # the guard went back, and the training ended there
    await finish(job, completed=False)
    await controller.record_curves()
    curve, points = await curve_of(controller, job.job)
    assert (curve.record.steps, points.steps[-1]) == (60, 60.0)


async def test_two_replicas_make_one_curve(open_controller: Open) -> None:
    one, two = await open_controller(QUIET), await open_controller(QUIET)
    job = await SimulatedJob(one, spec(100, "fixed")).start()
    await job.run()
    made = await asyncio.gather(*(each.record_curves() for each in (one, two, one, two)))
    assert sorted(made) == [(), (), (), (job.job,)]
    assert len(await events(one, job.job, "curve_kept")) == 1


async def test_a_job_that_ended_while_no_one_looked_has_its_curve_after_a_restart(
    open_controller: Open,
) -> None:
    halted = await open_controller(QUIET)
    job = await SimulatedJob(halted, spec(100, "fixed")).start()
    await job.run()
    again = await open_controller(OPTIONS)
    async with asyncio.timeout(30.0):
        while not (await again.curves.page(CurveFilter(job=job.job))).items:
            await asyncio.sleep(0.02)


async def test_a_curve_is_there_soon_after_the_end(open_controller: Open) -> None:
    """The report of the end wakes the recorder: nobody waits for the next look."""
    controller = await open_controller(replace(OPTIONS, record_every_seconds=3600.0))
    job = await SimulatedJob(controller, spec(100, "fixed")).start()
    await job.run()
    async with asyncio.timeout(30.0):
        while not (await controller.curves.page(CurveFilter(job=job.job))).items:
            await asyncio.sleep(0.02)


async def test_a_job_without_a_usable_curve_is_looked_at_once(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(100, "fixed")).start()
    record = job.rows(range(100), [1.0] * 100)
    columns = {**record.columns, "loss": [2.5] * 100}
    await job.send(record.model_copy(update={"columns": columns}))
    job.position = 100
    await finish(job)
    assert await controller.record_curves() == ()
    assert await controller.record_curves() == ()
    (event,) = await events(controller, job.job, "curve_not_kept")
    assert "all 100 losses are 2.5" in str(event.body["problem"])


async def test_what_the_strategy_found_is_kept_with_the_record(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(100, "finding")).start()
    await job.run()
    await controller.record_curves()
    (found,) = (await curve_of(controller, job.job))[0].record.found
    assert (found.share, found.sd) == (0.04, 0.5)
    assert found.log2_lr < 0.0


async def test_a_strategy_that_cannot_say_what_it_found_takes_no_curve_away(
    controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    parameters = {"probes": 0}
    job = await SimulatedJob(controller, spec(100, "finding", parameters=parameters)).start()
    await job.run(until=100)
    await finish(job)
    assert await controller.record_curves() == (job.job,)
    assert (await curve_of(controller, job.job))[0].record.found == ()
    assert "a defect of the strategy" in caplog.text
