"""What a family of schedules is: a shape over progress."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

FloatArray: TypeAlias = npt.NDArray[np.float64]
Evaluator: TypeAlias = Callable[[float], float]

Tier: TypeAlias = Literal["recommended", "supported", "experimental"]
"""Recommended by evidence; supported: published, established; experimental: faithful, never chosen by default."""


SLACK = 1e-9
"""Share of the body by which a tail may begin too early: rounding of shares that just fit."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The lengths a shape may refer to, in the job's clock."""

    length: int
    """Whole schedule, warm-up included."""
    warmup: int
    """Length of the warm-up; 0 without one."""

    @property
    def body(self) -> int:
        """Length of what follows the warm-up."""
        return self.length - self.warmup

    def progress(self, share: float) -> float:
        """Return where ``share`` of the whole schedule, warm-up included, lies in progress after the warm-up."""
        return (share * self.length - self.warmup) / self.body

    def check_tail(self, share: float, what: str) -> None:
        """Check that a tail over the last ``share`` of the whole schedule begins after the warm-up.

        Raises:
            ValueError: It would begin inside it.
        """
        if self.progress(1.0 - share) < -SLACK:
            raise ValueError(
                f"a {what} of {share:g} of {self.length} begins inside the warm-up of {self.warmup}; "
                f"give at most {self.body / self.length:g}"
            )

    def check_no_warmup(self, family: str, instead: str) -> None:
        """Check that there is no warm-up beside a rise of the family's own.

        Raises:
            ValueError: There is one.
        """
        if self.warmup:
            raise ValueError(f"{family} rises by itself; leave out warmup, and set {instead}")


class Family(BaseModel, ABC):
    """A shape from a published family, without warm-up, floor or peak, which the schedule composes around it.

    A subclass lives in a file of its own, declares ``family: Literal["its_name"] = "its_name"`` with its parameters,
    and is added to the union in ``families.py``. Progress ``x`` runs from 0 (end of the warm-up) to 1 (end of the
    schedule). Both methods return the shape in [0, 1] unless the family says otherwise, and agree to 1e-12.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    tier: ClassVar[Tier] = "supported"

    @abstractmethod
    def at(self, x: float, extent: Extent) -> float:
        """Return the shape at progress ``x``: the slow, obvious form."""

    @abstractmethod
    def over(self, x: FloatArray, extent: Extent) -> FloatArray:
        """Return the shape at every progress of ``x``; same shape as ``x``."""

    def evaluator(self, extent: Extent) -> Evaluator:
        """Return ``at`` as a closure for the hot path; a family with constants to hoist overrides it, bit for bit."""
        at = self.at
        return lambda x: at(x, extent)

    def initial(self, extent: Extent) -> float:
        """Return what a warm-up rises to: 1, unless the shape begins elsewhere."""
        del extent
        return 1.0

    def highest(self) -> float:
        """Return the upper end of the shape's range; the lower end is 0."""
        return 1.0

    def published_peak(self, extent: Extent) -> float | None:
        """Return the learning rate that the shape's 1 stands for, or None where the family fixes none.

        A family that fixes one is a law in learning rates: it goes with ``unit="absolute"`` only.
        """
        del extent
        return None

    def required_clock(self) -> Literal["steps", "tokens"] | None:
        """Return the clock that the parameters are meant in, or None where either will do."""
        return None

    def families_used(self) -> frozenset[str]:
        """Return the names of the families that a client has to know: this one, and those inside it."""
        return frozenset({str(type(self).model_fields["family"].default)})

    def kinks(self, extent: Extent) -> tuple[float, ...]:
        """Return the progresses at which the shape jumps or bends, so that a grid can be put around them."""
        del extent
        return ()

    def check_extent(self, extent: Extent) -> None:
        """Check that the shape can be laid over ``extent``.

        Raises:
            ValueError: It does not fit, and what would.
        """
        del extent

    def phrase(self, extent: Extent) -> str:
        """Return what happens after the warm-up, in a few words."""
        del extent
        return str(getattr(self, "family", type(self).__name__)).replace("_", " ")
