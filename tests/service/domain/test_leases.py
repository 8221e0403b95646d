"""Leases of trials: one holder each, taken over once they run out, and nothing changed by who lost one."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pacesetter.protocol import (
    Claim,
    Claimed,
    Heartbeat,
    Lease,
    TrialFailure,
    TrialResult,
    TrialReturn,
)
from pacesetter_service.controller import Controller
from pacesetter_service.errors import Conflict, NotFound
from pacesetter_service.experiments import service
from pacesetter_service.experiments.repository import queue_of
from pacesetter_service.experiments.views import TrialView

from tests.service.domain.conftest import OPTIONS, Open
from tests.service.domain.experimenting import (
    claim,
    finish,
    points,
    run_all,
    run_out,
    search,
    trials_of,
)
from tests.service.domain.test_planning import DEADLINE_SECONDS

LATER = datetime(2999, 1, 1, tzinfo=UTC)


async def beat(controller: Controller, lease: Lease, step: int = 0, **fields: Any) -> bool:
    """Send a heartbeat; return whether the trial is to stop."""
    body = Heartbeat(token=lease.token, step=step, **fields)
    return (await controller.experiments.heartbeat(lease.trial.id, body)).cancel


async def fail(controller: Controller, lease: Lease, *, retry: bool) -> TrialView:
    failure = TrialFailure(token=lease.token, error="out of memory", retry=retry)
    return await controller.experiments.fail(lease.trial.id, failure)


async def give_back(controller: Controller, lease: Lease) -> TrialView:
    return await controller.experiments.give_back(lease.trial.id, TrialReturn(token=lease.token))


CALLS: dict[str, Callable[[Controller, Lease], Awaitable[object]]] = {
    "heartbeat": lambda controller, lease: beat(controller, lease, 9, points=points(1, 3)),
    "finish": lambda controller, lease: finish(controller, lease, loss=0.0),
    "fail": lambda controller, lease: fail(controller, lease, retry=False),
    "retry": lambda controller, lease: fail(controller, lease, retry=True),
    "return": give_back,
}


async def test_two_hundred_trials_are_each_done_once_by_two_workers(controller: Controller) -> None:
    experiment = await controller.experiments.create(search(200), "default")
    done = await asyncio.gather(
        run_all(controller, most=3, worker="one"), run_all(controller, most=5, worker="two")
    )
    assert sorted([*done[0], *done[1]]) == list(range(1, 201))
    assert min(len(numbers) for numbers in done) > 0
    over = await controller.experiments.get(experiment.id)
    assert (over.status, over.trials.done) == ("completed", 200)
    trials = await trials_of(controller, experiment.id)
    assert [trial.number for trial in trials] == list(range(1, 201))
    assert {trial.attempts for trial in trials} == {1}


async def test_replicas_that_claim_at_once_give_no_trial_to_two(postgresql_url: str) -> None:
    replicas = [await Controller.open(postgresql_url, OPTIONS) for _ in range(3)]
    experiment = await replicas[0].experiments.create(search(60), "default")
    claimed = await asyncio.gather(
        *(claim(replica, most=4, worker=f"{number}") for number in range(5) for replica in replicas)
    )
    numbers = [lease.trial.number for leases in claimed for lease in leases]
    assert sorted(numbers) == list(range(1, 61))
    await asyncio.gather(
        *(
            finish(replicas[number % 3], lease)
            for number, leases in enumerate(claimed)
            for lease in leases
        )
    )
    over = await replicas[0].experiments.get(experiment.id)
    assert (over.status, over.trials.done) == ("completed", 60)
    for replica in replicas:
        await replica.close()


@pytest.fixture
def never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that waits finds what it is woken for, and nothing else."""
    monkeypatch.setattr(service, "POLL_SECONDS", 1e6)


async def waiting_claim(controller: Controller, **changes: Any) -> "asyncio.Task[Claimed]":
    """Begin to wait for a trial; return once it waits."""
    wish = Claim(worker="patient", proxies=("noop",))
    began = asyncio.create_task(controller.experiments.claim(wish, "default", 1e6, **changes))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not controller._wakeups.waiting(queue_of("default")):
            await asyncio.sleep(0.01)
    return began


@pytest.mark.usefixtures("never_looks")
async def test_a_claim_waits_for_the_first_trial(controller: Controller) -> None:
    waiting = await waiting_claim(controller)
    experiment = await controller.experiments.create(search(1), "default")
    async with asyncio.timeout(DEADLINE_SECONDS):
        (lease,) = (await waiting).leases
    assert lease.trial.experiment == experiment.id
    assert not controller._wakeups.waiting(queue_of("default"))


@pytest.mark.usefixtures("never_looks")
@pytest.mark.parametrize("end", ["return", "retry"])
async def test_a_claim_waits_for_a_trial_that_comes_back(controller: Controller, end: str) -> None:
    await controller.experiments.create(search(1), "default")
    (first,) = await claim(controller)
    waiting = await waiting_claim(controller)
    await CALLS[end](controller, first)
    async with asyncio.timeout(DEADLINE_SECONDS):
        (lease,) = (await waiting).leases
    assert lease.trial.id == first.trial.id


async def test_a_claim_that_waits_finds_a_lease_that_ran_out(controller: Controller) -> None:
    await controller.experiments.create(search(1), "default")
    (lost,) = await claim(controller)
    waiting = await waiting_claim(controller)
    await run_out(controller, lost.trial.id)
    async with asyncio.timeout(DEADLINE_SECONDS):
        (lease,) = (await waiting).leases
    assert lease.trial.id == lost.trial.id


@pytest.mark.usefixtures("never_looks")
async def test_a_claim_that_nobody_waits_for_any_more_leases_nothing(
    controller: Controller,
) -> None:
    async def is_gone() -> bool:
        return True

    waiting = await waiting_claim(controller, is_gone=is_gone)
    await controller.experiments.create(search(1), "default")
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert (await waiting).leases == ()
    assert len(await claim(controller)) == 1


@pytest.mark.usefixtures("never_looks")
async def test_a_claim_that_waits_ends_with_the_controller(open_controller: Open) -> None:
    closing = await open_controller()
    waiting = await waiting_claim(closing)
    await closing.close()
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert (await waiting).leases == ()


@pytest.mark.usefixtures("never_looks")
async def test_a_claim_waits_for_what_another_replica_plans(postgresql_url: str) -> None:
    one, two = [await Controller.open(postgresql_url, OPTIONS) for _ in range(2)]
    waiting = await waiting_claim(one)
    await two.experiments.create(search(1), "default")
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert len((await waiting).leases) == 1
    await one.close()
    await two.close()


async def test_a_lease_that_ran_out_is_taken_over(controller: Controller) -> None:
    experiment = await controller.experiments.create(search(1), "default")
    (lost,) = await claim(controller, worker="killed")
    assert await claim(controller, worker="other") == ()
    await run_out(controller, lost.trial.id)
    (taken,) = await claim(controller, worker="other")
    assert taken.trial.id == lost.trial.id
    assert (taken.trial.attempt, taken.trial.seed) == (2, lost.trial.seed)
    assert taken.trial.parameters == lost.trial.parameters
    assert taken.token != lost.token
    done = await finish(controller, taken)
    assert (done.worker, done.attempts) == ("other", 2)
    assert (await controller.experiments.get(experiment.id)).status == "completed"


@pytest.mark.parametrize("call", CALLS)
async def test_a_zombie_changes_nothing(controller: Controller, call: str) -> None:
    await controller.experiments.create(search(1), "default")
    (zombie,) = await claim(controller, worker="zombie")
    await run_out(controller, zombie.trial.id)
    (taken,) = await claim(controller, worker="other")
    before = await controller.experiments.trial(taken.trial.id)
    with pytest.raises(Conflict) as caught:
        await CALLS[call](controller, zombie)
    assert caught.value.code == "LEASE_LOST"
    after = await controller.experiments.trial(taken.trial.id)
    assert after.trial == before.trial
    assert after.columns["step"].size == 0
    assert (await finish(controller, taken)).status == "done"
    with pytest.raises(Conflict):
        await CALLS[call](controller, zombie)


async def test_a_lease_that_ran_out_and_nobody_took_goes_on(controller: Controller) -> None:
    await controller.experiments.create(search(1), "default")
    (lease,) = await claim(controller)
    await run_out(controller, lease.trial.id)
    assert await beat(controller, lease, step=5) is False
    assert await claim(controller) == ()
    await run_out(controller, lease.trial.id)
    assert (await finish(controller, lease)).status == "done"


async def test_a_heartbeat_holds_the_lease_by_the_database_s_clock(open_controller: Open) -> None:
    controller = await open_controller()
    await controller.experiments.create(search(1), "default")
    (lease,) = await claim(controller)
    assert lease.seconds == OPTIONS.lease_seconds == 60.0
    await run_out(controller, lease.trial.id)
    await beat(controller, lease, step=3)
    assert await claim(controller) == ()
    # The reaper of a replica whose moment lies after the lease leaves it to the next claim: attempts are left.
    assert await controller.experiments.reap(LATER) == ()
    assert (await controller.experiments.trial(lease.trial.id)).trial.status == "leased"


async def test_leases_that_are_lost_too_often_fail_the_trial(controller: Controller) -> None:
    experiment = await controller.experiments.create(search(2, max_attempts=2), "default")
    for attempt in (1, 2):
        (lease,) = await claim(controller, worker=f"w{attempt}")
        assert (lease.trial.number, lease.trial.attempt) == (1, attempt)
        await beat(controller, lease, step=10 * attempt)
        await run_out(controller, lease.trial.id)
    (other,) = await claim(controller)
    assert other.trial.number == 2
    assert await controller.experiments.reap() == (experiment.id,)
    failed = (await controller.experiments.trial(lease.trial.id)).trial
    assert failed.status == "failed"
    assert failed.error.startswith("lease lost 2 times: worker 'w2' fell silent at step 20")
    with pytest.raises(Conflict, match="lost"):
        await finish(controller, lease)
    await finish(controller, other)
    over = await controller.experiments.get(experiment.id)
    assert (over.status, over.trials.failed, over.trials.done) == ("completed", 1, 1)


async def test_the_reaper_leaves_leases_that_hold(controller: Controller) -> None:
    await controller.experiments.create(search(1, max_attempts=1), "default")
    (lease,) = await claim(controller)
    assert await controller.experiments.reap() == ()
    assert await controller.experiments.reap(LATER - timedelta(days=1)) != ()
    assert (await controller.experiments.trial(lease.trial.id)).trial.status == "failed"


async def test_a_lease_that_is_handed_back_counts_as_no_attempt(controller: Controller) -> None:
    await controller.experiments.create(search(1, max_attempts=1), "default")
    for _ in range(3):
        (lease,) = await claim(controller)
        assert lease.trial.attempt == 1
        back = await give_back(controller, lease)
        assert (back.status, back.attempts) == ("queued", 0)
    (lease,) = await claim(controller)
    assert (await finish(controller, lease)).attempts == 1


async def test_a_failure_that_may_go_better_is_tried_again_as_often_as_allowed(
    controller: Controller,
) -> None:
    await controller.experiments.create(search(1, max_attempts=2), "default")
    (lease,) = await claim(controller)
    assert (await fail(controller, lease, retry=True)).status == "queued"
    (lease,) = await claim(controller)
    failed = await fail(controller, lease, retry=True)
    assert (failed.status, failed.attempts, failed.error) == ("failed", 2, "out of memory")
    assert await claim(controller) == ()


@pytest.mark.parametrize("call", ["finish", "fail", "retry", "return"])
async def test_a_call_that_is_sent_again_changes_nothing(controller: Controller, call: str) -> None:
    experiment = await controller.experiments.create(search(2), "default")
    (lease,) = await claim(controller)
    await CALLS[call](controller, lease)
    before = await controller.experiments.get(experiment.id)
    first = (await controller.experiments.trial(lease.trial.id)).trial
    await CALLS[call](controller, lease)
    assert await controller.experiments.get(experiment.id) == before
    assert (await controller.experiments.trial(lease.trial.id)).trial == first


async def test_a_result_is_not_taken_back_by_another_call(controller: Controller) -> None:
    await controller.experiments.create(search(1), "default")
    (lease,) = await claim(controller)
    await finish(controller, lease)
    for call in ("fail", "return", "heartbeat"):
        with pytest.raises(Conflict):
            await CALLS[call](controller, lease)
    assert (await controller.experiments.trial(lease.trial.id)).trial.status == "done"


@pytest.mark.parametrize("how", ["return", "fail", "retry", "silence"])
async def test_a_worker_of_a_cancelled_experiment_is_told_and_its_trial_is_cancelled(
    controller: Controller, how: str
) -> None:
    experiment = await controller.experiments.create(search(1), "default")
    (lease,) = await claim(controller)
    assert await beat(controller, lease, step=1) is False
    await controller.experiments.cancel(experiment.id)
    assert await beat(controller, lease, step=2) is True
    if how == "silence":
        await run_out(controller, lease.trial.id)
        assert await claim(controller) == ()
        assert await controller.experiments.reap() == (experiment.id,)
    else:
        await CALLS[how](controller, lease)
    trial = (await controller.experiments.trial(lease.trial.id)).trial
    assert trial.status == "cancelled"
    assert trial.ended_at is not None
    assert (await controller.experiments.get(experiment.id)).status == "cancelled"


async def test_points_are_stored_once_and_a_later_lease_overwrites_from_its_checkpoint(
    controller: Controller,
) -> None:
    await controller.experiments.create(search(1), "default")
    (lease,) = await claim(controller)
    await beat(controller, lease, step=4, points=points(1, 4))
    await beat(controller, lease, step=4, points=points(1, 4))  # its reply was lost
    await beat(controller, lease, step=6, points=points(3, 4))  # two of them are new
    found = await controller.experiments.trial(lease.trial.id)
    assert found.columns["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert found.trial.step == 6
    await run_out(controller, lease.trial.id)
    (lease,) = await claim(controller)
    await beat(controller, lease, step=5, points=points(4, 2, loss=9.0))
    found = await controller.experiments.trial(lease.trial.id)
    assert found.columns["step"].tolist() == [1, 2, 3, 4, 5]
    assert found.columns["loss"].tolist() == [2.99, 2.98, 2.97, 8.96, 8.95]
    assert found.columns["lr"].tolist() == [0.01] * 5
    assert found.trial.step == 6


async def test_what_is_not_there_is_not_found(controller: Controller) -> None:
    result = TrialResult(token="t", loss=1.0)
    with pytest.raises(NotFound) as caught:
        await controller.experiments.finish("trl_x", result)
    assert caught.value.code == "TRIAL_NOT_FOUND"
    await controller.experiments.create(search(1), "ours")
    (lease,) = await claim(controller, project="ours")
    body = Heartbeat(token=lease.token)
    with pytest.raises(NotFound):
        await controller.experiments.heartbeat(lease.trial.id, body, "theirs")
    with pytest.raises(NotFound):
        await controller.experiments.finish(
            lease.trial.id, TrialResult(token=lease.token, loss=1.0), "theirs"
        )
    assert (await controller.experiments.heartbeat(lease.trial.id, body, "ours")).cancel is False


async def test_a_database_in_use_by_two_stores_leases_each_trial_once(database_url: str) -> None:
    """Two processes are as good as two stores: neither knows of the other."""
    controllers = [await Controller.open(database_url, OPTIONS) for _ in range(2)]
    await controllers[0].experiments.create(search(64), "default")
    claimed = await asyncio.gather(
        *(claim(each, most=8, worker=str(number)) for number in range(4) for each in controllers)
    )
    numbers = sorted(lease.trial.number for leases in claimed for lease in leases)
    assert numbers == list(range(1, 65))
    for each in controllers:
        await each.close()
