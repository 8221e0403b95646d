"""Cosine annealing with warm restarts."""

import math
from itertools import accumulate
from typing import Literal

import numpy as np
from pydantic import Field

from pacesetter.schedules.base import Extent, Family, FloatArray
from pacesetter.schedules.phases import phase_at, phase_over


class CosineRestarts(Family):
    """A half cosine from 1 to 0, again and again, each ``growth`` times as long [Loshchilov2017, arXiv 1608.03983].

    ``growth`` is T_mult of the paper (1 or 2 there); the cycles fill the schedule exactly. The model at the end of a
    cycle is annealed; the step after it runs at 1 again.

    Limits: each restart costs what its anneal had won. For several budgets from one run, ``wsd_s`` is better.
    """

    tier = "experimental"

    family: Literal["cosine_restarts"] = "cosine_restarts"
    cycles: int = Field(default=3, ge=1, le=100)
    growth: float = Field(default=2.0, ge=1.0, le=10.0)

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return the half cosine of the cycle that ``x`` lies in."""
        _, y = phase_at(self._edges(), x)
        return 0.5 * (1.0 + math.cos(math.pi * y))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return the half cosine of its cycle for every ``x``."""
        _, y = phase_over(self._edges(), x)
        values: FloatArray = 0.5 * (1.0 + np.cos(np.pi * y))
        return values

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return the restarts."""
        del extent
        return self._edges()[1:-1]

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        longer = f", each {self.growth:g} times as long" if self.growth > 1.0 else ""
        return f"{self.cycles} cosine cycles{longer} over {extent.body:,}"

    def _edges(self) -> tuple[float, ...]:
        lengths = [self.growth**cycle for cycle in range(self.cycles)]
        total = sum(lengths)
        return (0.0, *(end / total for end in accumulate(lengths[:-1])), 1.0)
