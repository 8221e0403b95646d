"""What a law is: fitted to curves, it predicts the loss under any schedule."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from pacesetter_search.laws.curves import Curve, FloatArray


class LawNotFitted(ValueError):
    """The curves do not carry a fit; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Losses with their uncertainty.

    Attributes:
        mean: (n,) expected loss.
        sd: (n,) its standard deviation, from the fit's residuals and the covariance of its parameters. What the law
            itself gets wrong beyond the schedules it was fitted to is not in it.
    """

    mean: FloatArray
    sd: FloatArray


class FittedLaw(BaseModel, ABC):
    """A law with its parameters: plain numbers, so it is JSON as it stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warnings: tuple[str, ...] = ()
    """What the curves could not tell, one sentence each."""

    @abstractmethod
    def losses(self, lrs: FloatArray) -> FloatArray:
        """Return the loss after every step of ``lrs``, (steps,)."""

    @abstractmethod
    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return the losses after ``positions`` steps at rates ``lrs``.

        Args:
            lrs: (steps,) learning rates in the unit of the fitted curves.
            positions: (n,) numbers of steps done, from 1 to ``steps``; None: after the last step.
        """


class Law(ABC):
    """How to fit one kind of law."""

    @abstractmethod
    def fit(self, curves: Sequence[Curve]) -> FittedLaw:
        """Return the law fitted to ``curves``, each weighing the same however many points it has.

        Raises:
            LawNotFitted: Too few points or curves, or losses that the law cannot describe.
        """


def after(values: FloatArray, positions: ArrayLike | None) -> FloatArray:
    """Return per-step ``values``, (steps, ...), after ``positions`` steps, (n, ...); after the last where None.

    Between two steps they are joined by lines: where a step stands for several, losses lie in between.
    """
    if positions is None:
        return values[-1:]
    index = np.clip(np.asarray(positions, dtype=np.float64) - 1.0, 0.0, len(values) - 1.0)
    left = np.floor(index).astype(np.int64)
    right = np.minimum(left + 1, len(values) - 1)
    share = (index - left).reshape(-1, *[1] * (values.ndim - 1))
    joined: FloatArray = values[left] * (1.0 - share) + values[right] * share
    return joined
