"""What a law is: fitted to curves, it predicts the loss under any schedule."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from pacesetter_search.laws.curves import Curve, FloatArray, active

SAME_PEAK = 1.01
"""Ratio up to which two peaks count as one."""


class LawNotFitted(ValueError):
    """The curves do not carry a fit; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Losses with their uncertainty.

    Attributes:
        mean: (n,) expected loss.
        sd: (n,) its standard deviation, from the fit's residuals and the covariance of its parameters. What the law
            itself gets wrong beyond the schedules it was fitted to is not in it, but in the ensemble's.
    """

    mean: FloatArray
    sd: FloatArray


class Hull(BaseModel):
    """What a law was fitted to, as far as a choice has to stay within it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    peaks: tuple[float, ...] = Field(min_length=1)
    """Largest learning rate of the curves, each once, rising."""
    longest: float = Field(gt=0.0)
    """Steps done at the last loss of the longest curve, in steps of the fitted curves."""
    curves: int = Field(gt=0)

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> Self:
        """Return the hull of curves, those left out that never leave a rate of zero."""
        peaks: list[float] = []
        for peak in sorted(curve.peak for curve in curves):
            if peak > 0.0 and not (peaks and peak <= SAME_PEAK * peaks[-1]):
                peaks.append(peak)
        return cls(
            peaks=tuple(peaks),
            longest=max(float(curve.positions[-1]) for curve in curves),
            curves=len(curves),
        )

    @property
    def highest(self) -> float:
        """The largest learning rate of any curve."""
        return self.peaks[-1]

    def doublings(self, steps: ArrayLike) -> FloatArray:
        """Return how many doublings beyond the longest curve lie ``steps``; 0 within it."""
        result: FloatArray = np.maximum(np.log2(np.asarray(steps) / self.longest), 0.0)
        return result

    def octaves(self, peak: float) -> float:
        """Return how many octaves the nearest fitted peak is away."""
        return float(np.min(np.abs(np.log2(peak / np.array(self.peaks)))))


class FittedLaw(BaseModel, ABC):
    """A law with its parameters: plain numbers, so it is JSON as it stands.

    A subclass has a literal ``kind``, by which :data:`pacesetter_search.laws.AnyFittedLaw` reads it back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    warnings: tuple[str, ...] = ()
    """What the curves could not tell, one sentence each."""
    hull: Hull | None = None
    """None for parameters that were given."""
    stride: float = Field(default=1.0, gt=0.0)
    """Steps of the fitted curves that a step given to the law stands for."""

    @abstractmethod
    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return the losses after ``positions`` steps at rates ``lrs``.

        Args:
            lrs: (steps,) learning rates in the unit of the fitted curves.
            positions: (n,) numbers of steps done, up to ``steps``; None: after the last step.

        Raises:
            ValueError: A rate is negative or not finite, all are zero, or a position lies beyond them.
        """

    def thinned(self, factor: float) -> Self:
        """Return the law for rates of which each stands for ``factor`` of the steps here, at their mean.

        Below 1 it undoes what was done to the curves of the fit: by 1 / 8 a law that was fitted to curves thinned by 8
        takes the rate of every step.
        """
        return self.model_copy(update={"stride": self.stride * factor})

    @property
    def longest(self) -> int | None:
        """Steps of the longest fitted curve, as the law takes them; None for parameters that were given."""
        return None if self.hull is None else round(self.hull.longest / self.stride)

    def losses(self, lrs: ArrayLike) -> FloatArray:
        """Return the loss after every step of ``lrs``, (steps,)."""
        rates = np.asarray(lrs, dtype=np.float64)
        return self.predict(rates, np.arange(1.0, rates.size + 1.0)).mean


class Law(ABC):
    """How to fit one kind of law."""

    @abstractmethod
    def fit(self, curves: Sequence[Curve]) -> FittedLaw:
        """Return the law fitted to ``curves``, each weighing the same however many points it has.

        Raises:
            LawNotFitted: Too few points or curves, or losses that the law cannot describe.
        """


def asked(lrs: ArrayLike, positions: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Return rates above zero, and positions (n,) counted in their steps: steps at a rate of zero move nothing.

    Raises:
        ValueError: A rate is negative or not finite, all are zero, or a position lies beyond them.
    """
    rates = np.asarray(lrs, dtype=np.float64)
    if rates.ndim != 1 or not rates.size or not np.all(np.isfinite(rates) & (rates >= 0.0)):
        raise ValueError(
            f"learning rates of shape {rates.shape} are empty, negative or not finite; give one for every step"
        )
    places = np.atleast_1d(
        np.asarray(rates.size if positions is None else positions, dtype=np.float64)
    )
    if not np.all((places >= 0.0) & (places <= rates.size + 1e-6)):
        raise ValueError(
            f"a position lies outside of the {rates.size} steps whose learning rate is given; "
            "give positions in steps done, and the rate of every step"
        )
    moving, counted = active(rates, places)
    if not moving.size:
        raise ValueError("every learning rate is zero; give a schedule that trains")
    return moving, counted


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
