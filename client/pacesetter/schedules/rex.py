"""REX, the reflected exponential."""

from typing import Literal

from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray


class REX(Family):
    """(1 - x) / ((1 - d) + d (1 - x)) [Chen2022, arXiv 2107.04197]; the paper has d = 1/2: 2 (1 - x) / (2 - x).

    It stays above linear and drops faster at the end. Evaluated at every step, as recommended there.

    Limits: other code has d = 0.9 under the same name, which holds longer: a different schedule. d = 0 is linear.
    """

    family: Literal["rex"] = "rex"
    d: float = Field(default=0.5, ge=0.0, le=0.999)

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return the shape at ``x``."""
        return (1.0 - x) / ((1.0 - self.d) + self.d * (1.0 - x))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return the shape at every ``x``."""
        return (1.0 - x) / ((1.0 - self.d) + self.d * (1.0 - x))

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        return f"REX decay with d {self.d:g} over {extent.body:,}"
