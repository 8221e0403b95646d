"""What every executor does, and that all of them give the same bits."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pacesetter.protocol import TrialPoint
from pacesetter_workers.cli import open_executor
from pacesetter_workers.errors import WorkerUnusable
from pacesetter_workers.executors import Alive, Ended, Event, Executor, Reported, Started
from pacesetter_workers.outcome import Done, Failed, Outcome, Stopped
from pacesetter_workers.site import Site

from tests.workers.support import a_trial, allowing, finish, until

OWN_CODE = (
    *("quadratic", "broken", "silent", "killed", "vanishes", "swallows"),
    *("thinks", "priority"),
)
KINDS = ("inline", "process", "ray")
Open = Callable[[str], Executor]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens an executor with one slot once, and keeps it: Ray takes seconds to start."""
    executors: dict[str, Executor] = {}

    def open_one(kind: str) -> Executor:
        if kind not in executors:
            site = allowing(tmp_path_factory.mktemp(kind), *OWN_CODE)
            executors[kind] = open_executor(kind, site, 1)
        return executors[kind]

    yield open_one
    for executor in executors.values():
        executor.close()


@pytest.fixture(params=KINDS)
def executor(request: pytest.FixtureRequest, opened: Open) -> Executor:
    """An executor of each kind, with nothing in its slot."""
    found = opened(request.param)
    assert found.free == 1
    return found


@pytest.fixture(params=KINDS[1:])
def killing(request: pytest.FixtureRequest, opened: Open) -> Executor:
    """An executor of each kind whose trials are processes of their own."""
    return opened(request.param)


def reported(events: list[Event]) -> bool:
    return any(isinstance(event, Reported) for event in events)


def ended(events: list[Event]) -> bool:
    return any(isinstance(event, Ended) for event in events)


def test_all_executors_give_the_same_bits(opened: Open) -> None:
    found: dict[str, tuple[list[TrialPoint], Outcome]] = {}
    for kind in KINDS:
        trial = a_trial("byte_lm", lr=2.0**-5, steps=30, width=64, batch=4, clip=1.0)
        points, ending = finish(opened(kind), trial)
        assert isinstance(ending, Done)
        found[kind] = points, ending.outcome

    assert len(found["inline"][0]) == 30
    assert found["process"] == found["inline"]
    assert found["ray"] == found["inline"]


def test_a_trial_is_told_of_from_its_start_to_its_end_in_order(executor: Executor) -> None:
    handle = executor.submit(a_trial("quadratic", lr=0.25))
    assert executor.free == 0
    events = until(executor, ended)

    assert isinstance(events[0], Started)
    assert {event.handle for event in events} == {handle}
    points = [point for event in events if isinstance(event, Reported) for point in event.points]
    assert [(point.step, point.loss) for point in points] == [(1, 0.25), (2, 0.0625)]
    last = events[-1]
    assert isinstance(last, Ended)
    assert isinstance(last.ending, Done)
    assert last.ending.outcome == Outcome(loss=0.0625)
    assert executor.free == 1


def test_a_trial_that_has_nothing_to_report_is_told_to_get_on(executor: Executor) -> None:
    handle = executor.submit(a_trial("thinks"))
    events = until(executor, lambda seen: Alive(handle) in seen)
    executor.kill(handle)
    until(executor, ended)

    assert [
        point.step for event in events if isinstance(event, Reported) for point in event.points
    ] == [1]


def test_an_exception_ends_a_trial_and_the_slot_takes_the_next(executor: Executor) -> None:
    _, failed = finish(executor, a_trial("broken"))
    _, done = finish(executor, a_trial("noop", lr=2.0**-10))

    assert isinstance(failed, Failed)
    assert failed.error.endswith("ZeroDivisionError: float division by zero")
    assert isinstance(done, Done)
    assert done.outcome == Outcome(loss=0.0)


def test_a_trial_that_catches_every_exception_is_cancelled_at_its_next_report(
    executor: Executor,
) -> None:
    handle = executor.submit(a_trial("swallows"))
    until(executor, reported)
    executor.cancel(handle)
    events = until(executor, ended)

    assert events[-1] == Ended(handle, Stopped())
    executor.cancel(handle)
    executor.kill(handle)
    assert finish(executor, a_trial("noop"))[0]


def test_a_trial_that_does_not_answer_is_killed_and_its_slot_replaced(executor: Executor) -> None:
    handle = executor.submit(a_trial("silent"))
    until(executor, reported)
    executor.cancel(handle)
    executor.kill(handle)
    events = until(executor, ended)

    assert events[-1] == Ended(handle, Stopped())
    _, ending = finish(executor, a_trial("quadratic", lr=0.25))
    assert isinstance(ending, Done)
    assert ending.outcome.loss == 0.0625


@pytest.mark.parametrize(
    ("proxy", "process_says", "ray_says"),
    [
        ("killed", "was killed by SIGKILL", "Ray lost the process"),
        ("vanishes", "ended with status 7", "Ray lost the process"),
    ],
)
def test_a_process_that_dies_fails_its_trial_for_another_attempt(
    opened: Open, killing: Executor, proxy: str, process_says: str, ray_says: str
) -> None:
    _, ending = finish(killing, a_trial(proxy))
    _, again = finish(killing, a_trial("noop", attempt=2))

    assert isinstance(ending, Failed)
    assert ending.retry is True
    assert (process_says if killing is opened("process") else ray_says) in ending.error
    assert isinstance(again, Done)


def test_a_slot_stays_between_trials(opened: Open) -> None:
    executor = opened("process")
    before = set(psutil.Process().children())

    for number in range(5):
        finish(executor, a_trial("noop", number))

    assert set(psutil.Process().children()) == before


def test_a_trial_has_the_priority_of_its_worker(executor: Executor) -> None:
    _, ending = finish(executor, a_trial("priority"))

    assert isinstance(ending, Done)
    assert ending.outcome.loss == os.nice(0)


def test_two_slots_run_two_trials_at_a_time(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    executor = open_executor("process", allowing(tmp_path, "silent"), 2)
    handles = [executor.submit(a_trial("silent", number)) for number in (1, 2)]

    def both(events: list[Event]) -> bool:
        return {e.handle for e in events if isinstance(e, Reported)} == set(handles)

    until(executor, both)
    assert executor.free == 0
    assert len(set(psutil.Process().children()) - before) == 2
    executor.close()
    assert set(psutil.Process().children()) == before


def test_waiting_for_nothing_takes_no_longer_than_asked(executor: Executor) -> None:
    began = time.monotonic()

    assert list(executor.poll(0.01)) == []
    assert time.monotonic() - began < 5.0


def test_several_inline_slots_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkerUnusable, match="`inline` has one slot, not 2; leave out --slots"):
        open_executor("inline", Site(tmp_path), 2)


def test_local_ray_keeps_its_files_to_itself(opened: Open) -> None:
    opened("ray")

    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert not token.is_relative_to(Path.home())
    assert len(token.read_text()) == 64
    # Ray's own handler, which exits at once, is not left in place.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
