"""Watches the losses of the running segment for its stop clauses, on all ranks alike."""

from collections.abc import Iterable

from pacesetter.protocol import StopClause
from pacesetter.run.ranks import Ranks
from pacesetter.run.stopping import Clauses, Loss, LossWatch


class LossGuard:
    """Says when the running segment has to end for what its losses show.

    Args:
        ranks: Losses are judged by their mean over ranks.
        lag_steps: Optimizer steps between a loss and its judgement.

    Attributes:
        active: Whether the running segment has a clause that has not fired.
    """

    def __init__(self, ranks: Ranks, lag_steps: int) -> None:
        self.active = False
        self._ranks = ranks
        self._lag_steps = lag_steps
        self.begin(())

    def begin(self, clauses: Iterable[StopClause]) -> None:
        """Judge by these clauses from now on, and forget what was seen."""
        self._clauses = Clauses(clauses)
        self._watch = LossWatch(self._lag_steps)
        self._unjudged: list[float] = []
        self.active = bool(self._clauses.clauses)

    def judge(self, loss: Loss, *, due: bool, over: bool) -> str | None:
        """Take the loss of a step; return the code of the clause that fires now.

        Args:
            loss: On this rank.
            due: Whether the ranks judge together at this step; one rank always does.
            over: Whether the segment ends here, so that what is still under way is judged too.
        """
        arrived = self._watch.push(loss)
        if arrived is not None:
            self._unjudged.append(arrived)
        if over:
            self._unjudged.extend(self._watch.drain())
        if not due or not self._unjudged:
            return None
        losses = self._ranks.mean(self._unjudged)
        self._unjudged = []
        for value in losses:
            code = self._clauses.judge(value)
            if code is not None:
                self.begin(())
                return code
        return None
