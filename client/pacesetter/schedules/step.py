"""Step decay."""

from bisect import bisect_right
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from pacesetter.schedules.base import Evaluator, Extent, Family, FloatArray

_ROUNDING = 1e-12
"""Slack of a milestone, so that one that falls on a step takes effect at that step and not at the next."""


class Step(Family):
    """1, then ``factors[i]`` from ``milestones[i]`` on: multi-step decay.

    Milestones are shares of the whole schedule, warm-up included; factors are shares of the peak, not of the factor
    before. The defaults are 8-1-1: sqrt(1/10) after 80 %, 1/10 after 90 % [DeepSeek2024, arXiv 2401.02954].
    """

    family: Literal["step"] = "step"
    milestones: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(
        default=(0.8, 0.9), min_length=1, max_length=10_000
    )
    factors: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        default=(0.1**0.5, 0.1), min_length=1, max_length=10_000
    )

    @model_validator(mode="after")
    def _pairs_in_order(self) -> "Step":
        if len(self.milestones) != len(self.factors):
            raise ValueError(
                f"{len(self.milestones)} milestones and {len(self.factors)} factors; give each milestone one factor"
            )
        if any(b <= a for a, b in zip(self.milestones, self.milestones[1:], strict=False)):
            raise ValueError(f"milestones {self.milestones} do not rise; sort them, each one once")
        return self

    def at(self, x: float, extent: Extent) -> float:
        """Return the factor in force at progress ``x``."""
        return (1.0, *self.factors)[bisect_right(self.kinks(extent), x + _ROUNDING)]

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the factor in force at every ``x``."""
        index = np.searchsorted(np.array(self.kinks(extent)), x + _ROUNDING, side="right")
        values: FloatArray = np.array((1.0, *self.factors))[index]
        return values

    def evaluator(self, extent: Extent) -> Evaluator:
        """Return ``at`` with its milestones laid out once."""
        edges, values = self.kinks(extent), (1.0, *self.factors)
        return lambda x: values[bisect_right(edges, x + _ROUNDING)]

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return the milestones as progress after the warm-up."""
        return tuple((m * extent.length - extent.warmup) / extent.body for m in self.milestones)

    def check_extent(self, extent: Extent) -> None:
        """Check that the first milestone comes after the warm-up.

        Raises:
            ValueError: It falls inside it.
        """
        if self.milestones[0] * extent.length < extent.warmup:
            raise ValueError(
                f"the milestone at {self.milestones[0]:g} of {extent.length} falls inside the warm-up of "
                f"{extent.warmup}; put it at {extent.warmup / extent.length:g} or later"
            )

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        del extent
        steps = (
            f"{f:.3g} from {m:.0%}" for m, f in zip(self.milestones, self.factors, strict=True)
        )
        return f"steps to {', '.join(steps)}"
