"""Child processes: started once, ended however their parent leaves, and never left behind."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import psutil
import pytest
from pacesetter_service.processes.parent import ChildCrashed, ChildProcess

from tests.service.domain.conftest import ROOT

ECHO = "tests.service.domain.echo"


@pytest.fixture
async def echo() -> AsyncIterator[ChildProcess]:
    process = ChildProcess("the echo", ECHO, ("!",), 60.0, {"PYTHONPATH": str(ROOT)})
    yield process
    await process.stop()


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if ECHO in one.cmdline()]


async def test_messages_are_answered_one_after_the_other(echo: ChildProcess) -> None:
    assert echo.pid is None
    answers = [await echo.ask(body) for body in (b"a", b"", b"b" * 3_000_000)]
    assert answers == [b"a!", b"!", b"b" * 3_000_000 + b"!"]
    assert len(children()) == 1


async def test_what_it_prints_is_no_answer(echo: ChildProcess) -> None:
    assert await echo.ask(b"print") == b"print!"
    assert await echo.ask(b"a") == b"a!"


async def test_one_that_dies_is_started_again(echo: ChildProcess) -> None:
    await echo.start()
    first = echo.pid
    with pytest.raises(ChildCrashed, match="the echo has died"):
        await echo.ask(b"die")
    assert await echo.ask(b"a") == b"a!"
    assert echo.pid not in (None, first)


async def test_one_that_takes_too_long_is_killed() -> None:
    process = ChildProcess("the echo", ECHO, ("!",), 0.2, {"PYTHONPATH": str(ROOT)})
    await process.start()
    with pytest.raises(ChildCrashed, match=r"the echo gave no answer within 0\.2 s"):
        await process.ask(b"hang")
    assert (process.pid, children()) == (None, [])


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10, 50])
async def test_whoever_is_cancelled_while_it_starts_leaves_none_behind(
    echo: ChildProcess, turns: int
) -> None:
    starting = asyncio.create_task(echo.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert (echo.pid, children()) == (None, [])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_whoever_is_cancelled_while_it_ends_leaves_no_pipe_open(
    echo: ChildProcess, turns: int
) -> None:
    await echo.start()
    transport: asyncio.SubprocessTransport = echo._process._transport  # type: ignore[union-attr]
    stopping = asyncio.create_task(echo.stop())
    for _ in range(turns):
        await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    if not turns:
        assert echo.pid is not None  # it had not begun to end
        return
    assert (echo.pid, children()) == (None, [])
    assert transport.is_closing()


async def test_whoever_is_cancelled_while_it_works_takes_it_down(echo: ChildProcess) -> None:
    await echo.start()
    working = asyncio.create_task(echo.ask(b"hang"))
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (echo.pid, children()) == (None, [])
    assert await echo.ask(b"a") == b"a!"


@pytest.mark.parametrize("process", ["planning", "experiments", "laws"])
def test_what_plans_and_fits_starts_without_the_database(process: str) -> None:
    code = f"import sys, pacesetter_service.{process}.process"
    code += "; print([name for name in ('sqlalchemy', 'fastapi', 'torch', 'scipy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
