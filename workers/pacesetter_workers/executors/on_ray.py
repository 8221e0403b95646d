"""Runs trials on Ray actors that stay between trials."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import ray
from pacesetter.protocol import Trial, TrialPoint

from pacesetter_workers.executors.actor import CONTROL, TrialRunner
from pacesetter_workers.executors.base import (
    Alive,
    Ended,
    Event,
    Executor,
    Handle,
    Reported,
    Started,
)
from pacesetter_workers.executors.cluster import Cluster
from pacesetter_workers.outcome import Failed, Stopped
from pacesetter_workers.proxies import POPULATIONS
from pacesetter_workers.site import Site

TUNE_NEEDS = ("fsspec", "pandas", "pyarrow", "requests", "sklearn")
"""What Ray Tune and its PB2 import: Ray itself is installed with Tune's code and without them."""

_LOST = (
    "Ray lost the process that ran the trial. {error}\nWhere memory ran out: give the trial a smaller width, batch or "
    "context, or the worker fewer slots (--slots)."
)


@dataclass
class _Actor:
    """An actor, and what it runs. A reference is of a call that has not been answered."""

    runner: Any
    handle: Handle | None = None
    ending: Any = None
    points: Any = None
    started: bool = False
    killed: bool = False


class RayExecutor(Executor):
    """One actor a slot. Ray itself repeats nothing: the lease is the only retry.

    Args:
        site: The operator's part; its folder is that of each node.
        slots: Actors.
        gpus: Share of a GPU for each one, such as 0.25; of its memory, too.
        cluster: Where they run; closed with this.
    """

    proxies = POPULATIONS if all(map(find_spec, TUNE_NEEDS)) else ()

    def __init__(self, site: Site, slots: int, gpus: float, cluster: Cluster) -> None:
        super().__init__(slots)
        self._cluster = cluster
        remote: Any = ray.remote  # its type knows no concurrency groups
        self._remote = remote(
            num_cpus=1,
            num_gpus=gpus,
            # A runner whose process died comes back; what it ran does not, since its lease is no longer ours to use.
            max_restarts=-1,
            max_task_retries=0,
            concurrency_groups={CONTROL: 2},
        )(TrialRunner)
        self._site, self._gpus = site, gpus
        self._actors = [_Actor(self._remote.remote(site, gpus)) for _ in range(slots)]
        self._handles = 0

    @property
    def free(self) -> int:
        """Actors that wait for a trial."""
        return sum(actor.handle is None for actor in self._actors)

    def submit(self, trial: Trial) -> Handle:
        """Give the trial to an actor; it begins when the cluster has room for that one."""
        actor = next(actor for actor in self._actors if actor.handle is None)
        self._handles += 1
        actor.handle, actor.started, actor.killed = self._handles, False, False
        actor.ending = actor.runner.run.remote(actor.handle, trial)
        actor.points = actor.runner.points.remote(actor.handle)
        return actor.handle

    def poll(self, seconds: float) -> Sequence[Event]:
        """Return what happened, in order within each trial."""
        waiting = [
            ref for actor in self._actors if actor.handle for ref in (actor.ending, actor.points)
        ]
        if not waiting:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(waiting, num_returns=1, timeout=seconds)
        events: list[Event] = []
        if ready:
            done = set(ray.wait(waiting, num_returns=len(waiting), timeout=0)[0])
            for actor in self._actors:
                events += self._read(actor, done)
        return events

    def cancel(self, handle: Handle) -> None:
        """Ask the trial to stop."""
        for actor in self._actors:
            if actor.handle == handle:
                actor.runner.cancel.remote(handle)

    def kill(self, handle: Handle) -> None:
        """Kill the trial's actor; the next poll tells of it."""
        for actor in self._actors:
            if actor.handle == handle:
                actor.killed = True
                ray.kill(actor.runner)

    def close(self) -> None:
        """Kill every actor and leave the cluster."""
        for actor in self._actors:
            # Of a cluster that is gone there is nothing to kill.
            with suppress(ray.exceptions.RayError):
                ray.kill(actor.runner)
        self._actors = []
        self._cluster.close()

    def _read(self, actor: _Actor, done: set[Any]) -> list[Event]:
        if actor.handle is None:
            return []
        if actor.ending in done:
            return self._end(actor, actor.handle)
        if actor.points in done:
            events = self._take_points(actor, actor.handle)
            actor.points = actor.runner.points.remote(actor.handle)
            return events
        return []

    def _take_points(self, actor: _Actor, handle: Handle) -> list[Event]:
        try:
            news = ray.get(actor.points)
        except ray.exceptions.RayError:
            # The actor died: the call that runs the trial tells of it.
            return []
        if news is None:
            return []
        points, alive = news
        events = _told(actor, handle, points)
        return [*events, Alive(handle)] if alive else events

    def _end(self, actor: _Actor, handle: Handle) -> list[Event]:
        # The call for points that is under way comes back at once now, with what came before the rest.
        events = self._take_points(actor, handle)
        try:
            ending, rest = ray.get(actor.ending)
            events += _told(actor, handle, rest)
        except ray.exceptions.RayError as error:
            ending = Stopped() if actor.killed else Failed(_LOST.format(error=error), retry=True)
            # A new one takes calls at once; one that Ray is starting again refuses them until it is there.
            ray.kill(actor.runner)
            actor.runner = self._remote.remote(self._site, self._gpus)
        actor.handle = actor.ending = actor.points = None
        return [*events, Ended(handle, ending)]


def _told(actor: _Actor, handle: Handle, points: tuple[TrialPoint, ...]) -> list[Event]:
    """Return the events that points stand for; the first ones mean that the trial has begun."""
    events: list[Event] = [] if actor.started else [Started(handle)]
    actor.started = True
    return [*events, Reported(handle, points)] if points else events
