"""What is known from elsewhere, as plain values: runs, laws fitted to their curves, and how final losses are fitted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from numpy.typing import ArrayLike
from pacesetter.protocol import Regime, Workload

from pacesetter_search.laws.base import FittedLaw
from pacesetter_search.laws.scaling import FinalLoss


class LossPrediction(Protocol):
    """A loss with its standard deviation, as numbers or arrays of one."""

    @property
    def mean(self) -> ArrayLike:
        """Expected."""

    @property
    def sd(self) -> ArrayLike:
        """Its standard deviation, in the same unit."""


class FittedLosses(Protocol):
    """A law of final losses in size and tokens, fitted to a family's."""

    @property
    def warnings(self) -> Sequence[str]:
        """What is in doubt about the fit, one sentence each."""

    def predict(self, parameters: float, tokens: float) -> LossPrediction:
        """Return the loss to expect."""

    def influence(self, parameters: float, tokens: float) -> Mapping[str, float]:
        """Return by which share the expected loss moves when a final loss moves by one, by the final's name."""


FitLosses = Callable[[Sequence[FinalLoss]], FittedLosses]
"""How final losses are fitted; of none at all it has its prior."""


@dataclass(frozen=True, slots=True)
class KnownCurve:
    """A curve that a law was fitted to."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class KnownLaw:
    """A law fitted to the loss curves of one workload at one peak.

    Attributes:
        id: Under which it is kept.
        workload: What its curves are of, with parameters and batch.
        regime: Of its curves.
        optimizer: Of its curves.
        peak: Highest learning rate of its curves.
        longest: Steps of the longest one.
        law: In steps of the run.
        curves: What it was fitted to.
        momentum: Of SGD's buffer in its curves.
    """

    id: str
    workload: Workload
    regime: Regime
    optimizer: str
    peak: float
    longest: int
    law: FittedLaw
    curves: tuple[KnownCurve, ...] = ()
    momentum: float = 0.0
