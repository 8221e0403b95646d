"""Trials, and what an executor tells of them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pacesetter.protocol import Trial, TrialPoint, Value
from pacesetter_workers.executors import Ended, Event, Executor, Reported
from pacesetter_workers.outcome import Ending
from pacesetter_workers.site import Site

OWN = "tests.workers.own"
DEADLINE_SECONDS = 90.0


def allowing(folder: Path, *names: str, **settings: Any) -> Site:
    """Return a site whose operator allows functions of ``own.py``."""
    return Site(folder, tuple(f"{OWN}:{name}" for name in names), **settings)


def a_trial(proxy: str, number: int = 1, *, attempt: int = 1, **parameters: Value) -> Trial:
    """Return a trial; ``proxy`` without a colon or a built-in's name is a function of ``own.py``."""
    known = proxy in ("byte_lm", "cnn", "mlp", "noop") or ":" in proxy
    return Trial(
        id=f"trial-{number}",
        experiment="experiment-1",
        number=number,
        proxy=proxy if known else f"{OWN}:{proxy}",
        parameters=parameters,
        seed=7,
        attempt=attempt,
        progress_seconds=60.0,
    )


class Recorded:
    """A channel that keeps what it is sent, and cancels at a step."""

    def __init__(self, cancel_at: int | None = None) -> None:
        self.points: list[TrialPoint] = []
        self._cancel_at = cancel_at

    def send(self, point: TrialPoint) -> None:
        self.points.append(point)

    def alive(self) -> None:
        pass

    def is_cancelled(self) -> bool:
        return self._cancel_at is not None and self.points[-1].step >= self._cancel_at


def until(executor: Executor, is_over: Callable[[list[Event]], bool]) -> list[Event]:
    """Poll until what came is enough; fail after a long while."""
    events: list[Event] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_over(events):
        assert time.monotonic() < deadline, f"nothing more came after {events[-3:]}"
        events += executor.poll(0.5)
    return events


def finish(executor: Executor, trial: Trial) -> tuple[list[TrialPoint], Ending]:
    """Run one trial to its end; return its points and how it ended."""
    executor.submit(trial)
    events = until(executor, lambda seen: any(isinstance(event, Ended) for event in seen))
    points = [point for event in events if isinstance(event, Reported) for point in event.points]
    ended = events[-1]
    assert isinstance(ended, Ended)
    return points, ended.ending
