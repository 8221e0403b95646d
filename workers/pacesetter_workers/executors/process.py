"""Runs trials in processes of this machine that stay between trials, each with one thread of BLAS."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from pacesetter.protocol import Trial

from pacesetter_workers.executors.base import (
    Alive,
    Ended,
    Event,
    Executor,
    Handle,
    Reported,
    Started,
)
from pacesetter_workers.executors.orders import Cancel, Order, Run
from pacesetter_workers.outcome import Failed, Stopped
from pacesetter_workers.site import Site

logger = logging.getLogger(__name__)

PINNED = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
"""Read when the libraries are loaded, so they are in the environment before the process starts. Two trials of one
thread each are faster than one of two: 24 ms against 39 ms for a step of seven narrow models on two cores."""

_AT_ONCE = 1000
"""Messages of one process that a poll reads: one that reports faster than they are read must not hold it."""


class _Slot:
    """A process, and what it runs."""

    def __init__(self, site: Site) -> None:
        self.connection: Connection[object, object]
        self.connection, theirs = Pipe()
        command = [sys.executable, "-m", "pacesetter_workers.executors.child", str(theirs.fileno())]
        # A session of its own: a signal to the worker's terminal is not for it, and it can be killed with its children.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env={**os.environ, **PINNED},
            start_new_session=True,
        )
        theirs.close()
        self.connection.send(site)
        self.handle: Handle | None = None
        self.killed = False

    def send(self, order: Order) -> None:
        """Give an order; a process that is gone is found at the next poll."""
        with suppress(OSError):
            self.connection.send(order)

    def kill(self) -> None:
        """End the process and what it started."""
        self.killed = True
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def bury(self) -> str:
        """Wait for the process to be gone; return how it ended, in words."""
        self.connection.close()
        try:
            status = self.process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            # It closed its end of the pipe and stayed.
            self.kill()
            status = self.process.wait()
        return _how_it_ended(status)


class ProcessExecutor(Executor):
    """Persistent processes, one a slot. One that dies takes its trial with it, and is replaced."""

    def __init__(self, site: Site, slots: int) -> None:
        super().__init__(slots)
        self._site = site
        self._slots = [_Slot(site) for _ in range(slots)]
        self._handles = 0

    @property
    def free(self) -> int:
        """Processes that wait for a trial."""
        return sum(slot.handle is None for slot in self._slots)

    def submit(self, trial: Trial) -> Handle:
        """Give the trial to a process that waits for one."""
        slot = next(slot for slot in self._slots if slot.handle is None)
        self._handles += 1
        slot.handle = self._handles
        slot.send(Run(self._handles, trial))
        return self._handles

    def poll(self, seconds: float) -> Sequence[Event]:
        """Return what happened, in order within each trial."""
        events: list[Event] = []
        ready = wait([slot.connection for slot in self._slots], timeout=seconds)
        for index, slot in enumerate(self._slots):
            if slot.connection in ready:
                events += self._read(index, slot)
        return events

    def cancel(self, handle: Handle) -> None:
        """Ask the trial to stop."""
        for slot in self._slots:
            if slot.handle == handle:
                slot.send(Cancel(handle))

    def kill(self, handle: Handle) -> None:
        """Kill the trial's process; the next poll tells of it."""
        for slot in self._slots:
            if slot.handle == handle:
                slot.kill()

    def close(self) -> None:
        """Kill every process."""
        for slot in self._slots:
            slot.kill()
        for slot in self._slots:
            slot.bury()
        self._slots = []

    def _read(self, index: int, slot: _Slot) -> list[Event]:
        events: list[Event] = []
        try:
            while slot.connection.poll() and len(events) < _AT_ONCE:
                event = slot.connection.recv()
                assert isinstance(event, Started | Reported | Alive | Ended)
                if isinstance(event, Ended):
                    slot.handle = None
                events.append(event)
        except (EOFError, OSError):
            events += self._replace(index, slot)
        return events

    def _replace(self, index: int, slot: _Slot) -> list[Event]:
        how = slot.bury()
        self._slots[index] = _Slot(self._site)
        if slot.handle is None:
            logger.warning("a process that waited for trials %s and was replaced", how)
            return []
        if slot.killed:
            return [Ended(slot.handle, Stopped())]
        error = f"The process that ran the trial {how}."
        return [Ended(slot.handle, Failed(error, retry=True))]


def _how_it_ended(status: int) -> str:
    if status == -signal.SIGKILL:
        return (
            "was killed by SIGKILL, as the system does where memory runs out: look into its log (dmesg), give the "
            "trial a smaller width, batch or context, or the worker fewer slots (--slots)"
        )
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status} before the trial did"
