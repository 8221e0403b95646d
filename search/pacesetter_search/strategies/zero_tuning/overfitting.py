"""Whether a main line overfits: its validation loss rises although its training loss goes on falling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

WINDOW = 3
"""Validations whose mean is compared with the best mean of as many before: the lowest of noisy values is luck."""

NOISES = 5.0
"""Standard errors that the means must be apart."""

RISE = 0.15
FALL = 0.1
"""Least rise of the log of the validation loss, and fall of the training loss's: less is not worth a risk."""

LATE = 0.8
"""Share of the budget from which the rate is low: two validations then tell how the run will end."""
LATE_WINDOW = 2
LATE_NOISES = 2.0
LARGE_RISE = 0.4
"""What :data:`LATE_NOISES` are enough for: the loss will hardly come down so far any more."""

SMALLEST = 1e-12


class Point(BaseModel):
    """What was known of the main line at the end of one of its pieces."""

    model_config = ConfigDict(extra="forbid")

    position: int
    validation: float
    training: float | None
    """Mean over the piece."""
    kept: str | None
    """Name of the state at its end, as long as the job keeps it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a curve says, and the numbers behind it."""

    overfits: bool
    rise: float
    """Of the validation loss (its log where it can be had), from the best window to the last."""
    noise: float
    """Standard deviation of one validation."""
    fall: float
    """Of the log of the training loss meanwhile."""

    @property
    def numbers(self) -> dict[str, float]:
        """As they are logged."""
        return {"rise": self.rise, "noise": self.noise, "training_fall": self.fall}


def best(curve: Sequence[Point]) -> Point | None:
    """Return the point of the lowest validation loss among those whose state is kept."""
    kept = [point for point in curve if point.kept is not None]
    return min(kept, key=lambda point: point.validation, default=None)


def judge(curve: Sequence[Point], total: int) -> Verdict | None:
    """Return whether the main line overfits; None while the curve is too short to tell.

    The last validations have to stand above all of the best window, by :data:`NOISES` standard errors of the
    difference and by :data:`RISE`, while the training loss fell. The noise is that of neighbouring validations since
    the best, and over the whole curve, whichever is larger: it grows as a model overfits.
    """
    known = [point for point in curve if point.training is not None]
    late = bool(known) and known[-1].position >= LATE * total
    window = LATE_WINDOW if late else WINDOW
    if len(known) < 2 * WINDOW:
        return None
    values = _scaled(np.array([point.validation for point in known]))
    training = np.array([point.training for point in known], dtype=np.float64)
    means = np.convolve(values, np.full(window, 1.0 / window), "valid")
    first = int(np.argmin(means[: len(values) - 2 * window + 1]))
    noise = _noise(values, first)
    rise = float(means[-1] - means[first])
    apart = bool(values[-window:].min() > values[first : first + window].max())
    fall = _fall(training[first : first + window].mean(), training[-window:].mean(), training)
    error = noise * math.sqrt(2.0 / window)
    clear = rise > max(NOISES * error, RISE)
    large = late and rise > max(LATE_NOISES * error, LARGE_RISE)
    return Verdict(apart and (clear or large) and fall > FALL, rise, noise, fall)


def _scaled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return logs; where a loss may be negative, shares of the range that it covered."""
    if (values > 0.0).all():
        return np.log(values)
    return values / max(float(np.ptp(values)), SMALLEST)


def _noise(values: npt.NDArray[np.float64], since: int) -> float:
    steps = np.diff(values)
    usual = float(np.median(np.abs(steps))) / (0.6745 * math.sqrt(2.0))
    lately = math.sqrt(float(np.mean(steps[since:] ** 2)) / 2.0)
    return max(usual, lately, SMALLEST)


def _fall(before: float, after: float, training: npt.NDArray[np.float64]) -> float:
    if (training >= 0.0).all():
        return math.log(max(before, SMALLEST)) - math.log(max(after, SMALLEST))
    return float(before - after) / max(float(np.ptp(training)), SMALLEST)
