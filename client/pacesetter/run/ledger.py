"""What a session has spent, split into the main line, probes, branches and everything around them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pacesetter.protocol import LedgerTotals

Line = Literal["main", "probe", "branch"]
Overhead = Literal["validation", "snapshot", "waiting"]


class Ledger:
    """Counts steps, tokens and seconds.

    A step's seconds run from the end of the step before it to its own end, less what was spent on validation, snapshots
    and waiting in between. Seconds are of one rank.
    """

    def __init__(self) -> None:
        self.steps = {"main": 0, "probe": 0, "branch": 0}
        self.tokens = {"main": 0, "probe": 0, "branch": 0}
        self.seconds = {"main": 0.0, "probe": 0.0, "branch": 0.0}
        self.overhead = {"validation": 0.0, "snapshot": 0.0, "waiting": 0.0}
        self.discarded_tokens = self.discarded_steps = 0
        self._mark = time.perf_counter()

    def restart(self) -> None:
        """Let the first step begin now."""
        self._mark = time.perf_counter()

    def count(self, line: Line, tokens: int, now: float, steps: int = 1) -> None:
        """Count optimizer steps, and the time since the last ones; ``now`` is ``time.perf_counter()``."""
        self.steps[line] += steps
        self.tokens[line] += tokens
        self.seconds[line] += now - self._mark
        self._mark = now

    def discard(self, tokens: int) -> None:
        """Count tokens that were consumed and that no line will profit from."""
        self.discarded_tokens += tokens

    def undo(self, steps: int, tokens: int) -> None:
        """Take back main-line steps that a rollback made undone: they were spent, and are no part of the result."""
        self.steps["main"] -= steps
        self.tokens["main"] -= tokens
        self.discarded_steps += steps
        self.discarded_tokens += tokens

    @contextmanager
    def spending(self, what: Overhead) -> Iterator[None]:
        """Charge the time inside to ``what`` rather than to the step."""
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self.overhead[what] += spent
            self._mark += spent

    def totals(self) -> LedgerTotals:
        """Return the totals as the service takes them."""
        return LedgerTotals(
            main_steps=self.steps["main"],
            probe_steps=self.steps["probe"],
            branch_steps=self.steps["branch"],
            main_tokens=self.tokens["main"],
            probe_tokens=self.tokens["probe"] + self.tokens["branch"],
            discarded_steps=self.discarded_steps,
            discarded_tokens=self.discarded_tokens,
            main_seconds=self.seconds["main"],
            probe_seconds=self.seconds["probe"] + self.seconds["branch"],
            validation_seconds=self.overhead["validation"],
            snapshot_seconds=self.overhead["snapshot"],
            waiting_seconds=self.overhead["waiting"],
        )
