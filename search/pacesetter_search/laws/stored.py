"""Laws as they are kept: fitted to named curves, with all that it takes to use them later."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pacesetter.curves import Points
from pydantic import BaseModel, ConfigDict

from pacesetter_search.laws.any import AnyFittedLaw
from pacesetter_search.laws.base import LawNotFitted
from pacesetter_search.laws.curves import Curve, FloatArray
from pacesetter_search.laws.ensemble import EnsembleLaw
from pacesetter_search.laws.identification import misfits

LEFT_OUT = 0.02
"""Share of a run's first steps that no law is about: warm-up, and the fall from the untrained model."""

MOST_POINTS, FEWEST_POINTS, MOST_IN_ALL = 300, 60, 2400
"""Points of a curve that are fitted, in blocks of averaged losses: fewer of each where there are many curves."""

MOST_STEPS = 50_000
"""Steps of a curve in a fit; of a longer run one stands for several."""


@dataclass(frozen=True, slots=True)
class NamedCurve:
    """A curve under the name that answers call it by."""

    name: str
    points: Points

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.points.last

    def curve(self, factor: int, most: int) -> Curve:
        """Return it ready for a fit: without its first steps, averaged in blocks, ``factor`` steps counted as one.

        Args:
            factor: Steps of the run that one of the curve's stands for.
            most: Points or so to keep.

        Raises:
            ValueError: No finite loss is left.
        """
        steps, lrs = self.points.with_warmup()
        rates = mean_rates(steps, lrs, self.steps, factor)
        measured = self.points.finite & (self.points.steps >= 1.0)
        if not measured.any():
            raise ValueError(
                f"curve {self.name!r} has no finite loss; give one of a run that trained"
            )
        kept = Curve(rates, self.points.steps[measured], self.points.losses[measured])
        kept = kept.after(max(1, int(LEFT_OUT * self.steps)))
        kept = kept.blocks(max(1, -(-self.steps // most)))
        return Curve.of(rates, np.maximum(kept.positions / factor, 1.0), kept.losses)


class FittedTo(BaseModel):
    """A curve that a law was fitted to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    steps: int
    points: int
    residual: float
    """Mean relative error of the fit on it."""


def fit_stored(curves: Sequence[NamedCurve]) -> tuple[AnyFittedLaw, tuple[FittedTo, ...]]:
    """Return the ensemble fitted to curves of one peak, in steps of the runs, and how well it describes each.

    Args:
        curves: At least one.

    Raises:
        LawNotFitted: The curves carry no fit, or contradict each other; the message names the one.
        ValueError: One has no finite loss left.
    """
    stride = -(-max(each.steps for each in curves) // MOST_STEPS)
    most = max(FEWEST_POINTS, min(MOST_POINTS, MOST_IN_ALL // len(curves)))
    names, fitted = [each.name for each in curves], [each.curve(stride, most) for each in curves]
    try:
        law = EnsembleLaw(stride=stride).fit(fitted)
    except LawNotFitted as error:
        raise LawNotFitted(_named(str(error), names)) from error
    warnings = tuple(_named(each, names) for each in law.warnings)
    evidence = tuple(
        FittedTo(name=each.name, steps=each.steps, points=curve.losses.size, residual=float(off))
        for each, curve, off in zip(curves, fitted, misfits(law, fitted), strict=True)
    )
    return law.thinned(1.0 / stride).model_copy(update={"warnings": warnings}), evidence


def _named(sentence: str, names: Sequence[str]) -> str:
    """Return a sentence that calls curves by their names instead of their numbers."""
    return re.sub(
        r"curve (\d+) of \d+", lambda found: f"curve {names[int(found[1]) - 1]!r}", sentence
    )


def mean_rates(steps: FloatArray, lrs: FloatArray, last: int, factor: int) -> FloatArray:
    """Return the mean rate of every ``factor`` steps of a run, (ceil(last / factor),).

    The rate of step i, of 1 to ``last``, lies on the line between the rows around it; before the first row and after
    the last it is theirs. What the sums of rates and of their drops need of long runs, without a value a step.
    """
    if factor == 1:
        rates: FloatArray = np.interp(np.arange(1, last + 1), steps, lrs)
        return rates
    edges = np.append(np.arange(0, last, factor), last)
    sums = _summed(steps, lrs, last, edges)
    # A difference of large sums may come out a little below a rate of zero.
    means: FloatArray = np.maximum(np.diff(sums) / np.diff(edges), 0.0)
    return means


def _summed(
    steps: FloatArray, lrs: FloatArray, last: int, upto: npt.NDArray[np.int64]
) -> FloatArray:
    """Return the sum of the rates of steps 1 to each of ``upto``: n f + d n (n - 1) / 2 for n steps of slope d."""
    first = np.clip(np.ceil(steps), 1, last + 1)
    starts = np.append(1.0, first)
    values = np.interp(starts, steps, lrs)
    counts = np.diff(np.append(starts, last + 1.0))
    slopes = np.zeros(starts.size)
    # Between rows that are a hair apart lies one step at most: no slope, which might be beyond any number.
    sloped = np.flatnonzero(counts[1:-1] > 1.0) + 1
    slopes[sloped] = (lrs[sloped] - lrs[sloped - 1]) / (steps[sloped] - steps[sloped - 1])
    whole = counts * values + slopes * counts * (counts - 1.0) / 2.0
    before = np.append(0.0, np.cumsum(whole))
    at = np.searchsorted(starts, upto, side="right") - 1
    at = np.maximum(at, 0)
    count = upto - starts[at] + 1.0
    sums: FloatArray = before[at] + count * values[at] + slopes[at] * count * (count - 1.0) / 2.0
    return sums
