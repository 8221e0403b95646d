"""A law given by a few parameters: its error comes from their covariance."""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pacesetter_search.laws.base import FittedLaw, Prediction, asked
from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.laws.fitting import Fit


class FittedParametric(FittedLaw):
    """A law with its parameters, as logarithms where a subclass says nothing else."""

    at_once: ClassVar[int] = 1_000_000
    """Positions evaluated together, so that their terms fit into memory."""

    parameters: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...] = ()
    """Of the parameters, from the residual block bootstrap; empty for parameters that were given."""
    residual_sd: float = Field(default=0.0, ge=0.0)
    """Of log loss, robust."""

    @abstractmethod
    def evaluate(self, lrs: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses (n,) at rates above zero and their derivatives by the parameters, (n, p)."""

    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return mean and sd of the loss after ``positions`` steps at rates ``lrs``."""
        rates, places = asked(lrs, positions)
        parts = [
            self.evaluate(rates, part)
            for part in np.array_split(places, -(-places.size // self.at_once))
        ]
        mean = np.concatenate([part[0] for part in parts])
        spread = np.zeros_like(mean)
        if self.covariance:
            gradient = np.concatenate([part[1] for part in parts]) / mean[:, None]
            spread = np.sum((gradient @ np.array(self.covariance)) * gradient, axis=1)
        return Prediction(mean, mean * np.sqrt(np.maximum(spread, 0.0) + self.residual_sd**2))


def from_fit(fit: Fit) -> dict[str, Any]:
    """Return the fields of a fitted law that its fit gives."""
    return {
        "parameters": tuple(float(value) for value in fit.parameters),
        "covariance": tuple(tuple(float(value) for value in row) for row in fit.covariance),
        "residual_sd": fit.residual_sd,
    }
