"""From what a log holds to a curve: rows in order, restarts taken back, rates and losses over one set of steps."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pacesetter.curves.points import Points
from pacesetter.curves.tables import Raw, Series
from pacesetter.errors import CurveError
from pacesetter.schedules.base import FloatArray

RESTARTS = 0.01
FEWEST_RESTARTS = 3
"""Places at which steps may fall back: so many, or a hundredth of the rows. With more of them the rows are shuffled."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A curve, and what a person should know of how it was read."""

    points: Points
    notes: tuple[str, ...]


def join(raw: Raw, source: str, warmup: int = 0) -> Joined:
    """Return the curve of a log.

    Where steps fall back, as after a restart from a checkpoint, what was logged beyond that place before is left out.

    Raises:
        CurveError: Rows are shuffled, steps count anew, or the curve cannot be used.
    """
    assert raw.lrs is not None
    assert raw.losses is not None
    notes: list[str] = []
    lrs = _in_order(raw.lrs, source, "learning rates", notes)
    losses = _in_order(raw.losses, source, "losses", notes)
    steps = np.union1d(lrs.steps, losses.steps)
    rates, values = np.full(steps.size, np.nan), np.full(steps.size, np.nan)
    rates[np.searchsorted(steps, lrs.steps)] = lrs.values
    at = np.searchsorted(steps, losses.steps)
    values[at] = losses.values
    measured = np.zeros(steps.size, dtype=np.bool_)
    measured[at] = True
    points = Points.of(steps, rates, values, measured=measured, warmup=warmup)
    if points.diverged:
        notes.append("its losses end in NaN: kept as a run that diverged")
    return Joined(points, tuple(notes))


def _in_order(series: Series, source: str, what: str, notes: list[str]) -> Series:
    """Return what was measured, in the order of its steps, the last row of each."""
    kept = series.measured & ~np.isnan(series.steps)
    steps, values = series.steps[kept], series.values[kept]
    falls = np.flatnonzero(np.diff(steps) < 0.0) + 1
    if falls.size:
        _check_restarts(steps, falls, source)
        back = int(falls[0])
        notes.append(
            f"steps of its {what} fall back at {falls.size} places, first from {steps[back - 1]:g} to "
            f"{steps[back]:g}: what was logged beyond them before is left out"
        )
    if steps.size:
        later = np.append(np.minimum.accumulate(steps[::-1])[::-1][1:], np.inf)
        last = steps < later
        steps, values = steps[last], values[last]
    return Series(steps, values, np.ones(steps.size, dtype=np.bool_))


def _check_restarts(steps: FloatArray, falls: npt.NDArray[np.intp], source: str) -> None:
    if falls.size > max(FEWEST_RESTARTS, RESTARTS * steps.size):
        raise CurveError(
            f"steps of {source} fall back at {falls.size} of {steps.size} rows",
            code="STEPS_NOT_RISING",
            hint="sort the rows by step; one file holds one run",
        )
    if steps[falls].min() <= steps[0]:
        row = int(falls[np.argmin(steps[falls])])
        raise CurveError(
            f"steps of {source} start over: {steps[row]:g} follows {steps[row - 1]:g}",
            code="STEPS_NOT_RISING",
            hint="count steps over the whole run and not in each epoch; give one run a file",
        )
