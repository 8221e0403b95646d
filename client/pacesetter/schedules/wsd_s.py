"""WSD-S: several budgets on one trunk."""

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from pacesetter.schedules.base import Extent, Family, FloatArray
from pacesetter.schedules.phases import check_ends, phase_at, phase_over


class WSDS(Family):
    """1, and a decay to ``end`` before each budget, linear in 1 / LR [Wen2024, arXiv 2410.05192].

    Within a decay, y from 0 to 1, the shape is 1 / (y / end + 1 - y). Each cycle goes on from the *decayed* state at
    the full rate, so that the work of the decay is kept; WSD goes back to the state before it. The model at
    ``ends[i]`` is the one for that budget. ``end`` .1, ``decay`` .1 and no re-warming are the defaults taken here;
    shares count the cycle's own length, the first one with its warm-up, as in the authors' code (Levanter).

    Limits: shown for 0.1B to 1.2B language models. The jump back to 1 is as large as 1 / end: mind
    ``max_change_per_step``, or set ``rewarm``.
    """

    family: Literal["wsd_s"] = "wsd_s"
    ends: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        default=(0.25, 0.5, 1.0), min_length=1, max_length=1000
    )
    """The budgets, as shares of the whole schedule, warm-up included."""
    decay: float = Field(default=0.1, ge=1e-6, le=1.0)
    """Share of each cycle."""
    end: float = Field(default=0.1, ge=1e-12, lt=1.0)
    rewarm: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each cycle but the first over which it rises from ``end`` in a line."""

    @model_validator(mode="after")
    def _phases_fit(self) -> "WSDS":
        check_ends(self.ends, "ends")
        if self.decay + self.rewarm > 1.0:
            raise ValueError(
                f"decay {self.decay:g} and rewarm {self.rewarm:g} do not fit into a cycle; give at most 1 together"
            )
        return self

    def at(self, x: float, extent: Extent) -> float:
        """Return the shape at ``x``."""
        cycle, y = phase_at(self._edges(extent), x)
        if cycle > 0 and y < self.rewarm:
            return self.end + (1.0 - self.end) * y / self.rewarm
        z = max(0.0, (y - (1.0 - self.decay)) / self.decay)
        return 1.0 / (z / self.end + (1.0 - z))

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the shape at every ``x``."""
        cycle, y = phase_over(self._edges(extent), x)
        z = np.maximum((y - (1.0 - self.decay)) / self.decay, 0.0)
        decaying: FloatArray = 1.0 / (z / self.end + (1.0 - z))
        if self.rewarm == 0.0:
            return decaying
        rise = self.end + (1.0 - self.end) * y / self.rewarm
        return np.where((cycle > 0) & (y < self.rewarm), rise, decaying)

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return where decays begin and end, and re-warming ends."""
        edges = self._edges(extent)
        inner = set(edges[1:-1])
        for index, (left, right) in enumerate(pairwise(edges)):
            inner.add(right - self.decay * (right - left))
            if index and self.rewarm:
                inner.add(left + self.rewarm * (right - left))
        return tuple(sorted(x for x in inner if 0.0 <= x < 1.0))

    def check_extent(self, extent: Extent) -> None:
        """Check that the first decay begins after the warm-up.

        Raises:
            ValueError: It would begin inside it.
        """
        begin = (1.0 - self.decay) * self.ends[0]
        if extent.progress(begin) < -1e-9:
            raise ValueError(
                f"the first decay begins at {begin:g} of {extent.length}, inside the warm-up of {extent.warmup}; "
                "shorten the warm-up or the decay"
            )

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        several = f", {len(self.ends)} budgets on one trunk" if len(self.ends) > 1 else ""
        return f"hold and decay to {self.end:g} in 1/LR over {self.decay:.0%}{several} over {extent.body:,}"

    def _edges(self, extent: Extent) -> tuple[float, ...]:
        # The last one as it is: progress(1.0) may round to its neighbour.
        return (extent.progress(0.0), *(extent.progress(end) for end in self.ends[:-1]), 1.0)
