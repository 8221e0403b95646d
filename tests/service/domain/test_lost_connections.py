"""PostgreSQL takes its connections away, as a failover or a restart of the server does."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import psycopg
from pacesetter_service.controller import Controller
from pacesetter_service.database import open_store
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import Busy

from tests.service.domain.conftest import OPTIONS
from tests.service.domain.simulated import SimulatedJob, spec

DEADLINE_SECONDS = 30.0
_OTHERS = "datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE %s"


def connections(database_url: str, application: str = "pacesetter%", *, end: bool = False) -> int:
    """Return how many connections a service has to the database; ``end`` takes them away."""
    what = "pg_terminate_backend(pid)" if end else "pid"
    with psycopg.connect(database_url, autocommit=True) as connection:
        query = f"SELECT {what} FROM pg_stat_activity WHERE {_OTHERS}".encode()
        return len(connection.execute(query, (application,)).fetchall())


class Patient:
    """A controller whose caller tries again where it is busy, as the client does after a 503."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.in_a_row = 0
        """Refusals since the last call that was answered."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(self._controller, name)

        async def insist(*arguments: Any, **named: Any) -> Any:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    try:
                        answer = await call(*arguments, **named)
                    except Busy:
                        self.in_a_row += 1
                        await asyncio.sleep(0.01)
                    else:
                        self.in_a_row = 0
                        return answer

        return insist


async def job_of(controller: object, name: str) -> SimulatedJob:
    job = SimulatedJob(cast(Controller, controller), spec(100, external_id=name), cut=4)
    await job.start()
    await job.run()
    return job


async def test_a_job_loses_and_doubles_nothing_while_its_connections_are_ended(
    postgresql_url: str,
) -> None:
    controller = await Controller.open(postgresql_url, OPTIONS)
    undisturbed = await job_of(controller, "undisturbed")
    patient = Patient(controller)
    ended = 0

    async def disturb() -> None:
        """End all connections every 30 ms; less and less often on a machine that answers nothing meanwhile."""
        nonlocal ended
        while True:
            ended += await asyncio.to_thread(connections, postgresql_url, end=True)
            await asyncio.sleep(0.03 * 2.0 ** min(patient.in_a_row, 6))

    disturbing = asyncio.create_task(disturb())
    try:
        disturbed = await job_of(patient, "disturbed")
    finally:
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
    assert ended > 5
    assert disturbed.received == undisturbed.received
    assert disturbed.rates == undisturbed.rates
    insistent = cast(Controller, patient)
    curve = await insistent.curve(disturbed.job, (), 1000)
    assert curve.columns["step"] == [float(step) for step in range(1, disturbed.step + 1)]
    assert (await insistent.get_job(disturbed.job)).status == "completed"
    page = await insistent.events(disturbed.job, page_size=1000)
    assert {event.type for event in page.items}.isdisjoint({"gap", "refused"})
    await controller.close()


async def test_waiting_outlives_a_lost_connection(postgresql_url: str) -> None:
    controller = await Controller.open(postgresql_url, OPTIONS)
    job = await SimulatedJob(controller, spec(strategy="fixed")).start()
    waiting = asyncio.create_task(controller.wait_segments(job.job, job.seen, 60.0, job.session))
    await asyncio.sleep(0)
    assert connections(postgresql_url, end=True) > 0
    await cast(Controller, Patient(controller)).transition(job.job, "cancel")
    assert await waiting is True
    await controller.close()


async def test_the_connection_that_listens_comes_back(postgresql_url: str) -> None:
    heard: set[str] = set()
    listening = open_store(postgresql_url, lambda *told: heard.update(told[0]))
    speaking = open_store(postgresql_url, lambda *_: None)
    await asyncio.gather(listening.start(), speaking.start())

    def wake(tx: Transaction) -> None:
        tx.wakes.add("job-1")

    await speaking.write(wake)
    await until(lambda: "job-1" in heard)
    heard.clear()
    assert connections(postgresql_url, "pacesetter-listen", end=True) == 2
    await until(lambda: connections(postgresql_url, "pacesetter-listen") == 2)
    # It listens a moment after it is connected; what was said before that nobody hears.
    deadline = time.monotonic() + DEADLINE_SECONDS
    while "job-1" not in heard and time.monotonic() < deadline:
        await speaking.write(wake)
        await asyncio.sleep(0.02)
    assert "job-1" in heard
    await asyncio.gather(listening.close(), speaking.close())


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.01)
