"""Whether one short run ended better than another on the same batches, beyond what noise explains."""

import math
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from pacesetter_search.strategies.horizon.worth import DETECTED
from pacesetter_search.strategies.refinement.memory import USABLE, ShortRun

LEAST = 0.002
"""Relative gain below which two schedules tie, however quiet the losses are."""

FEWEST_PAIRS = 8
BLOCKS = 8
"""Losses that follow each other move together: their standard error is that of the means of so many blocks."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two short runs show."""

    gain: float
    """By how much the loss of the second is lower, as a share of the first one's."""
    detectable: float
    """The least gain that such runs can show."""
    pairs: int
    validated: bool

    @property
    def better(self) -> bool:
        """Whether the second one ended better."""
        return self.gain > self.detectable

    def numbers(self) -> dict[str, JsonValue]:
        """Return this for the audit trail."""
        return {
            "gain": self.gain,
            "detectable": self.detectable,
            "pairs": self.pairs,
            "validated": self.validated,
        }


def compare(first: ShortRun, second: ShortRun) -> Comparison | str:
    """Return what the two show, or why nothing can be told.

    The losses of the last part are paired by position. The score is the validation loss where both have one.
    """
    pairs = _pairs(first, second)
    if len(pairs) < FEWEST_PAIRS:
        return f"only {len(pairs)} losses of the two short runs can be paired"
    values = np.array(pairs)
    differences = values[:, 0] - values[:, 1]
    blocks = np.array([part.mean() for part in np.array_split(differences, BLOCKS)])
    error = float(blocks.std(ddof=1)) / math.sqrt(BLOCKS)
    before, after = float(values[:, 0].mean()), float(values[:, 1].mean())
    validated = _finite(first.validation) and _finite(second.validation)
    if validated:
        assert first.validation is not None and second.validation is not None
        before, after = first.validation, second.validation
    level = abs(before)
    if not level > 1.0 / USABLE:
        return "the loss is zero: there is no share of it to gain"
    detectable = max(LEAST, DETECTED * error / level)
    gain = (before - after) / level
    if not (math.isfinite(gain) and math.isfinite(detectable)):
        return "the losses of the two short runs are too far apart to compare"
    return Comparison(gain, detectable, len(pairs), validated)


def _pairs(first: ShortRun, second: ShortRun) -> list[tuple[float, float]]:
    losses = dict(second.losses)
    return [(loss, losses[place]) for place, loss in first.losses if place in losses]


def _finite(loss: float | None) -> bool:
    return loss is not None and abs(loss) < USABLE
