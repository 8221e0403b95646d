"""From the losses that rungs ended with to scores that the surrogate can compare."""

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from pacesetter_search.strategies.zero_tuning.evidence import Rung

SMALLEST_SPAN = 0.5
"""Of the median absolute loss: the least that counts as the whole range where losses are not positive."""


class Measured(BaseModel):
    """What a rung ended with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: int
    log2_lr: float
    loss: float | None
    """Validation loss, else the mean training loss of the last fifth; None: it diverged."""


def scored(
    measured: Sequence[Measured], start: float | None, total: int
) -> tuple[list[Rung], float | None]:
    """Return rungs with scores, and the score of the untrained model.

    Where every loss is positive the score is its logarithm, so that a difference is a share of the loss. Else (minus a
    return, a log-likelihood) it is the loss over the range of all losses seen, or over half of their median size if
    that is more: a difference then is a share of what can be learned, and two equal losses are not blown up.

    Args:
        measured: All rungs.
        start: Loss of the untrained model, if known.
        total: The budget, in the unit of the rungs' lengths.
    """
    losses = [one.loss for one in measured if one.loss is not None]
    known = losses if start is None else [*losses, start]
    if all(loss > 0.0 for loss in known):
        scores = [None if one.loss is None else math.log(one.loss) for one in measured]
        first = None if start is None else math.log(start)
    else:
        sizes = sorted(abs(loss) for loss in known)
        span = max(max(known) - min(known), SMALLEST_SPAN * sizes[len(sizes) // 2], 1e-300)
        scores = [None if one.loss is None else one.loss / span for one in measured]
        first = None if start is None else start / span
    rungs = [
        Rung(one.length / total, one.log2_lr, score)
        for one, score in zip(measured, scores, strict=True)
    ]
    return rungs, first
