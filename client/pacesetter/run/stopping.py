"""Stop clauses: what ends a segment before its length, judged on losses that reach the host a fixed lag later."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from pacesetter.protocol import StopClause, StopIfAboveFirst, StopIfNonFinite

Loss = float | torch.Tensor

ACCELERATOR_LAG_STEPS = 16
"""Steps between a loss and its judgement on an accelerator: long enough that its copy never has to be waited for."""


class Clauses:
    """Judges the losses of one segment, in order."""

    def __init__(self, clauses: Iterable[StopClause]) -> None:
        self.clauses = tuple(clauses)
        self._first: float | None = None
        self._averages: dict[int, float] = {}

    def judge(self, loss: float) -> str | None:
        """Return the code of the clause that ``loss`` fires, or None. NaN is above every bound."""
        if self._first is None and math.isfinite(loss):
            self._first = loss
        for index, clause in enumerate(self.clauses):
            if isinstance(clause, StopIfNonFinite):
                if not math.isfinite(loss):
                    return "NON_FINITE"
            elif isinstance(clause, StopIfAboveFirst):
                if self._first is not None and not loss <= _times(self._first, clause.ratio):
                    return "ABOVE_FIRST"
            else:
                average = self._averages.get(index, loss)
                average = clause.decay * average + (1.0 - clause.decay) * loss
                self._averages[index] = average
                if not average <= clause.bound:
                    return "AVERAGE_ABOVE"
        return None


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
