from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pacesetter_service.controller import Controller, ControllerOptions

ROOT = Path(__file__).parents[3]
OPTIONS = ControllerOptions(
    registry="tests.service.domain.strategies",
    warm_imports=(),
    environment={"PYTHONPATH": str(ROOT)},
)

Open = Callable[..., Awaitable[Controller]]


@pytest.fixture
async def open_controller(database_url: str) -> AsyncIterator[Open]:
    """Opens controllers on one database, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def open_(options: ControllerOptions = OPTIONS) -> Controller:
            controller = await Controller.open(database_url, options)
            stack.push_async_callback(controller.close)
            return controller

        yield open_


@pytest.fixture
async def controller(open_controller: Open) -> Controller:
    return await open_controller()
