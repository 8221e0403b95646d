"""Stop clauses: what ends a segment before its length, judged on values that reach the host a fixed lag later."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from pacesetter.protocol import (
    StopClause,
    StopIfAboveFirst,
    StopIfAverageAbove,
    StopIfGradientSpikes,
    StopIfLossSpikes,
    StopIfNonFinite,
    StopIfProgressLost,
)
from pacesetter.run.spikes import Evidence, GradientSpikes, LossSpikes, ProgressLost

Loss = float | torch.Tensor

ACCELERATOR_LAG_STEPS = 16
"""Steps between a loss and its judgement on an accelerator: long enough that its copy never has to be waited for."""


Watch = LossSpikes | ProgressLost | GradientSpikes


class Clauses:
    """Judges the losses and gradient norms of one segment, in order.

    Args:
        clauses: What ends the segment early.
        before: Of the main segment before this one: watches that both ask for go on counting.

    Attributes:
        evidence: The numbers behind the last clause that fired.
        wants_norms: Whether a clause looks at gradient norms.
    """

    def __init__(self, clauses: Iterable[StopClause], before: "Clauses | None" = None) -> None:
        self.clauses = tuple(clauses)
        self.evidence: Evidence = {}
        self._first: float | None = None
        self._averages: dict[int, float] = {}
        self._watches: dict[StopClause, Watch] = {} if before is None else before._watches
        pairs = [(clause, self._watch(clause)) for clause in self.clauses]
        self._losses = [pair for pair in pairs if not isinstance(pair[1], GradientSpikes)]
        self._norms = [watch for _, watch in pairs if isinstance(watch, GradientSpikes)]
        self.wants_norms = bool(self._norms)

    def interrupt(self) -> None:
        """Tell the watches that the main line was stopped, by whichever clause."""
        for watch in self._watches.values():
            watch.interrupt()

    def resume(self) -> None:
        """Tell the watches that an earlier state of the main line was brought back."""
        for watch in self._watches.values():
            watch.resume()

    def judge(self, loss: float) -> str | None:
        """Return the code of the clause that ``loss`` fires, or None. NaN is above every bound."""
        if self._first is None and math.isfinite(loss):
            self._first = loss
        for index, (clause, watch) in enumerate(self._losses):
            if watch is not None:
                evidence = watch.judge(loss)
                code = None if evidence is None else _CODES[type(watch)]
            else:
                code, evidence = self._judge(index, clause, loss)
            if code is not None and evidence is not None:
                self.evidence = evidence
                return code
        return None

    def judge_norm(self, norm: float) -> str | None:
        """Return the code of the clause that the gradient norm of a step fires, or None."""
        for watch in self._norms:
            evidence = watch.judge(norm)
            if evidence is not None:
                self.evidence = evidence
                return _CODES[type(watch)]
        return None

    def _judge(
        self, index: int, clause: StopClause, loss: float
    ) -> tuple[str | None, Evidence | None]:
        if isinstance(clause, StopIfNonFinite):
            return (None, None) if math.isfinite(loss) else ("NON_FINITE", {"loss": loss})
        if isinstance(clause, StopIfAboveFirst):
            first = self._first
            if first is None or loss <= _times(first, clause.ratio):
                return None, None
            return "ABOVE_FIRST", {"loss": loss, "first": first}
        assert isinstance(clause, StopIfAverageAbove)
        average = self._averages.get(index, loss)
        average = clause.decay * average + (1.0 - clause.decay) * loss
        self._averages[index] = average
        if average <= clause.bound:
            return None, None
        return "AVERAGE_ABOVE", {"average": average, "bound": clause.bound}

    def _watch(self, clause: StopClause) -> Watch | None:
        kind = _WATCHES.get(type(clause))
        if kind is None:
            return None
        return self._watches.setdefault(clause, kind(clause))


_WATCHES: dict[type[StopClause], Any] = {
    StopIfLossSpikes: LossSpikes,
    StopIfProgressLost: ProgressLost,
    StopIfGradientSpikes: GradientSpikes,
}
_CODES: dict[type[Watch], str] = {
    LossSpikes: "LOSS_SPIKE",
    ProgressLost: "PROGRESS_LOST",
    GradientSpikes: "GRADIENT_SPIKE",
}


def _times(first: float, ratio: float) -> float:
    """Return ``ratio * first`` for a positive loss; a negative one may rise by the same amount."""
    return first + (ratio - 1.0) * abs(first)


@dataclass(slots=True)
class _Copy:
    """A loss on its way to the host."""

    value: torch.Tensor
    event: torch.cuda.Event | None

    def read(self) -> float:
        """Return the loss; its event is ``lag_steps`` old, so this does not wait for the device."""
        if self.event is not None:
            self.event.synchronize()
        return float(self.value)


class LossWatch:
    """Hands out losses as floats, each exactly ``lag_steps`` optimizer steps after it was pushed.

    The lag is fixed, not "when the copy is there": a run that is repeated stops at the same step.
    """

    def __init__(self, lag_steps: int) -> None:
        self.lag_steps = lag_steps
        self._copies: deque[_Copy | float] = deque()

    def push(self, loss: Loss) -> float | None:
        """Take the newest loss; return the one of ``lag_steps`` steps ago, or None in the first steps."""
        if self.lag_steps == 0:
            return loss.item() if isinstance(loss, torch.Tensor) else loss
        self._copies.append(_copy(loss) if isinstance(loss, torch.Tensor) else loss)
        return self._pop() if len(self._copies) > self.lag_steps else None

    def drain(self) -> list[float]:
        """Return what is still under way, oldest first; this waits for the device."""
        return [self._pop() for _ in range(len(self._copies))]

    def _pop(self) -> float:
        oldest = self._copies.popleft()
        return oldest.read() if isinstance(oldest, _Copy) else oldest


def _copy(loss: torch.Tensor) -> _Copy:
    source = loss.detach()
    on_cuda = source.device.type == "cuda"
    host = torch.empty((), dtype=torch.float32, pin_memory=on_cuda)
    host.copy_(source.reshape(()), non_blocking=True)
    event = None
    if on_cuda:
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
    return _Copy(host, event)
