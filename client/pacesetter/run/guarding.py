"""Watches the losses and gradient norms of the running segment for its stop clauses, on all ranks alike."""

import math
from collections.abc import Iterable

from pacesetter.protocol import StopClause, StopIfAboveFirst, StopIfAverageAbove
from pacesetter.run.ranks import Ranks
from pacesetter.run.spikes import Evidence
from pacesetter.run.stopping import Clauses, Loss, LossWatch

TOGETHER = 8
"""Values that are judged in one go where a stop is no less useful a few steps late; a NaN is judged at once."""


class LossGuard:
    """Says when the running segment has to end for what its losses and gradient norms show.

    Args:
        ranks: Values are judged by their mean over ranks.
        lag_steps: Optimizer steps between a value and its judgement.

    Attributes:
        active: Whether the running segment has a clause that has not fired.
        evidence: The numbers behind the last clause that fired.
    """

    def __init__(self, ranks: Ranks, lag_steps: int) -> None:
        self.active = False
        self.evidence: Evidence = {}
        self._ranks = ranks
        self._lag_steps = lag_steps
        self._main = Clauses(())
        self.begin(())

    def begin(self, clauses: Iterable[StopClause], *, main: bool = False) -> None:
        """Judge by these clauses from now on.

        What was seen is forgotten, except by the watches of a main line that the next segment of it asks for too.
        """
        self._clauses = Clauses(clauses, before=self._main if main else None)
        if main:
            self._main = self._clauses
        exact = (StopIfAboveFirst, StopIfAverageAbove)
        found = self._clauses.clauses
        self._together = 1 if any(isinstance(each, exact) for each in found) else TOGETHER
        self._watch = LossWatch(self._lag_steps)
        self._norm_watch = LossWatch(self._lag_steps)
        self._losses: list[float] = []
        self._norms: list[float] = []
        self.active = bool(found)

    def restored(self) -> None:
        """Note that the main line goes on from an earlier state."""
        self._main.resume()

    def judge(self, loss: Loss, norm: Loss | None = None, *, due: bool, over: bool) -> str | None:
        """Take the values of a step; return the code of the clause that fires now.

        Args:
            loss: On this rank.
            norm: Of the gradient, where it is known.
            due: Whether the ranks judge together at this step; one rank always does.
            over: Whether the segment ends here, so that what is still under way is judged too.
        """
        arrived = self._watch.push(loss)
        if arrived is not None:
            self._losses.append(arrived)
        if norm is not None and self._clauses.wants_norms:
            arrived_norm = self._norm_watch.push(norm)
            if arrived_norm is not None:
                self._norms.append(arrived_norm)
        if over:
            self._losses.extend(self._watch.drain())
            self._norms.extend(self._norm_watch.drain())
        if not due or not self._losses:
            return None
        # Several ranks judge wherever they meet; one may wait, unless what it has is no number.
        few = self._ranks.world_size == 1 and len(self._losses) < self._together and not over
        if few and (arrived is None or -math.inf < arrived < math.inf):
            return None
        return self._verdict()

    def _verdict(self) -> str | None:
        count = len(self._losses)
        values = self._ranks.mean(self._losses + self._norms)
        self._losses, self._norms = [], []
        clauses = self._clauses
        code = next(filter(None, map(clauses.judge, values[:count])), None)
        if code is None:
            code = next(filter(None, map(clauses.judge_norm, values[count:])), None)
        if code is not None:
            self.evidence = clauses.evidence
            clauses.interrupt()
            self.begin(())
        return code
