"""A schedule refined from measured gradient norms."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray

MOST_POINTS = 10_000


class Refined(Family):
    """Values at evenly spaced progresses, joined by lines, from gradient norms [Defazio2023, arXiv 2310.07831].

    Make one with :func:`pacesetter.schedules.refine`; the other fields say how it was made. The first value is that of
    the first step and may be small: a warm-up that the norms ask for. So it goes without a warm-up of its own.

    Limits: a shape only, the peak has to be searched again; it belongs to the learning rate and the batch size under
    which the norms were measured (measure anew when the rate moves by more than two). On small convex tasks it ties
    with linear or loses to it: try it beside linear, and take it only where it measures better.
    """

    tier = "experimental"

    family: Literal["refined"] = "refined"
    values: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        min_length=2, max_length=MOST_POINTS
    )
    """Shares of the peak at progress 0, 1/n, ..., 1."""
    norm: Literal["l2_squared", "l1"]
    """What the weights are the inverse of: the squared l2 norm (SGD) or the l1 norm (Adam)."""
    tau: float = Field(ge=0.0, le=1.0)
    """Width of the median filter, as a share of the measured run."""

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return the value at progress ``x``."""
        place = x * (len(self.values) - 1)
        left = min(int(place), len(self.values) - 2)
        low, high = self.values[left], self.values[left + 1]
        return low + (high - low) * (place - left)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return the value at every ``x``."""
        values = np.array(self.values)
        place = x * (len(values) - 1)
        left = np.minimum(place.astype(np.intp), len(values) - 2)
        joined: FloatArray = values[left] + (values[left + 1] - values[left]) * (place - left)
        return joined

    def initial(self, extent: Extent) -> float:  # noqa: ARG002
        """Return the first value."""
        return self.values[0]

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return the inner points."""
        del extent
        last = len(self.values) - 1
        return tuple(point / last for point in range(1, last))

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        norm = "squared l2" if self.norm == "l2_squared" else "l1"
        return (
            f"refined from {norm} gradient norms, {len(self.values):,} points over {extent.body:,}"
        )
