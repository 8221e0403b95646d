"""Whether a smoothed loss has risen, and which multiplier it was good at."""

import math
from typing import Any

SMOOTHING = 0.9
"""Share of the average that stays at a step: about ten steps count."""


class Rise:
    """Watches the running mean of a loss.

    Args:
        ratio: It has risen once it stands so many times its least.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._average: float | None = None
        self._least = math.inf
        self._good: float | None = None

    def judge(self, loss: float, multiplier: float) -> float | None:
        """Take in the loss of a step that ran at ``multiplier``; return the good one to go back to, if it has risen."""
        average = self._average
        broken = not math.isfinite(loss)
        if not broken:
            average = loss if average is None else SMOOTHING * average + (1.0 - SMOOTHING) * loss
            self._average = average
            if average <= self._least:
                self._least, self._good = average, multiplier
                return None
        risen = average is not None and 0.0 < self._ratio * self._least < average
        if not (risen or broken):
            return None
        good = multiplier if self._good is None else min(self._good, multiplier)
        # From here on the loss is judged anew: what was reached at another rate is no measure any more.
        self._least, self._good = (average, good) if average is not None else (math.inf, good)
        return good

    def document(self) -> dict[str, Any]:
        """Return what is known as JSON values."""
        least = self._least if math.isfinite(self._least) else None
        return {"average": self._average, "least": least, "good": self._good}

    def load(self, document: dict[str, Any]) -> None:
        """Take over what :meth:`document` returned."""
        self._average, self._good = document["average"], document["good"]
        least = document["least"]
        self._least = math.inf if least is None else float(least)
