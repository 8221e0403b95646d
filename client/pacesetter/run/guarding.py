"""Watches the losses and gradient norms of the running segment for its stop clauses, on all ranks alike.

One rank judges its own values. Several send what they collected with one exchange and judge the means when they finish
it, at the next: a stop comes up to two exchanges after its loss. Only what ends a segment waits for all of its losses.
"""

import math
from collections.abc import Iterable

from pacesetter.protocol import StopClause, StopIfAboveFirst, StopIfAverageAbove
from pacesetter.run.spikes import Evidence
from pacesetter.run.stopping import Clauses, Loss, LossWatch

TOGETHER = 8
"""Values that are judged in one go where a stop is no less useful a few steps late; a NaN is judged at once."""


class LossGuard:
    """Says when the running segment has to end for what its losses and gradient norms show.

    Args:
        alone: Whether there is one rank only; several judge the means over ranks.
        lag_steps: Optimizer steps between a value and its judgement, or its way to the other ranks.

    Attributes:
        active: Whether the running segment has a clause that has not fired.
        evidence: The numbers behind the last clause that fired.
    """

    def __init__(self, lag_steps: int, *, alone: bool) -> None:
        self.active = False
        self.evidence: Evidence = {}
        self._alone = alone
        self._lag_steps = lag_steps
        self._main = Clauses(())
        self._resting = False
        self._withheld: str | None = None
        self._watch = self._norm_watch = LossWatch(lag_steps)
        self.begin(())

    def begin(self, clauses: Iterable[StopClause], *, main: bool = False) -> None:
        """Judge by these clauses from now on.

        What was seen is forgotten, except by the watches of a main line that the next segment of it asks for too.
        """
        # Several ranks judge only what they have exchanged: what they collected since is left out on all alike.
        if main and self._resting and self._alone:
            self._losses.extend(self._watch.drain())
            self._norms.extend(self._norm_watch.drain())
            self.judge(self.send())
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
        self._sent: int | None = None  # what is under way was of another segment, and is not judged
        self._resting = False
        self.active = bool(found)
        if not (main and found):
            self._withheld = None

    def rest(self) -> None:
        """Go on looking, but stop nothing: the main line goes on behind a segment that is over.

        A clause that fires meanwhile stops the next segment of it at its first judgement.
        """
        self._resting = True

    def restored(self) -> None:
        """Note that the main line goes on from an earlier state."""
        self._main.resume()

    def take(self, loss: Loss, norm: Loss | None = None, *, over: bool = False) -> str | None:
        """Take the values of a step; return the code of the clause that fires now. Several ranks only collect here.

        Args:
            loss: On this rank.
            norm: Of the gradient, where it is known.
            over: Whether the segment ends here, so that what is still under way to the host is taken too.
        """
        arrived = self._watch.push(loss)
        if arrived is not None:
            self._losses.append(arrived)
        if self._clauses.wants_norms and (norm is not None or not self._alone):
            # Zero says nothing, and all ranks have as many to send where one does not know its norm.
            arrived_norm = self._norm_watch.push(0.0 if norm is None else norm)
            if arrived_norm is not None:
                self._norms.append(arrived_norm)
        if over:
            self._losses.extend(self._watch.drain())
            self._norms.extend(self._norm_watch.drain())
        if not self._alone or not self._losses:
            return None
        # Judgement may wait for more values, unless what there is is no number.
        few = len(self._losses) < self._together and not over
        if few and (arrived is None or -math.inf < arrived < math.inf):
            return None
        return self.judge(self.send())

    def send(self) -> list[float]:
        """Return what was collected, for :meth:`judge`: as many values on every rank."""
        values = self._losses + self._norms
        self._sent = len(self._losses)
        self._losses, self._norms = [], []
        return values

    def judge(self, values: list[float]) -> str | None:
        """Judge what :meth:`send` returned last, averaged over ranks; return the code of the clause that fires."""
        count = self._sent
        if count is None:
            return None
        clauses = self._clauses
        code = next(filter(None, map(clauses.judge, values[:count])), None)
        if code is None:
            code = next(filter(None, map(clauses.judge_norm, values[count:])), None)
        if self._resting:
            if code is not None and self._withheld is None:
                self._withheld, self.evidence = code, clauses.evidence
            return None
        if self._withheld is not None:
            code, self._withheld = self._withheld, None
            clauses.evidence = self.evidence
        if code is not None:
            self.evidence = clauses.evidence
            clauses.interrupt()
            self.begin(())
        return code
