"""UBA, the budget-aware schedule of "Stepsize anything"."""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from pacesetter.schedules.base import Extent, Family, FloatArray
from pacesetter.schedules.phases import check_ends, phase_at, phase_over

_Level = Annotated[float, Field(ge=0.0, le=1.0)]


class UBA(Family):
    """(top - bottom) * 2 (1 + cos t) / (2 phi + (2 - phi) (1 + cos t)) + bottom, t from 0 to pi in each phase.

    [Tang2025, arXiv 2505.24452]. With u = (1 + cos t) / 2 the fraction is 2u / (phi + (2 - phi) u): phi = 2 is the
    cosine, phi = 1 is REX of the cosine, phi towards 0 holds and then drops, phi above 2 falls faster. Phases begin
    anew, each with its own ``top`` and ``bottom``.

    Limits: phi stands for the condition number of the problem, which nobody knows beforehand: values in use go from
    0.25 to 10, so there is no default. ``(1 - x)^phi`` and ``(1 - phi x)^2``, which circulate under this name, are
    not in the paper.
    """

    tier = "experimental"

    family: Literal["uba"] = "uba"
    phi: float = Field(ge=1e-3, le=1e3)
    ends: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        default=(1.0,), min_length=1, max_length=1000
    )
    """Where each phase ends, in progress after the warm-up."""
    tops: tuple[_Level, ...] = (1.0,)
    bottoms: tuple[_Level, ...] = (0.0,)
    """One for every phase, or one for all."""

    @model_validator(mode="after")
    def _phases_fit(self) -> "UBA":
        check_ends(self.ends, "ends")
        for name, levels in (("tops", self.tops), ("bottoms", self.bottoms)):
            if len(levels) not in (1, len(self.ends)):
                raise ValueError(
                    f"{len(levels)} {name} for {len(self.ends)} phases; give one a phase, or one for all"
                )
        if any(bottom > top for top, bottom in zip(*self._levels(), strict=True)):
            raise ValueError(f"bottoms {self.bottoms} are above tops {self.tops}; swap them")
        return self

    def at(self, x: float, extent: Extent) -> float:  # noqa: ARG002
        """Return the shape at ``x``."""
        phase, y = phase_at((0.0, *self.ends), x)
        tops, bottoms = self._levels()
        cosine = 1.0 + math.cos(math.pi * y)
        part = 2.0 * cosine / (2.0 * self.phi + (2.0 - self.phi) * cosine)
        return (tops[phase] - bottoms[phase]) * part + bottoms[phase]

    def over(self, x: FloatArray, extent: Extent) -> FloatArray:  # noqa: ARG002
        """Return the shape at every ``x``."""
        phase, y = phase_over((0.0, *self.ends), x)
        tops, bottoms = (np.array(levels)[phase] for levels in self._levels())
        cosine = 1.0 + np.cos(np.pi * y)
        values: FloatArray = (tops - bottoms) * (
            2.0 * cosine / (2.0 * self.phi + (2.0 - self.phi) * cosine)
        ) + bottoms
        return values

    def initial(self, extent: Extent) -> float:
        """Return the top of the first phase."""
        return self.at(0.0, extent)

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return where phases begin anew."""
        del extent
        return self.ends[:-1]

    def phrase(self, extent: Extent) -> str:
        """Return what happens, in words."""
        phases = f" in {len(self.ends)} phases" if len(self.ends) > 1 else ""
        return f"UBA decay with phi {self.phi:g}{phases} over {extent.body:,}"

    def _levels(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        phases = len(self.ends)
        return (
            self.tops if len(self.tops) == phases else self.tops * phases,
            self.bottoms if len(self.bottoms) == phases else self.bottoms * phases,
        )
