"""Which regulator is at work: that of the segment that runs, and that of the main line while a probe runs."""

from collections.abc import Callable
from typing import Any

from pacesetter.feedback import Feedback, Hypergradient, SignalToNoise
from pacesetter.protocol import Segment
from pacesetter.run.feedback.base import Regulator, Surroundings
from pacesetter.run.feedback.hypergradient import HypergradientRegulator
from pacesetter.run.feedback.snr import SignalToNoiseRegulator
from pacesetter.run.optimizing import OptimizerSteps
from pacesetter.run.ranks import Ranks
from pacesetter.run.rates import LearningRates

Opened = tuple[Feedback, Regulator]

REGULATORS: dict[type[Feedback], Callable[[Any, Surroundings], Regulator]] = {
    Hypergradient: HypergradientRegulator,
    SignalToNoise: SignalToNoiseRegulator,
}
"""What runs each rule."""


class Regulation:
    """Opens regulators for the segments that name a feedback rule, and keeps the main line's across probes.

    Args:
        rates: What they multiply.
        ranks: The ranks that act as one.
        optimizing: Sees the gradients of the micro-batches, for the rules that ask.

    Attributes:
        regulator: That of the running segment; None where it follows its schedule alone.
    """

    def __init__(self, rates: LearningRates, ranks: Ranks, optimizing: OptimizerSteps) -> None:
        self.regulator: Regulator | None = None
        self._main: Opened | None = None
        self._optimizing = optimizing
        self._around = Surroundings(
            lambda: rates.regulated, lambda: rates.regulated_lr, ranks, self._pass_squares
        )

    @property
    def factor(self) -> float | None:
        """What the schedule is multiplied by for now; None without a rule."""
        return None if self.regulator is None else self.regulator.multiplier

    def begin(self, segment: Segment) -> None:
        """Take up the rule of ``segment``. A main segment with the rule that the main line has goes on with it."""
        spec, main = segment.feedback, segment.kind == "main"
        opened = self._main if main and self._main is not None and self._main[0] == spec else None
        if opened is None and spec is not None:
            opened = spec, REGULATORS[type(spec)](spec, self._around)
        if main:
            self._main = opened
        self.regulator = None if opened is None else opened[1]
        if self.regulator is not None and self.regulator.sees_passes:
            self._optimizing.watch_passes()
        else:
            self._optimizing.leave_passes()

    def document(self) -> dict[str, Any]:
        """Return what the main line's rule knows, under ``feedback``; empty without one."""
        if self._main is None:
            return {}
        return {
            "feedback": {"rule": self._main[0].model_dump()["rule"], **self._main[1].document()}
        }

    def load(self, document: dict[str, Any] | None) -> None:
        """Go back to what the main line's rule knew when a state was kept; without that it starts afresh."""
        if self._main is None:
            return
        spec, regulator = self._main
        if document is None or document.get("rule") != spec.model_dump()["rule"]:
            regulator = REGULATORS[type(spec)](spec, self._around)
            if self.regulator is self._main[1]:
                self.regulator = regulator
            self._main = spec, regulator
            return
        regulator.load(document)

    def _pass_squares(self) -> tuple[float, float, int] | None:
        found = self._optimizing.pass_squares()
        if found is None:
            return None
        small, big, count = found
        return float(small), float(big), count
