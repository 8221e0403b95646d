"""A Ray cluster of two nodes, joined by its address as the guide says."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pacesetter_workers.cli import open_executor
from pacesetter_workers.errors import WorkerUnusable
from pacesetter_workers.executors import Ended, Event, Reported
from pacesetter_workers.executors.cluster import Cluster, use_own_token
from pacesetter_workers.outcome import Stopped

from tests.faults.harness import free_port
from tests.workers.support import DEADLINE_SECONDS, a_trial, allowing, until

pytestmark = [pytest.mark.faults, pytest.mark.slow]


class Nodes:
    """``ray start`` for a head and another node, one CPU each; ended by their process groups."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs = logs
        port = self.address.partition(":")[2]
        self._start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")

    def join(self) -> None:
        """Start the second node."""
        self._start(f"--address={self.address}")

    def _start(self, *options: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        command += [f"--object-store-memory={128 << 20}", "--disable-usage-stats", *options]
        log = self._logs / f"node-{len(self._processes)}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._processes.append(process)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End both."""
        for process in reversed(self._processes):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20.0)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    use_own_token()
    # Sockets have long names: the usual folder of a test is too deep.
    with tempfile.TemporaryDirectory(
        prefix="nodes-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        opened = Nodes(Path(folder), tmp_path_factory.mktemp("nodes"))
        yield opened
        opened.stop()


def test_two_trials_run_on_two_nodes_of_a_cluster_that_was_joined(
    nodes: Nodes, tmp_path: Path
) -> None:
    nodes.join()
    executor = open_executor("ray", allowing(tmp_path, "swallows"), 2, address=nodes.address)
    try:
        handles = [executor.submit(a_trial("swallows", number)) for number in (1, 2)]

        def both(events: list[Event]) -> bool:
            return {e.handle for e in events if isinstance(e, Reported)} == set(handles)

        # A node has one CPU and a trial takes one: both run at once on two nodes alone.
        until(executor, both)
        for handle in handles:
            executor.cancel(handle)
        events = until(executor, lambda seen: sum(isinstance(e, Ended) for e in seen) == 2)
    finally:
        executor.close()

    ends = {event.handle: event.ending for event in events if isinstance(event, Ended)}
    assert ends == {handle: Stopped() for handle in handles}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:port", "ray://127.0.0.1:1"])
def test_an_address_where_no_cluster_is_is_refused_with_what_was_expected(address: str) -> None:
    with pytest.raises(WorkerUnusable, match=f"no Ray cluster can be used at '{address}'"):
        Cluster(address, 1)
