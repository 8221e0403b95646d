"""Slow strategies in their process, broken strategies, and segments that a job cannot execute."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from pacesetter.protocol import Capabilities
from pacesetter_service.controller import Controller
from pacesetter_service.errors import StrategyRefused
from pacesetter_service.planning import requests
from pacesetter_service.views import EventView

from tests.service.domain.conftest import OPTIONS, ROOT, Open
from tests.service.domain.simulated import SimulatedJob, spec

DEADLINE_SECONDS = 60.0


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def events(controller: Controller, job: str, type_: str) -> list[EventView]:
    page = await controller.events(job, page_size=1000)
    return [event for event in page.items if event.type == type_]


async def test_the_planning_process_has_one_blas_thread_and_is_another(
    controller: Controller,
) -> None:
    job = (await controller.register(spec(strategy="threads"))).registration.job

    async def decided() -> bool:
        return bool(await events(controller, job, "decision"))

    await eventually(decided)
    numbers = (await events(controller, job, "decision"))[0].body["numbers"]
    assert isinstance(numbers, dict)
    assert numbers["omp"] == "1"
    assert numbers["pid"] != os.getpid()


@pytest.mark.parametrize("strategy", ["raising", "slow_raising", "deadly"])
async def test_a_strategy_that_fails_hands_its_job_to_fixed(
    controller: Controller, strategy: str
) -> None:
    job = await SimulatedJob(controller, spec(100, strategy)).start()
    await job.run()
    view = await controller.get_job(job.job)
    assert (view.strategy, view.status) == ("fixed", "completed")
    (event,) = await events(controller, job.job, "handed_over")
    assert event.body["from"] == strategy
    assert ("a defect" in str(event.body["reason"])) == (strategy != "deadly")
    # The first stage, then the base schedule from where the probe had left the main line.
    assert job.rates == dict.fromkeys(range(20), 0.5) | dict.fromkeys(range(20, 100), 1.0)


async def test_one_crash_of_the_planning_process_is_survived(
    controller: Controller, tmp_path: Path
) -> None:
    parameters = {"crash_once": str(tmp_path / "crashed")}
    job = await SimulatedJob(controller, spec(100, "deadly", parameters=parameters)).start()
    await job.run()
    assert (tmp_path / "crashed").exists()
    assert (await controller.get_job(job.job)).strategy == "deadly"
    same = await SimulatedJob(controller, spec(100, "ladder", external_id="same")).start()
    await same.run()
    assert job.rates == same.rates


async def test_a_decision_that_was_interrupted_is_taken_at_the_next_start(
    open_controller: Open,
) -> None:
    # Without planning, everything up to the decision is stored and the decision is not taken:
    # what a controller leaves that is killed during a suggestion.
    halted = await open_controller(replace(OPTIONS, planning=False))
    job = (await halted.register(spec(strategy="slow_ladder"))).registration.job
    assert (await halted.segments_after(job)).segments == ()
    assert (await halted.get_job(job)).planning
    again = await open_controller()
    assert await again.wait_segments(job, 0, DEADLINE_SECONDS)
    assert [s.kind for s in (await again.segments_after(job)).segments] == ["main", "probe"]


async def test_a_job_with_a_state_of_another_version_goes_to_fixed(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await SimulatedJob(controller, spec(100, "ladder")).start()
    await job.run(until=15)
    from tests.service.domain.strategies import Ladder

    monkeypatch.setattr(Ladder, "version", 2)
    await job.run()
    assert (await controller.get_job(job.job)).strategy == "fixed"
    (event,) = await events(controller, job.job, "handed_over")
    assert "version 1" in str(event.body["reason"]) and "version 2" in str(event.body["reason"])


async def test_a_segment_that_the_job_cannot_execute_is_never_sent(controller: Controller) -> None:
    capabilities = Capabilities(rollback="memory", rewind_batches=2)
    parameters = {"data": "rewind", "probe": 4}
    job = await SimulatedJob(
        controller, spec(100, "ladder", parameters=parameters, capabilities=capabilities)
    ).start()
    assert [s.kind for s in job.received.values()] == ["main"]
    (event,) = await events(controller, job.job, "handed_over")
    assert "rewinds 4 batches" in str(event.body["reason"])
    await job.run()
    assert job.rates == dict.fromkeys(range(100), 1.0)


async def test_the_overhead_cap_is_never_passed(controller: Controller) -> None:
    job = await SimulatedJob(controller, spec(100, "ladder", overhead_cap=0.1)).start()
    await job.run()
    ledger = await controller.ledger(job.job)
    assert ledger.planned_probe == 8
    (event,) = await events(controller, job.job, "handed_over")
    assert "overhead cap 0.1" in str(event.body["reason"])
    assert sorted(job.rates) == list(range(100))


async def test_a_job_that_cannot_be_steered_is_refused_with_those_that_can(
    controller: Controller,
) -> None:
    with pytest.raises(StrategyRefused) as error:
        await controller.register(spec(capabilities=Capabilities()))
    assert error.value.code == "STRATEGY_CANNOT_STEER"
    assert error.value.obstacles == ("it probes, and the job cannot roll back",)
    assert error.value.fitting == (
        *("fixed", "greedy", "halving", "manual", "remembering"),
        "slow_fixed",
    )
    assert (await controller.list_jobs()).items == ()


@pytest.mark.parametrize(
    ("strategy", "parameters", "code"),
    [("nonsense", {}, "UNKNOWN_STRATEGY"), ("ladder", {"stage": "x"}, "BAD_STRATEGY_PARAMETERS")],
)
async def test_a_strategy_that_is_not_there_is_refused(
    controller: Controller, strategy: str, parameters: dict[str, object], code: str
) -> None:
    with pytest.raises(StrategyRefused) as error:
        await controller.register(spec(strategy=strategy, parameters=parameters))
    assert error.value.code == code


async def test_validating_stores_nothing(controller: Controller) -> None:
    answer = await controller.register(spec(), validate_only=True)
    assert (answer.registration.job, answer.registration.strategy) == ("", "ladder")
    assert (await controller.list_jobs()).items == ()


_PARENT = """
import asyncio
from pacesetter_service.planning.remote import PlanningProcess

async def main():
    process = PlanningProcess("tests.service.domain.strategies", 60.0, {})
    await process.start()
    print(process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.faults
def test_the_planning_process_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        _, alive = psutil.wait_procs([child], timeout=DEADLINE_SECONDS)
    assert not alive


@pytest.mark.parametrize("strategy", ["ladder", "slow_ladder"])
async def test_events_read_a_few_at_a_time_lead_to_the_same_segments(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    async def restarted_on_the_way(name: str) -> SimulatedJob:
        first = SimulatedJob(controller, spec(100, strategy, external_id=name), cut=3)
        await (await first.start()).run(until=75)
        again = first.spec.model_copy(update={"nonce": "second"})
        # What the kept main line showed before 52 is replayed, and stands behind one event.
        second = SimulatedJob(controller, again, position=52, rates=dict(first.rates))
        await (await second.start()).run()
        return second

    whole = await restarted_on_the_way("at once")
    sizes: list[int] = []

    def counted(*arguments: Any) -> Any:
        events, rest = some_events(*arguments)
        sizes.append(len(events))
        return events, rest

    some_events = requests._some_events
    monkeypatch.setattr(requests, "ROWS_AT_ONCE", 4)
    monkeypatch.setattr(requests, "RECORDS_AT_ONCE", 3)
    monkeypatch.setattr(requests, "_some_events", counted)
    in_parts = await restarted_on_the_way("in parts")
    assert in_parts.rates == whole.rates
    assert in_parts.received == whole.received
    assert max(sizes) <= 4
    assert len(sizes) > 40
