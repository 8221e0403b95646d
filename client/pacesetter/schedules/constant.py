"""The constant schedule."""

from typing import Literal

import numpy as np

from pacesetter.schedules.base import Extent, Family, FloatArray


class Constant(Family):
    """1 everywhere. Never anneals: end it in a ramp."""

    family: Literal["constant"] = "constant"

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return 1."""
        return 1.0

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return ones."""
        return np.ones_like(x)
