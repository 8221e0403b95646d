"""Restarts: the main line comes back, decisions are taken again alike, and the old process steers nothing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pacesetter.protocol import Budget, Capabilities, SessionBegan
from pacesetter.schedules import Schedule
from pacesetter_service.controller import Controller
from pacesetter_service.errors import Conflict

from tests.service.domain.conftest import OPTIONS, Open
from tests.service.domain.simulated import SimulatedJob, spec


async def uninterrupted(controller: Controller, strategy: str = "ladder") -> SimulatedJob:
    job = SimulatedJob(controller, spec(100, strategy, external_id="uninterrupted"))
    await job.start()
    await job.run()
    return job


async def restarted(
    controller: Controller, first: SimulatedJob, position: int, nonce: str = "second"
) -> SimulatedJob:
    """Return a new process of the same run, from a checkpoint at ``position``."""
    again = first.spec.model_copy(update={"nonce": nonce})
    job = SimulatedJob(controller, again, position=position)
    job.rates = {p: rate for p, rate in first.rates.items() if p < position}
    return await job.start()


async def test_registering_again_with_the_same_nonce_changes_nothing(
    controller: Controller,
) -> None:
    first = await controller.register(spec())
    again = await controller.register(spec())
    assert first.is_new_job and not again.is_new_job and not again.is_new_session
    assert again.registration == first.registration


async def test_another_nonce_opens_a_session_of_the_same_job(controller: Controller) -> None:
    first = await controller.register(spec())
    second = await controller.register(spec(nonce="second"))
    assert second.registration.job == first.registration.job
    assert second.registration.session_number == 2
    assert second.is_new_session and not second.is_new_job


async def test_projects_keep_their_external_ids_apart(controller: Controller) -> None:
    first = await controller.register(spec(), project="one")
    second = await controller.register(spec(), project="two")
    assert first.registration.job != second.registration.job


@pytest.mark.parametrize(
    "other",
    [
        {"budget": Budget(total=100, clock="tokens")},
        {"base": Schedule(length=100, peak=0.5)},
    ],
)
async def test_another_clock_or_another_base_for_the_same_budget_is_a_conflict(
    controller: Controller, other: dict[str, Any]
) -> None:
    await controller.register(spec())
    with pytest.raises(Conflict) as error:
        await controller.register(spec(nonce="second", **other))
    assert error.value.code == "EXTERNAL_ID_TAKEN"


async def test_world_size_may_differ_and_the_strategy_stays(controller: Controller) -> None:
    await controller.register(spec())
    capabilities = Capabilities(rollback="memory", rewind_batches=100, world_size=2)
    again = await controller.register(
        spec(nonce="second", strategy="fixed", capabilities=capabilities)
    )
    assert again.registration.strategy == "ladder"
    view = await controller.get_job(again.registration.job)
    assert view.spec.capabilities.world_size == 2


# On the main line; at the very end of a stage, so among its probes; twice back; from the start.
@pytest.mark.parametrize(
    ("killed", "resumed", "strategy"),
    [
        (50, 43, "ladder"),
        (60, 60, "ladder"),
        (47, 0, "ladder"),
        (99, 61, "ladder"),
        (70, 20, "slow_ladder"),
    ],
)
async def test_a_restart_from_an_older_checkpoint_trains_at_the_same_rates(
    controller: Controller, killed: int, resumed: int, strategy: str
) -> None:
    expected = await uninterrupted(controller, strategy)
    first = await SimulatedJob(controller, spec(100, strategy)).start()
    await first.run(until=killed)
    second = await restarted(controller, first, resumed)
    await second.run()
    assert second.rates == expected.rates
    assert (await controller.get_job(second.job)).status == "completed"


async def test_a_restart_goes_back_to_a_first_decision_that_only_probed(
    controller: Controller,
) -> None:
    parameters = {"probe_first": True}
    expected = await SimulatedJob(
        controller, spec(parameters=parameters, external_id="uninterrupted")
    ).start()
    await expected.run()
    first = await SimulatedJob(controller, spec(parameters=parameters)).start()
    assert [s.kind for s in first.received.values()] == ["probe"]
    second = await restarted(controller, first, 0)
    assert second.kept_through == 1
    await second.run()
    assert second.rates == expected.rates


async def test_a_third_session_goes_back_further_than_the_second(controller: Controller) -> None:
    expected = await uninterrupted(controller)
    first = await SimulatedJob(controller, spec(100)).start()
    await first.run(until=75)
    second = await restarted(controller, first, 50)
    await second.run(until=65)
    third = await restarted(controller, second, 30, nonce="third")
    await third.run()
    assert third.rates == expected.rates
    ledger = await controller.ledger(third.job)
    assert ledger.redone == (75 - 50) + (65 - 30)
    curve = await controller.curve(third.job, ("lr",), 1000)
    main = [
        p for p, kind in zip(curve.columns["position"], curve.kinds, strict=True) if kind == "main"
    ]
    assert main == [float(position) for position in range(100)]


async def test_the_zombie_steers_nothing(controller: Controller) -> None:
    expected = await uninterrupted(controller)
    zombie = await SimulatedJob(controller, spec(100)).start()
    await zombie.run(until=55)
    living = await restarted(controller, zombie, 45)
    told = await zombie.send(zombie.rows(range(55, 56), [9.0]))
    assert not told.session_current
    assert told.segments == ()
    page = await controller.segments_after(zombie.job, zombie.session, 0)
    assert page.segments == ()
    await living.run()
    assert living.rates == expected.rates


async def test_segments_beyond_the_place_of_resuming_are_superseded(
    controller: Controller,
) -> None:
    first = await SimulatedJob(controller, spec(100)).start()
    await first.run(until=50)
    before = await controller.segments_after(first.job)
    second = await restarted(controller, first, 30)
    # The decision at 20 set the main line from 20 and asked for the first probe at 40: segments 4 and 5.
    assert second.kept_through == 5
    after = await controller.segments_after(first.job)
    assert [s.seq for s in before.segments] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [s.seq for s in after.segments] == [1, 2, 3, 4, 5]
    await second.run()
    numbers = sorted(second.received)
    assert len(numbers) == len(set(numbers)) and numbers[-1] > 8


async def test_a_repeated_beginning_is_answered_alike(controller: Controller) -> None:
    first = await SimulatedJob(controller, spec(100)).start()
    await first.run(until=50)
    second = await restarted(controller, first, 30)
    reply = await controller.report(second.job, second.sent[0])
    assert (reply.kept_through, reply.last_record) == (5, 1)
    page = await controller.events(second.job, page_size=1000)
    assert [event.type for event in page.items].count("rewound") == 1


async def test_a_resumed_job_that_the_service_never_knew_starts_where_it_says(
    controller: Controller,
) -> None:
    job = SimulatedJob(controller, spec(100, "fixed"), position=40)
    await job.start()
    assert isinstance(job.sent[0].records[0], SessionBegan)
    assert (await controller.get_job(job.job)).main_position == 40
    await job.run()
    assert job.rates == dict.fromkeys(range(40, 100), 1.0)


async def test_a_completed_job_can_be_taken_up_again(controller: Controller) -> None:
    first = await uninterrupted(controller)
    again = first.spec.model_copy(update={"nonce": "second"})
    registered = await controller.register(again)
    assert registered.registration.status == "running"


async def test_a_restart_behind_a_first_decision_that_came_late_goes_back_to_it(
    open_controller: Open,
) -> None:
    # Nothing is planned until the job has trained 60 steps on its base schedule.
    halted = await open_controller(replace(OPTIONS, planning=False))
    registered = (await halted.register(spec(100, "slow_ladder"))).registration
    job = SimulatedJob(halted, spec(100, "slow_ladder"))
    job.job, job.session = registered.job, registered.session
    await job.send(SessionBegan(number=job._next(), segment=0, position=0))
    await job.send(job.rows(range(60), [1.0] * 60))
    controller = await open_controller()
    assert await controller.wait_segments(registered.job, 0, 60.0)
    sent = (await controller.segments_after(registered.job)).segments
    again = await restarted(controller, job, 20)
    rewound = await controller.events(again.job, types=("rewound",))
    assert [event.body["position"] for event in rewound.items] == [20]
    assert again.kept_through == sent[-1].seq


async def test_a_late_report_of_an_older_session_does_not_revive_the_job(
    controller: Controller,
) -> None:
    first = await SimulatedJob(controller, spec(100, "fixed")).start()
    second = await restarted(controller, first, 0)
    seen = (await controller.get_job(second.job)).last_seen_at
    assert await controller.reap(seen + timedelta(seconds=301)) == (second.job,)
    reply = await first.send(first.rows(range(3), [1.0] * 3))
    assert (reply.session_current, reply.last_record) == (False, 2)
    view = await controller.get_job(second.job)
    assert (view.status, view.last_seen_at) == ("lost", seen)
