"""The worker's end, where the controller has never answered or does not any more."""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
from pacesetter.leasing.calls import TrialCalls
from pacesetter.protocol import Heartbeat, HeartbeatReply, Lease, Message, TrialReturn
from pacesetter.transport.calls import Denied
from pacesetter.transport.timing import Timing
from pacesetter_workers.cli import open_executor
from pacesetter_workers.site import Site
from pacesetter_workers.worker import Patience, Worker

from tests.faults.harness import free_port
from tests.workers.support import a_trial, allowing

BRIEF = Patience(running=0.2, delivery=0.5)


def to_nobody() -> Callable[[], TrialCalls]:
    url = f"http://127.0.0.1:{free_port()}"
    return partial(TrialCalls, lambda: url, None, Timing())


def test_without_a_controller_a_worker_ends_when_it_has_been_idle_for_long(tmp_path: Path) -> None:
    site = Site(tmp_path)
    executor = open_executor("inline", site, 1)
    worker = Worker("w", site, executor, to_nobody(), idle_seconds=0.1, patience=BRIEF)

    assert worker.run() == 0


class Answers(TrialCalls):
    """A controller's replies without a controller: for what a real one never does."""

    def __init__(self, lease: Lease, ends: list[Message]) -> None:
        super().__init__(lambda: "http://127.0.0.1:9", None, Timing())
        self._leases, self._ends = [lease], ends

    def claim(self, claim: Message, wait_seconds: float = 0.0) -> tuple[Lease, ...]:
        return (self._leases.pop(),) if self._leases else ()

    def heartbeat(self, trial: str, beat: Message) -> HeartbeatReply:
        return HeartbeatReply()

    def end(self, trial: str, last: Message) -> None:
        self._ends.append(last)


def test_a_trial_that_does_not_stop_is_given_back_all_the_same(tmp_path: Path) -> None:
    site = allowing(tmp_path, "silent")
    lease = Lease(trial=a_trial("silent"), token="token-1", seconds=60.0)
    ends: list[Message] = []
    executor = open_executor("process", site, 1)
    worker = Worker("w", site, executor, partial(Answers, lease, ends), patience=BRIEF)
    thread = threading.Thread(target=worker.run)
    thread.start()
    deadline = time.monotonic() + 60.0
    while executor.free and time.monotonic() < deadline:
        time.sleep(0.01)

    worker.stopping.set()
    thread.join(60.0)

    assert not thread.is_alive()
    assert ends == [TrialReturn(token="token-1")]


def test_a_mistake_in_a_thread_of_the_worker_ends_the_worker(tmp_path: Path) -> None:
    class Broken(Answers):
        def claim(self, claim: Message, wait_seconds: float = 0.0) -> tuple[Lease, ...]:
            raise KeyError("a mistake of ours")

    site = Site(tmp_path)
    lease = Lease(trial=a_trial("noop"), token="token-1", seconds=60.0)
    executor = open_executor("inline", site, 1)
    worker = Worker("w", site, executor, partial(Broken, lease, []), patience=BRIEF)

    with pytest.raises(KeyError, match="a mistake of ours"):
        worker.run()


def test_a_reply_of_another_version_says_so(tmp_path: Path) -> None:
    calls = TrialCalls(lambda: "http://controller", None, Timing())
    calls._client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"cancel": "perhaps"}))
    )
    lease = Lease(trial=a_trial("noop"), token="token-1", seconds=60.0)

    with pytest.raises(Denied, match=r"not a HeartbeatReply: .* matching versions"):
        calls.heartbeat(lease.trial.id, Heartbeat(token=lease.token))
    calls.close()


def test_a_short_lease_is_held_on_to_from_its_first_quarter(tmp_path: Path) -> None:
    beats: list[float] = []

    class Counting(Answers):
        def heartbeat(self, trial: str, beat: Message) -> HeartbeatReply:
            beats.append(time.monotonic())
            return HeartbeatReply()

    site = allowing(tmp_path, "silent")
    lease = Lease(trial=a_trial("silent"), token="token-1", seconds=0.4)
    executor = open_executor("process", site, 1)
    connect = partial(Counting, lease, [])
    worker = Worker("w", site, executor, connect, patience=BRIEF)
    thread = threading.Thread(target=worker.run)
    began = time.monotonic()
    thread.start()
    while len(beats) < 5 and time.monotonic() < began + 60.0:
        time.sleep(0.01)
    worker.stopping.set()
    thread.join(60.0)

    # Due every .1 s; nobody looks by himself for 5 s, and five of them are to come within that.
    assert len(beats) >= 5
    assert beats[4] - began < 5.0
