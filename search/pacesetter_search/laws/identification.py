"""What curves can tell at all: whether decay is told from progress, and how fast a drop of the rate is felt."""

from collections.abc import Sequence

import numpy as np

from pacesetter_search.laws.base import FittedLaw, after
from pacesetter_search.laws.curves import MOST_POINTS, Curve, FloatArray
from pacesetter_search.laws.sums import Sums, default_memory

SIMILAR = 0.05
"""Share of the variance of S2 not explained by S1 alone, below which decay and progress cannot be told apart.

A cosine alone is at .02: its fit is perfect, and its predictions for a WSD run at 25M are off by ten times their sd.
"""

DECAY_NOT_TOLD = (
    "these curves do not tell the response to decay from progress; add one with a step or a cooldown (a short cooldown "
    "branch of a long run is enough)"
)

PEAKS_APART = 1.5
"""Ratio of peak learning rates above which curves are not of one peak."""

SHARP = 0.1
"""Share of a run within which its rate falls from .95 to half of the peak: a WSD tail of a fifth does, .4 does not."""

FEWEST_AFTER = 5
"""Losses after such a fall that make it evidence."""

MISFIT = 0.02
"""Mean relative error on a fitted curve that is said. Laws describe what they are about to .1 to .5 %."""


def tells_decay(curves: Sequence[Curve]) -> bool:
    """Return whether decay and progress can be told apart."""
    return _unexplained(curves) >= SIMILAR


def falls_sharply(curves: Sequence[Curve]) -> bool:
    """Return whether a curve shows a step or a short cooldown: they tell how fast a drop of the rate is felt."""
    return any(_is_sharp(curve) for curve in curves)


def of_several_peaks(curves: Sequence[Curve]) -> bool:
    """Return whether the curves differ in their peak learning rate."""
    peaks = [curve.peak for curve in curves]
    return max(peaks) > PEAKS_APART * min(peaks)


def one_peak_warnings(curves: Sequence[Curve], instead: str) -> list[str]:
    """Return what the curves cannot tell a law of one peak learning rate, and what to do ``instead`` of it."""
    found = [] if tells_decay(curves) else [DECAY_NOT_TOLD]
    if of_several_peaks(curves):
        found.append(
            "the curves have different peak learning rates, across which this law does not hold (errors of 1 to 3 %); "
            + instead
        )
    return found


def misfits(law: FittedLaw, curves: Sequence[Curve]) -> FloatArray:
    """Return the mean relative error of the law on each curve, (curves,); 0 where a curve never left a rate of zero."""
    errors = []
    for curve in curves:
        few = curve.at_most(MOST_POINTS)
        mean = law.predict(few.lrs, few.positions).mean if curve.peak > 0.0 else few.losses
        errors.append(np.mean(np.abs(mean / few.losses - 1.0)))
    return np.array(errors)


def misfit_warnings(errors: FloatArray) -> list[str]:
    """Return a sentence for each curve that a law does not describe."""
    return [
        f"curve {number} of {errors.size} lies {100.0 * error:.2g} % off the fit: is it of the same model, data and "
        "units as the others, and did it not diverge?"
        for number, error in enumerate(errors, 1)
        if error > MISFIT
    ]


def _is_sharp(curve: Curve) -> bool:
    high = np.flatnonzero(curve.lrs >= 0.95 * curve.peak)
    below = np.flatnonzero(curve.lrs[high[-1] :] <= 0.5 * curve.peak)
    if not below.size or below[0] > SHARP * curve.steps:
        return False
    return int(np.count_nonzero(curve.positions > high[-1] + 1)) >= FEWEST_AFTER


def _unexplained(curves: Sequence[Curve]) -> float:
    """Return which share of the variance of S2 a cubic in log S1 leaves, at the measured points of all curves."""
    sums = Sums.of(curves, default_memory(curves, 1.0))
    pairs = [tuple(after(term, c.positions) for term in sums.terms(c.lrs)) for c in curves]
    signal, annealed = (np.concatenate(column) for column in zip(*pairs, strict=True))
    log_signal = np.log(np.maximum(signal, 1e-12))
    terms = np.vander(log_signal - np.mean(log_signal), 4)
    fitted = terms @ np.linalg.lstsq(terms, annealed, rcond=None)[0]
    total = float(np.var(annealed))
    return float(np.var(annealed - fitted)) / total if total > 0.0 else 0.0
