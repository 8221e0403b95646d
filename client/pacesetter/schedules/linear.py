"""Linear decay, D2Z where the floor is zero."""

from typing import Literal

from pacesetter.schedules.base import Extent, Family, FloatArray


class Linear(Family):
    """1 - x: with floor 0, decay to zero (D2Z). Near-optimal for the last iterate [Defazio2023, arXiv 2310.07831]."""

    tier = "recommended"

    family: Literal["linear"] = "linear"

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return 1 - x."""
        return 1.0 - x

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return 1 - x for every ``x``."""
        return 1.0 - x

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        return f"linear decay over {extent.body:,}"
