"""Exponential decay."""

from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray


class Exponential(Family):
    """end^x: the same ratio from each step to the next, as ``torch.optim.lr_scheduler.ExponentialLR``.

    Over a body of n clock units ``gamma`` of torch is ``end ** (1 / n)``. It never reaches zero and spends little of
    the run at a high rate; as a short tail of a constant it is ``wsd`` with ``shape="exponential"``.
    """

    family: Literal["exponential"] = "exponential"
    end: float = Field(default=0.1, ge=1e-12, lt=1.0)
    """Share of the peak at the end."""

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return end^x."""
        return float(self.end**x)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return end^x for every ``x``."""
        values: FloatArray = np.power(self.end, x)
        return values

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        return f"exponential decay to {self.end:g} over {extent.body:,}"
