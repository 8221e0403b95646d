"""Trains trials of the built-in proxy in the worker's own processes, and keeps what became of each in a file."""

import hashlib
import json
import platform
import shutil
import tempfile
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from pacesetter.protocol import Cost, Trial, Value
from pacesetter_workers.executors.base import Ended, Handle
from pacesetter_workers.executors.process import ProcessExecutor
from pacesetter_workers.outcome import Done
from pacesetter_workers.proxies.byte_lm import NextByte
from pacesetter_workers.proxies.text import load_text
from pacesetter_workers.site import Site

from benchmarks.quality.address import code_hash, tree_hash

PROXY, SLOTS = "byte_lm", 2
CONTEXT, DEPTH = 64, 2
TRAINS = tuple(
    f"workers.pacesetter_workers.proxies.{each}"
    for each in ("byte_lm", "parameters", "recipe", "text", "training")
)
PARAMETRIZES = "client/pacesetter/mup"
"""Code that a loss depends on: results of other code are not taken from the file."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a trial; without a loss it diverged."""

    loss: float | None
    cost: Cost


class Trials:
    """Two processes of one thread each, as ``pacesetter-worker`` has them. A context: it ends them.

    Args:
        file: JSON lines of results, read at the start and added to, with checkpoints of what runs in a folder beside
            it; None: nothing is kept.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._results = {} if file is None else read(file)
        self._waiting: deque[Trial] = deque()
        self._known: set[str] = set(self._results)
        self._running: dict[Handle, Trial] = {}
        self._open = ExitStack()
        passing = self._open.enter_context(tempfile.TemporaryDirectory())
        self._site = Site(
            Path(passing) if file is None else file.with_suffix(".running").absolute()
        )
        self._executor = ProcessExecutor(self._site, SLOTS)
        self._open.callback(self._executor.close)

    def __enter__(self) -> "Trials":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def start(self, parameters: Mapping[str, Value]) -> None:
        """Train one as soon as there is room, unless its result is known or on its way."""
        key = key_of(parameters)
        if key in self._known:
            return
        self._known.add(key)
        self._waiting.append(_trial(key, parameters))
        self._fill()

    def result(self, parameters: Mapping[str, Value]) -> Result:
        """Return what became of one, waiting for it; it is started if it was not.

        Raises:
            RuntimeError: Its code raised, with the traceback.
        """
        self.start(parameters)
        key = key_of(parameters)
        while key not in self._results:
            for event in self._executor.poll(1.0):
                if isinstance(event, Ended):
                    self._end(self._running.pop(event.handle), event)
            self._fill()
        return self._results[key]

    def _fill(self) -> None:
        while self._waiting and self._executor.free:
            trial = self._waiting.popleft()
            self._running[self._executor.submit(trial)] = trial

    def _end(self, trial: Trial, event: Ended) -> None:
        if not isinstance(event.ending, Done):
            raise RuntimeError(f"trial {dict(trial.parameters)} has no result: {event.ending}")
        result = Result(event.ending.outcome.loss, event.ending.cost)
        self._results[key_of(trial.parameters)] = result
        shutil.rmtree(self._site.folder_of(trial), ignore_errors=True)
        if self._file is not None:
            with self._file.open("a") as opened:
                opened.write(_line(trial.parameters, result) + "\n")


def _trial(key: str, parameters: Mapping[str, Value]) -> Trial:
    """Return a trial that finds its checkpoint again: by its parameters and the code."""
    name = hashlib.sha256(f"{code()} {key}".encode()).hexdigest()[:16]
    return Trial(
        id=name,
        experiment=name,
        number=1,
        proxy=PROXY,
        parameters=dict(parameters),
        seed=0,
        attempt=1,
        progress_seconds=300.0,
    )


def key_of(parameters: Mapping[str, Value]) -> str:
    """Return what equal parameters share."""
    return json.dumps(dict(parameters), sort_keys=True)


def read(file: Path) -> dict[str, Result]:
    """Return the results in a file that the present code made; none where there is no file.

    A line that was cut off when a run was killed is left out.
    """
    found = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            kept: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if kept["code"] == code():
            cost = Cost.model_validate(kept["cost"])
            found[key_of(kept["parameters"])] = Result(kept["loss"], cost)
    return found


def _line(parameters: Mapping[str, Value], result: Result) -> str:
    kept = {
        "parameters": dict(parameters),
        "loss": result.loss,
        "cost": result.cost.model_dump(),
        "code": code(),
    }
    return json.dumps(kept, allow_nan=False)


@cache
def code() -> str:
    """Return what tells results of other code from those of this one; the text is that of the Python that runs."""
    parts = (*map(code_hash, TRAINS), tree_hash(PARAMETRIZES))
    versions = (torch.__version__, platform.python_version())
    return hashlib.sha256(" ".join((*parts, *versions)).encode()).hexdigest()[:16]


def flops_of(parameters: Mapping[str, Value]) -> float:
    """Return the FLOPs that a trial takes if it does not diverge."""
    width, batch, steps = (int(parameters[name]) for name in ("width", "batch", "steps"))
    return NextByte(load_text(None, ""), width, DEPTH, batch, CONTEXT, 0).flops * steps
