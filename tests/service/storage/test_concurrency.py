"""Many writers, several replicas: nothing lost, nothing doubled, everyone woken."""

import asyncio

from pacesetter.protocol import Measurements, Report, SessionBegan
from pacesetter_service.controller import Controller, ControllerOptions
from pacesetter_service.overrides import SetMultiplier

from tests.service.domain.simulated import spec

OPTIONS = ControllerOptions(planning=False)


def rows(number: int, count: int = 10) -> Measurements:
    steps: list[float | None] = [float(number * count + index) for index in range(count)]
    return Measurements(
        number=number, segment=0, position=0, columns={"position": steps, "step": steps}
    )


async def opened(database_url: str, replicas: int) -> list[Controller]:
    return [await Controller.open(database_url, OPTIONS) for _ in range(replicas)]


async def begin(controller: Controller, name: str) -> tuple[str, str]:
    registered = await controller.register(spec(strategy="fixed", external_id=name))
    job, session = registered.registration.job, registered.registration.session
    began = SessionBegan(number=1, segment=0, position=0)
    await controller.report(job, Report(session=session, records=(began,)))
    return job, session


async def test_eight_writers_lose_and_double_nothing(database_url: str) -> None:
    (controller,) = await opened(database_url, 1)
    jobs = [await begin(controller, f"job-{index}") for index in range(8)]

    async def write(job: str, session: str) -> None:
        for number in range(2, 32):
            report = Report(session=session, records=(rows(number),))
            # Sent twice at the same time, as after a timeout that was not one.
            await asyncio.gather(controller.report(job, report), controller.report(job, report))

    await asyncio.gather(*(write(*job) for job in jobs))
    for job, _ in jobs:
        curve = await controller.curve(job, (), 1000)
        assert curve.columns["step"] == [float(step) for step in range(20, 320)]
        page = await controller.events(job, page_size=1000)
        assert [event.number for event in page.items] == list(range(1, len(page.items) + 1))
        assert {event.type for event in page.items}.isdisjoint({"gap", "refused"})
    await controller.close()


async def test_two_replicas_take_one_report_once(postgresql_url: str) -> None:
    one, other = await opened(postgresql_url, 2)
    job, session = await begin(one, "shared")
    for number in range(2, 22):
        report = Report(session=session, records=(rows(number),))
        replies = await asyncio.gather(one.report(job, report), other.report(job, report))
        assert [reply.last_record for reply in replies] == [number, number]
    assert (await other.curve(job, (), 1000)).rows_total == 200
    await asyncio.gather(one.close(), other.close())


async def test_registering_at_once_makes_one_job(database_url: str) -> None:
    replicas = await opened(database_url, 2 if database_url.startswith("postgresql") else 1)
    registered = await asyncio.gather(
        *(replica.register(spec(strategy="fixed")) for replica in replicas * 4)
    )
    assert len({r.registration.job for r in registered}) == 1
    assert len({r.registration.session for r in registered}) == 1
    assert sum(r.is_new_job for r in registered) == 1
    await asyncio.gather(*(replica.close() for replica in replicas))


async def test_a_segment_written_on_one_replica_wakes_the_other(postgresql_url: str) -> None:
    one, other = await opened(postgresql_url, 2)
    job, session = await begin(one, "shared")
    waiting = asyncio.create_task(other.wait_segments(job, 1, 60.0, session))
    while not other._wakeups._waiting:
        await asyncio.sleep(0)
    await one.override(job, SetMultiplier(multiplier=0.5))
    assert await waiting
    assert [s.seq for s in (await other.segments_after(job, session, 1)).segments] == [2]
    await asyncio.gather(one.close(), other.close())


async def test_waiting_ends_with_the_time_and_with_the_controller(database_url: str) -> None:
    (controller,) = await opened(database_url, 1)
    job, session = await begin(controller, "quiet")
    assert not await controller.wait_segments(job, 1, 0.01, session)
    assert await controller.wait_segments(job, 0, 60.0, session)
    waiting = asyncio.create_task(controller.wait_segments(job, 1, 60.0, session))
    while not controller._wakeups._waiting:
        await asyncio.sleep(0)
    await controller.close()
    assert not await waiting


async def test_jobs_are_listed_in_pages_newest_first(database_url: str) -> None:
    (controller,) = await opened(database_url, 1)
    made = [(await begin(controller, f"job-{index}"))[0] for index in range(7)]
    listed: list[str] = []
    token = ""
    while True:
        page = await controller.list_jobs(page_size=3, page_token=token)
        listed += [view.id for view in page.items]
        token = page.next_page_token
        if not token:
            break
    assert sorted(listed) == sorted(made)
    assert (await controller.list_jobs(project="other")).items == ()
    assert len((await controller.list_jobs(status="registered")).items) == 7
    await controller.close()
