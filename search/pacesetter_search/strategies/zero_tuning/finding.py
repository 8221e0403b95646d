"""What the rungs of a job say by themselves, for jobs to come."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pacesetter.schedules import Linear, Schedule

from pacesetter_search.memory.records import FoundPeak
from pacesetter_search.strategies.zero_tuning import shapes
from pacesetter_search.strategies.zero_tuning.evidence import Cells, Rung, log_likelihood
from pacesetter_search.strategies.zero_tuning.posterior import GRID, at_horizon, ceiling_of
from pacesetter_search.strategies.zero_tuning.prior import Prior, unbiased

LOOKED_AROUND = 2.0
"""Octaves around the middle of the rungs within which their likelihood is summed up as a normal; taken out again."""

SAYS_SOMETHING = 3.5
"""Octaves of the standard deviation from which on rungs say nothing. Rungs that only say on which side of them the best
rate lies are kept: without them, what is kept would lie too near to where rungs were sent."""


def found_peaks(
    rungs: Sequence[Rung], start: float | None, prior: Prior | None = None
) -> tuple[FoundPeak, ...]:
    """Return the best peak at each length that has two rungs with a score, under no belief of where it lies.

    Args:
        rungs: All of a job.
        start: Score of the untrained model.
        prior: Of the landscape; None: of a regime of which nothing is known. Its optimum does not count.
    """
    by_length: dict[float, list[Rung]] = defaultdict(list)
    for rung in rungs:
        by_length[rung.horizon].append(rung)
    landscape = prior or unbiased("other")
    found = [_found(length, by_length[length], start, landscape) for length in sorted(by_length)]
    return tuple(one for one in found if one is not None)


def _found(
    length: float, rungs: Sequence[Rung], start: float | None, prior: Prior
) -> FoundPeak | None:
    scores = [rung.score for rung in rungs]
    if sum(score is not None for score in scores) < 2:
        return None
    cells = at_horizon(Cells.of(prior), prior, length)
    logs = log_likelihood(rungs, GRID, cells, prior, ceiling_of(scores, start))
    likely = np.exp(logs - logs.max()) @ cells.weight
    middle = float(np.mean([rung.log2_lr for rung in rungs]))
    weights = likely * np.exp(-0.5 * ((GRID - middle) / LOOKED_AROUND) ** 2)
    weights /= weights.sum()
    mean = float(weights @ GRID)
    variance = float(weights @ (GRID - mean) ** 2)
    precision = 1.0 / variance - 1.0 / LOOKED_AROUND**2
    if precision <= SAYS_SOMETHING**-2:
        return None
    alone = (mean / variance - middle / LOOKED_AROUND**2) / precision
    return FoundPeak(share=length, log2_lr=alone + _to_linear(), sd=math.sqrt(1.0 / precision))


def _to_linear() -> float:
    """Return how many octaves the best peak of a linear decay lies above that of the rungs' shape."""
    return shapes.octaves_from_rungs(Schedule(length=1000, body=Linear()))
