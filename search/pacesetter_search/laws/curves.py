"""A recorded loss curve, together with the learning rates that led to it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from pacesetter_search.losses import LARGEST_LOSS

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Losses at some positions, and the learning rate of every step up to the last of them.

    A fork of a run is a curve as well: its learning rates begin with the trunk's, its losses only where it left it.

    Attributes:
        lrs: (steps,) learning rate of each step, absolute or as multipliers, in one unit throughout a fit. For long
            runs a step may stand for several (:meth:`thinned`).
        positions: (n,) number of steps done when a loss was measured, 1 to ``steps``, rising; not always whole.
        losses: (n,) finite losses.
    """

    lrs: FloatArray
    positions: FloatArray
    losses: FloatArray

    @classmethod
    def of(cls, lrs: ArrayLike, positions: ArrayLike, losses: ArrayLike) -> "Curve":
        """Return a curve of what is usable: finite losses, in order, within the learning rates given.

        Raises:
            ValueError: Lengths differ, a learning rate is not finite or negative, or no loss is left.
        """
        rates = np.asarray(lrs, dtype=np.float64).ravel()
        places = np.asarray(positions, dtype=np.float64).ravel()
        values = np.asarray(losses, dtype=np.float64).ravel()
        if places.size != values.size:
            raise ValueError(
                f"{places.size} positions and {values.size} losses; give each loss the number of steps done before it"
            )
        if not np.all(np.isfinite(rates) & (rates >= 0.0)):
            raise ValueError("a learning rate is negative or not finite; leave such steps out")
        with np.errstate(invalid="ignore"):
            usable = (places >= 1) & (places <= rates.size) & (np.abs(values) < LARGEST_LOSS)
        if not usable.any():
            raise ValueError(
                f"no finite loss lies within the {rates.size} steps whose learning rate is known; "
                "give positions as steps done, from 1 on"
            )
        rising, first = np.unique(places[usable], return_index=True)
        return cls(rates, rising, values[usable][first])

    @classmethod
    def under(
        cls, schedule: Callable[[FloatArray], FloatArray], positions: ArrayLike, losses: ArrayLike
    ) -> "Curve":
        """Return the curve of a run under ``schedule``, which gives the rates at step indices 0, 1, 2, ...

        Raises:
            ValueError: As :meth:`of`.
        """
        places = np.asarray(positions, dtype=np.float64)
        last = int(np.ceil(np.max(places[np.isfinite(places)], initial=0.0)))
        return cls.of(schedule(np.arange(last, dtype=np.float64)), positions, losses)

    @property
    def steps(self) -> int:
        """How many steps the learning rate is known of."""
        return int(self.lrs.size)

    def after(self, first: int) -> "Curve":
        """Return the curve without losses before step ``first``: the law is not about the warm-up.

        Raises:
            ValueError: No loss is left.
        """
        kept = self.positions >= first
        if not kept.any():
            raise ValueError(
                f"no loss from step {first} on; the last is at step {self.positions[-1]}"
            )
        return replace(self, positions=self.positions[kept], losses=self.losses[kept])

    def blocks(self, length: int) -> "Curve":
        """Return the curve with losses averaged in blocks of ``length`` steps: noisy training losses need it."""
        label = np.ceil(self.positions / max(length, 1)).astype(np.int64)
        _, inverse, counts = np.unique(label, return_inverse=True, return_counts=True)
        places = np.bincount(inverse, self.positions) / counts
        means = np.bincount(inverse, self.losses) / counts
        return replace(self, positions=places, losses=means)

    def thinned(self, factor: int) -> "Curve":
        """Return the curve with ``factor`` steps counted as one, at their mean learning rate."""
        if factor <= 1:
            return self
        starts = np.arange(0, self.steps, factor)
        counts = np.diff(np.append(starts, self.steps))
        rates = np.add.reduceat(self.lrs, starts) / counts
        return Curve.of(rates, np.maximum(self.positions / factor, 1.0), self.losses)
