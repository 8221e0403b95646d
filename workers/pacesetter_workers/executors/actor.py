"""The Ray actor that runs trials one after the other, on nodes that have this package installed."""

import threading
from collections import deque

import ray
from pacesetter.protocol import Trial, TrialPoint

from pacesetter_workers.conduct import conduct
from pacesetter_workers.executors.base import Handle
from pacesetter_workers.outcome import Ending
from pacesetter_workers.site import Site

CONTROL = "control"
"""Concurrency group of the calls that a running trial must not hold up."""
_WAIT_SECONDS = 0.2
"""How long a call gathers points, so that there are fewer calls than steps."""


class _BufferChannel:
    """Points wait until the worker asks for them."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._points: deque[TrialPoint] = deque()
        self._news = threading.Condition()
        self._closed = self._alive = False

    def send(self, point: TrialPoint) -> None:
        with self._news:
            self._points.append(point)

    def alive(self) -> None:
        with self._news:
            self._alive = True

    def take_alive(self) -> bool:
        """Return whether the trial has said since the last call that it gets on."""
        with self._news:
            alive, self._alive = self._alive, False
            return alive

    def is_cancelled(self) -> bool:
        return self.cancelled.is_set()

    def take(self, seconds: float) -> tuple[TrialPoint, ...]:
        """Return the points of the next ``seconds``, and of what is left of the trial where it ends before."""
        with self._news:
            self._news.wait_for(lambda: self._closed, seconds)
            points = tuple(self._points)
            self._points.clear()
            return points

    def close(self) -> None:
        """Say that no more points come."""
        with self._news:
            self._closed = True
            self._news.notify()


class TrialRunner:
    """Stays between trials, so that only its first one pays for importing torch."""

    def __init__(self, site: Site, gpus: float = 0.0) -> None:
        self._site = site
        _limit_memory(gpus)
        self._lock = threading.Lock()
        self._handle: Handle | None = None
        self._channel = _BufferChannel()
        self._cancelled: Handle | None = None

    def run(self, handle: Handle, trial: Trial) -> tuple[Ending, tuple[TrialPoint, ...]]:
        """Run a trial to its end; return how it ended, and the points that nobody has asked for yet."""
        channel = _BufferChannel()
        with self._lock:
            self._handle, self._channel = handle, channel
            if self._cancelled == handle:
                channel.cancelled.set()
        try:
            ending = conduct(trial, self._site, channel)
        finally:
            channel.close()
        return ending, channel.take(0.0)

    @ray.method(concurrency_group=CONTROL)
    def points(self, handle: Handle) -> tuple[tuple[TrialPoint, ...], bool] | None:
        """Return what a trial has measured since the last call, and whether it said that it gets on.

        None while another one runs before it.
        """
        with self._lock:
            channel = self._channel if self._handle == handle else None
        return None if channel is None else (channel.take(_WAIT_SECONDS), channel.take_alive())

    @ray.method(concurrency_group=CONTROL)
    def cancel(self, handle: Handle) -> None:
        """Ask a trial to stop, or not to begin."""
        with self._lock:
            self._cancelled = handle
            if self._handle == handle:
                self._channel.cancelled.set()


def _limit_memory(gpus: float) -> None:
    """Hold this process to its share of a GPU's memory: Ray counts shares, and enforces none."""
    if not 0.0 < gpus < 1.0:
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus)
