"""Waiting with a time limit: for what comes, until time is up, and never past a cancellation."""

import asyncio

import pytest
from pacesetter_service.wakeup import wait_for


async def test_what_is_set_is_waited_for_and_cleared() -> None:
    event = asyncio.Event()
    event.set()
    assert await wait_for(event, 60.0)
    assert not event.is_set()


async def test_time_that_is_up_is_told() -> None:
    assert not await wait_for(asyncio.Event(), 0.0)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_a_loop_ends_that_is_cancelled_just_as_it_is_woken(turns: int) -> None:
    event = asyncio.Event()
    rounds = 0

    async def look_for_ever() -> None:
        nonlocal rounds
        while True:
            rounds += await wait_for(event, 60.0)

    task = asyncio.create_task(look_for_ever())
    await asyncio.sleep(0)
    event.set()
    for _ in range(turns):  # of the event loop, between the two
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=10.0)
    assert done == {task}
    assert task.cancelled()
