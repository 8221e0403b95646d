"""A schedule given by points."""

from bisect import bisect_right
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from pacesetter.schedules.base import Evaluator, Extent, Family, FloatArray


class Table(Family):
    """Values at given progresses, joined by lines (``linear``) or kept until the next one (``hold``).

    ``positions`` are progress after the warm-up, from 0 to 1. Values are shares of the peak; they may exceed 1, so the
    range is that of ``values``.
    """

    family: Literal["table"] = "table"
    positions: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        min_length=2, max_length=10_000
    )
    values: tuple[Annotated[float, Field(ge=0.0, le=1e6)], ...] = Field(
        min_length=2, max_length=10_000
    )
    interpolation: Literal["linear", "hold"] = "linear"

    @model_validator(mode="after")
    def _points_in_order(self) -> "Table":
        if len(self.positions) != len(self.values):
            raise ValueError(
                f"{len(self.positions)} positions and {len(self.values)} values; give each position one value"
            )
        if self.positions[0] != 0.0 or self.positions[-1] != 1.0:
            raise ValueError(
                f"positions run from {self.positions[0]:g} to {self.positions[-1]:g}; "
                "start at 0 (end of the warm-up) and end at 1"
            )
        if any(b <= a for a, b in zip(self.positions, self.positions[1:], strict=False)):
            raise ValueError("positions do not rise; sort them, each one once")
        return self

    def at(self, x: float, extent: Extent) -> float:
        """Return the value at progress ``x``."""
        return self.evaluator(extent)(x)

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return the value at every ``x``."""
        positions, values = np.array(self.positions), np.array(self.values)
        left = np.searchsorted(positions, x, side="right") - 1
        if self.interpolation == "hold":
            held: FloatArray = values[left]
            return held
        left = np.minimum(left, len(positions) - 2)
        share = (x - positions[left]) / (positions[left + 1] - positions[left])
        joined: FloatArray = values[left] + (values[left + 1] - values[left]) * share
        return joined

    def evaluator(self, extent: Extent) -> Evaluator:  # noqa: ARG002
        """Return ``at``: a bisection, then a line."""
        positions, values = self.positions, self.values
        last = len(positions) - 2
        if self.interpolation == "hold":
            return lambda x: values[bisect_right(positions, x) - 1]

        def evaluate(x: float) -> float:
            left = min(bisect_right(positions, x) - 1, last)
            share = (x - positions[left]) / (positions[left + 1] - positions[left])
            return values[left] + (values[left + 1] - values[left]) * share

        return evaluate

    def initial(self, extent: Extent) -> float:  # noqa: ARG002
        """Return the first value."""
        return self.values[0]

    def highest(self) -> float:
        """Return the largest value."""
        return max(self.values)

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return the inner points."""
        del extent
        return self.positions[1:-1]

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        joined = "joined by lines" if self.interpolation == "linear" else "each held"
        return f"table of {len(self.positions)} points {joined} over {extent.body:,}"
