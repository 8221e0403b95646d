"""``random``: points that cover the space evenly, however many of them there will be."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pacesetter.protocol import TrialPlan, Value
from pacesetter.schedules import Tier

from pacesetter_search.studies.contract import Progress, StudyStrategy
from pacesetter_search.studies.space import FloatArray, Key, Space, point_at

MOST_LISTED = 65_536
"""Points up to which a finite space is drawn from without repeating."""

LEAST_POWER = 10
"""Of two: points that are drawn before a doubling that adds no different one says that there are no more."""

MOST_POWER = 16
"""Of two: points that are drawn at the most. All trials of an experiment are found among far fewer."""


class RandomSearch(StudyStrategy):
    """Tries points of a scrambled Sobol sequence, each one once; a small finite space in a random order."""

    name: ClassVar[str] = "random"
    tier: ClassVar[Tier] = "supported"

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        """Return the next points."""
        first = progress.planned
        points = covering(progress.space, first + most, progress.seed, first)
        return [
            TrialPlan(
                parameters=point,
                why=f"point {place} of a sequence that covers the space evenly",
                numbers={"point": place},
            )
            for place, point in enumerate(points, first + 1)
        ]


def covering(space: Space, count: int, seed: int, first: int = 0) -> list[dict[str, Value]]:
    """Return ``count`` different points that cover the space, fewer where it has no more; more of them begin alike.

    Args:
        space: Which.
        count: How many.
        seed: Of them.
        first: How many at the beginning are left out.
    """
    size = space.size
    if size is not None and size <= MOST_LISTED:
        order = np.random.default_rng(seed).permutation(size)
        return [point_at(space, int(index)) for index in order[first:count]]
    drawn, power = _different(space, sobol(len(space.names), 1, seed)), 1
    # Whole numbers may fall together, and so may the few floats of a narrow range: more are drawn until enough differ.
    while len(drawn) < count and power < MOST_POWER:
        power, before = power + 1, len(drawn)
        drawn = _different(space, sobol(len(space.names), power, seed))
        if len(drawn) == before and power > LEAST_POWER:
            break
    return drawn[first:count]


def _different(space: Space, places: FloatArray) -> list[dict[str, Value]]:
    found: dict[Key, dict[str, Value]] = {}
    for row in places:
        point = space.point(row)
        found.setdefault(space.key(point), point)
    return list(found.values())


def sobol(dimensions: int, power: int, seed: int) -> FloatArray:
    """Return 2^power points of a scrambled Sobol sequence [Owen1998], (2^power, dimensions) in [0, 1)."""
    # scipy.stats takes half a second to load, and the API process plans no experiment most of the time.
    from scipy.stats.qmc import Sobol

    drawn: FloatArray = Sobol(
        dimensions, scramble=True, rng=np.random.default_rng(seed)
    ).random_base2(power)
    return drawn
