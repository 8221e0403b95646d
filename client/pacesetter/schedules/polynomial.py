"""Polynomial decay."""

from typing import Literal

from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray


class Polynomial(Family):
    """(1 - x)^power, as ``torch.optim.lr_scheduler.PolynomialLR``; power 1 is linear.

    A power of about 1.5 is the tail that the multi-power law asks for [Luo2025, arXiv 2503.12811].
    """

    family: Literal["polynomial"] = "polynomial"
    power: float = Field(default=1.0, gt=0.0, le=100.0)

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return (1 - x)^power."""
        return float((1.0 - x) ** self.power)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return (1 - x)^power for every ``x``."""
        values: FloatArray = (1.0 - x) ** self.power
        return values

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        return f"polynomial decay of power {self.power:g} over {extent.body:,}"
