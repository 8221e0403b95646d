"""A recorded loss curve, together with the learning rates that led to it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from pacesetter_search.losses import LARGEST_LOSS

FloatArray = npt.NDArray[np.float64]

MOST_POINTS = 2000
"""Losses of a curve in a fit; of more they are averaged in blocks."""

MOST_BEYOND = 0.5
"""Share of losses past the last known learning rate from which on positions are taken for those of another clock."""


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
            ValueError: Lengths differ, a learning rate is not finite or negative, no loss is left, or most of them lie
                beyond the learning rates.
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
            beyond = int(np.count_nonzero(places > rates.size))
        if not usable.any():
            raise ValueError(
                f"no finite loss lies within the {rates.size} steps whose learning rate is known; "
                "give positions as steps done, from 1 on"
            )
        if beyond > MOST_BEYOND * places.size:
            raise ValueError(
                f"{beyond} of {places.size} losses lie beyond the {rates.size} steps whose learning rate is known; "
                "give positions in steps done (not in tokens), and the learning rate of every step"
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

    @property
    def peak(self) -> float:
        """The largest learning rate."""
        return float(np.max(self.lrs))

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

    def at_most(self, points: int) -> "Curve":
        """Return the curve with its losses averaged in blocks, where it has more than so many."""
        if self.positions.size <= points:
            return self
        return self.blocks(-(-int(np.ceil(self.positions[-1])) // points))

    def thinned(self, factor: int) -> "Curve":
        """Return the curve with ``factor`` steps counted as one, at their mean learning rate."""
        if factor <= 1:
            return self
        rates = thinned(self.lrs, factor)
        return Curve.of(rates, np.maximum(self.positions / factor, 1.0), self.losses)

    def active(self) -> "Curve":
        """Return the curve without the steps at a rate of zero, which move nothing, and the losses before any other."""
        rates, places = active(self.lrs, self.positions)
        if rates.size == self.lrs.size:
            return self
        kept = places >= 1.0
        return replace(self, lrs=rates, positions=places[kept], losses=self.losses[kept])


def thinned(lrs: FloatArray, factor: int) -> FloatArray:
    """Return the mean rate of every ``factor`` steps, (ceil(steps / factor),)."""
    if factor <= 1:
        return lrs
    starts = np.arange(0, lrs.size, factor)
    counts = np.diff(np.append(starts, lrs.size))
    means: FloatArray = np.add.reduceat(lrs, starts) / counts
    return means


def active(lrs: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the rates above zero, and ``positions`` counted in their steps alone."""
    moving = lrs > 0.0
    if moving.all():
        return lrs, positions
    done = np.append(0.0, np.cumsum(moving))
    return lrs[moving], np.interp(positions, np.arange(done.size), done)
