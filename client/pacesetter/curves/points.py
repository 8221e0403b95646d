"""A recorded loss curve: losses over steps, and the learning rates that led to them.

A loss that was not measured is NaN. One that was measured and is no number (NaN, an infinity, or too large to square)
is kept as positive infinity: the run has diverged there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pacesetter.errors import CurveError
from pacesetter.schedules.base import FloatArray

LARGEST_LOSS = 1e150
"""Beyond it squares overflow; no loss is there."""

LARGEST_RATE = 1e4
"""Above it a learning rate is one in other units, such as a step number in the wrong column."""

LONGEST = 100_000_000
"""Steps."""

SAME = 1e-9
"""Relative spread of losses up to which they are all the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """A curve that can be used. Make one with :meth:`of`.

    Attributes:
        steps: (n,) steps done, from 0 on, rising; not always whole, as blocks are averaged.
        lrs: (n,) learning rate of those steps; between two rows they lie on a line.
        losses: (n,) losses: NaN where none was measured, infinite where it was no number.
        warmup: Steps over which the rate rose from zero at first.
    """

    steps: FloatArray
    lrs: FloatArray
    losses: FloatArray
    warmup: int = 0

    @classmethod
    def of(
        cls,
        steps: npt.ArrayLike,
        lrs: npt.ArrayLike,
        losses: npt.ArrayLike,
        *,
        measured: npt.ArrayLike | None = None,
        warmup: int = 0,
    ) -> "Points":
        """Return the curve, its rates filled in where a row has none.

        Args:
            steps: (n,) steps done, rising.
            lrs: (n,) learning rates; NaN where a row has none.
            losses: (n,) losses.
            measured: (n,) whether a row has a loss at all; None: those that are not NaN. With it a NaN is a loss.
            warmup: Steps over which the rate rose from zero before the first row, or on the first rows.

        Raises:
            CurveError: It cannot be used; the code says why (``STEPS_NOT_RISING``, ``BAD_LEARNING_RATE``, ...).
        """
        columns = [np.asarray(each, dtype=np.float64).ravel() for each in (steps, lrs, losses)]
        _check_sizes(columns)
        places, rates, values = columns
        has_loss = ~np.isnan(values) if measured is None else np.asarray(measured, dtype=np.bool_)
        _check_steps(places, warmup)
        rates = _filled(places, rates)
        with np.errstate(invalid="ignore"):
            good = np.abs(values) < LARGEST_LOSS
        kept = np.where(has_loss, np.where(good, values, np.inf), np.nan)
        _check_losses(kept)
        return cls(places, rates, kept, warmup)

    @property
    def last(self) -> int:
        """Steps of the whole run, as far as it was recorded."""
        return max(1, round(float(self.steps[-1])))

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """(n,) where there is a loss that is a number."""
        return np.isfinite(self.losses)

    @property
    def diverged(self) -> bool:
        """Whether the last loss that was measured is no number."""
        measured = self.losses[~np.isnan(self.losses)]
        return bool(np.isposinf(measured[-1]))

    def with_warmup(self) -> tuple[FloatArray, FloatArray]:
        """Return steps and rates with the rise from zero that came before the first row, where one was declared."""
        if not 0 < self.warmup < self.steps[0]:
            return self.steps, self.lrs
        return (
            np.append([0.0, float(self.warmup)], self.steps),
            np.append([0.0, self.lrs[0]], self.lrs),
        )


def _check_sizes(columns: Sequence[FloatArray]) -> None:
    steps, lrs, losses = (column.size for column in columns)
    if not steps == lrs == losses:
        raise CurveError(
            f"there are {steps} steps, {lrs} learning rates and {losses} losses",
            code="COLUMNS_DIFFER",
            hint="give each row all three; a value that is not known is null",
        )
    if steps == 0:
        raise CurveError(
            "there is no row", code="TOO_FEW_POINTS", hint="give the losses of a whole run"
        )


def _check_steps(steps: FloatArray, warmup: int) -> None:
    if not np.isfinite(steps).all() or steps[0] < 0.0:
        raise CurveError(
            "a step is missing, not finite or below zero",
            code="STEPS_NOT_RISING",
            hint="give each row the number of optimizer steps done",
        )
    falls = np.flatnonzero(np.diff(steps) <= 0.0)
    if falls.size:
        row = int(falls[0]) + 1
        raise CurveError(
            f"step {steps[row]:g} follows step {steps[row - 1]:g}, and {falls.size} rows in all do not rise",
            code="STEPS_NOT_RISING",
            hint="sort the rows by step, and give each step once",
        )
    if steps[-1] > LONGEST:
        raise CurveError(
            f"the last step is {steps[-1]:g}, and {LONGEST:,} is the most",
            code="STEPS_NOT_RISING",
            hint="count optimizer steps, not tokens or samples",
        )
    if not 0 <= warmup < max(steps[-1], 1.0):
        raise CurveError(
            f"a warm-up of {warmup} steps leaves nothing of {steps[-1]:g}",
            code="BAD_WARMUP",
            hint="give the warm-up in optimizer steps",
        )


def _filled(steps: FloatArray, lrs: FloatArray) -> FloatArray:
    """Return the rates with those that are missing on a line between their neighbours."""
    known = ~np.isnan(lrs)
    rates = lrs[known]
    problem = None
    if rates.size == 0:
        problem = "there is no learning rate"
    elif (rates < 0.0).any():
        problem = f"the learning rate {rates[rates < 0.0][0]:g} is below zero"
    elif (rates > LARGEST_RATE).any():
        problem = (
            f"the learning rate {rates[rates > LARGEST_RATE][0]:g} is above {LARGEST_RATE:g}: it is in "
            "another unit, or another column"
        )
    elif not (rates > 0.0).any():
        problem = "every learning rate is zero"
    if problem is not None:
        raise CurveError(
            problem,
            code="BAD_LEARNING_RATE",
            hint="give the rate of the optimizer's first parameter group, as it ran",
        )
    if known.all():
        return lrs
    filled: FloatArray = np.interp(steps, steps[known], rates)
    return filled


def _check_losses(losses: FloatArray) -> None:
    finite = losses[np.isfinite(losses)]
    if finite.size == 0:
        raise CurveError(
            "no loss is a finite number",
            code="NO_FINITE_LOSS",
            hint="give the losses of a run that trained; null where none was measured",
        )
    if finite.size == 1:
        raise CurveError(
            "there is a single loss", code="TOO_FEW_POINTS", hint="give the losses of a whole run"
        )
    if np.ptp(finite) <= SAME * np.abs(finite).max():
        raise CurveError(
            f"all {finite.size} losses are {finite[0]:g}",
            code="CONSTANT_LOSS",
            hint="a run that trained has losses that change: look into the column",
        )
