"""What a family of schedules is: a shape over progress."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

FloatArray: TypeAlias = npt.NDArray[np.float64]
Evaluator: TypeAlias = Callable[[float], float]


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


class Family(BaseModel, ABC):
    """A shape from a published family, without warm-up, floor or peak, which the schedule composes around it.

    A subclass lives in a file of its own, declares ``family: Literal["its_name"] = "its_name"`` with its parameters,
    and is added to the union in ``families.py``. Progress ``x`` runs from 0 (end of the warm-up) to 1 (end of the
    schedule). Both methods return the shape in [0, 1] unless the family says otherwise, and agree to 1e-12.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

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
