"""Processes of one thread each that work through what the cache does not have yet."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
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
    """Answers work from the cache, or computes it and puts it there as it comes."""

    def __init__(self, cache: Cache, processes: int = 2, *, quiet: bool = False) -> None:
        self._cache, self._processes, self._quiet = cache, processes, quiet
        self._executor: ProcessPoolExecutor | None = None

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
        addresses = [work.address for work in works]
        found = self._cache.find(set(addresses))
        missing = {w.address: w for w in works if w.address not in found}
        found.update(self._compute(missing))
        return [found[address] for address in addresses]

    def _compute(self, missing: dict[str, Work]) -> dict[str, Any]:
        if not missing:
            return {}
        executor = self._open()
        futures: dict[Future[Any], Work] = {
            executor.submit(_run, work): work for work in missing.values()
        }
        results: dict[str, Any] = {}
        failures: list[str] = []
        began = said = time.monotonic()
        for future in as_completed(futures):
            work = futures[future]
            error = future.exception()
            if error is not None:
                failures.append(f"{work.about()}: {type(error).__name__}: {error}")
                continue
            results[work.address] = future.result()
            self._cache.keep(work.address, work.about(), results[work.address])
            if time.monotonic() - said > SECONDS_BETWEEN_LINES or len(results) == len(futures):
                said = time.monotonic()
                self._say(f"{len(results)}/{len(futures)} in {said - began:.0f} s: {work.about()}")
        if failures:
            raise WorkFailed(failures)
        return results

    def _open(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self._processes,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_prepare,
                initargs=(os.getpid(),),
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
