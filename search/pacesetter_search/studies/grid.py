"""``grid``: every combination of evenly spaced values."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pacesetter.protocol import MAX_TRIALS, ExperimentSpec, Range, TrialPlan, Value
from pacesetter.schedules import Tier
from pydantic import Field

from pacesetter_search.contract import Parameters
from pacesetter_search.studies.contract import Progress, StudyStrategy
from pacesetter_search.studies.space import Space, crossed, levels

Points = Annotated[int, Field(ge=1, le=MAX_TRIALS)]
USUAL = 5


class GridParameters(Parameters):
    """Parameters of ``grid``."""

    points: Points | dict[str, Points] = USUAL
    """Values of each range, or of ranges by name (others have 5). Choices have all of theirs."""

    def of(self, name: str) -> int:
        """Return the number of values of a range."""
        return self.points if isinstance(self.points, int) else self.points.get(name, USUAL)


class Grid(StudyStrategy):
    """Tries every combination of evenly spaced values, in a seeded order: cut short, it still covers the space."""

    name: ClassVar[str] = "grid"
    tier: ClassVar[Tier] = "supported"
    parameters_type: ClassVar[type[Parameters]] = GridParameters

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._parameters = (
            parameters if isinstance(parameters, GridParameters) else GridParameters()
        )

    def obstacles(self, spec: ExperimentSpec) -> Iterator[str]:
        """Yield that the grid is larger than ``max_trials``, or that points are given to what is no range."""
        space, sizes = Space.of(spec.space), list[int]()
        # Levels are made no further than until there are too many cells.
        for name, parameter in space.parameters:
            sizes.append(len(levels(parameter, self._parameters.of(name))))
            if math.prod(sizes) > spec.max_trials:
                break
        cells, more = math.prod(sizes), len(sizes) < len(space.parameters)
        if cells > spec.max_trials:
            yield (
                f"a grid of {' x '.join(map(str, sizes))}{' x ...' if more else ''} = {cells} cells"
                f"{' or more' if more else ''} is more than the {spec.max_trials} trials of `max_trials`: raise "
                'that, give ranges fewer values ({"points": {"<name>": 3}}), or choose the strategy random'
            )
        given = self._parameters.points
        ranges = sorted(name for name, one in spec.space.items() if isinstance(one, Range))
        unknown = sorted(given.keys() - set(ranges)) if isinstance(given, dict) else []
        if unknown:
            yield (
                f"`points` names {', '.join(unknown)}, which {'is' if len(unknown) == 1 else 'are'} no range of the "
                f"space; its ranges are {', '.join(ranges) or 'none'}"
            )

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        """Return the next cells."""
        cells = crossed(progress.space.names, self._columns(progress.space))
        order = np.random.default_rng(progress.seed).permutation(len(cells))
        first = progress.planned
        return [
            TrialPlan(
                parameters=cells[int(index)],
                why=f"cell {place} of the {len(cells)} of the grid",
                numbers={"cell": place, "cells": len(cells)},
            )
            for place, index in enumerate(order[first : first + most], first + 1)
        ]

    def _columns(self, space: Space) -> list[tuple[Value, ...]]:
        return [
            levels(parameter, self._parameters.of(name)) for name, parameter in space.parameters
        ]
