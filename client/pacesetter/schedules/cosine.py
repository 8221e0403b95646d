"""Cosine annealing."""

import math
from typing import Literal

import numpy as np

from pacesetter.schedules.base import Extent, Family, FloatArray


class Cosine(Family):
    """(1 + cos(pi x)) / 2 [Loshchilov2017, arXiv 1608.03983]. Bound to its horizon: its length must be the run's."""

    family: Literal["cosine"] = "cosine"

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return the half cosine at ``x``."""
        return 0.5 * (1.0 + math.cos(math.pi * x))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return the half cosine at every ``x``."""
        return 0.5 * (1.0 + np.cos(np.pi * x))
