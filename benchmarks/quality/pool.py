"""Processes of one thread each that work through what the cache does not have yet."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from typing import Any

from benchmarks.quality.cache import Cache
from benchmarks.quality.work import Work

SECONDS_BETWEEN_LINES = 10.0


class WorkFailed(RuntimeError):
    """Some work raised an error; everything else is in the cache."""

    def __init__(self, failures: Sequence[str]) -> None:
        shown = "\n".join(f"  {failure}" for failure in failures[:10])
        super().__init__(
            f"{len(failures)} pieces of work failed, the others are kept; mend these, or leave them out "
            f"with --contenders or --tasks:\n{shown}"
        )


class Pool:
    """Answers work from the cache, or computes it and puts it there as it comes.

    With no processes the work is done in this one, one piece after another.
    """

    def __init__(self, cache: Cache, processes: int = 2, *, quiet: bool = False) -> None:
        self._cache, self._processes, self._quiet = cache, processes, quiet
        self._executor: Executor | None = None

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def results(self, works: Sequence[Work]) -> list[Any]:
        """Return the result of each piece of work, in order.

        Raises:
            WorkFailed: Some of it raised an error, after all the rest was done.
        """
        found, failures = self.attempt(works)
        if failures:
            raise WorkFailed(failures)
        return [found[work.address] for work in works]

    def attempt(self, works: Sequence[Work]) -> tuple[dict[str, Any], list[str]]:
        """Return the results by address, and a line for each piece of work that raised an error."""
        found = self._cache.find({work.address for work in works})
        missing = {work.address: work for work in works if work.address not in found}
        failures: list[str] = []
        began = said = time.monotonic()
        for done, (work, result) in enumerate(self._compute(list(missing.values())), start=1):
            if isinstance(result, BaseException):
                failures.append(f"{work.about()}: {type(result).__name__}: {result}")
            else:
                found[work.address] = result
                self._cache.keep(work.address, work.about(), result)
            if time.monotonic() - said > SECONDS_BETWEEN_LINES or done == len(missing):
                said = time.monotonic()
                self._say(f"{done}/{len(missing)} in {said - began:.0f} s: {work.about()}")
        return found, failures

    def _compute(self, works: Sequence[Work]) -> Iterator[tuple[Work, Any]]:
        """Yield work as it is done, with its result or its error."""
        if not works:
            return
        executor = self._open()
        futures: dict[Future[Any], Work] = {executor.submit(_run, work): work for work in works}
        for future in as_completed(futures):
            yield futures[future], future.exception() or future.result()

    def _open(self) -> Executor:
        if self._executor is None:
            self._executor = (
                ProcessPoolExecutor(
                    self._processes,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_prepare,
                    initargs=(os.getpid(),),
                )
                if self._processes
                else ThreadPoolExecutor(1)
            )
        return self._executor

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)


def _run(work: Work) -> dict[str, Any]:
    return work.run()


def _prepare(parent: int) -> None:
    """Set up a process: one thread, denormals as zeros, and an end when its parent has ended."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
