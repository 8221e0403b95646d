"""What a trial costs at a place where none ran yet.

FLOPs are a product of powers: of the width squared and of depth, steps and batch, each to within what is known
beforehand. Trials that ended tell the scale and correct the powers, as a Bayesian linear model of the logarithm.
"""

import math
from collections.abc import Iterable

import numpy as np

from pacesetter_search.landscape import FloatArray
from pacesetter_search.studies.cells import Cell, Names
from pacesetter_search.studies.contract import Finished

POWERS = ((1.9, 0.2), (1.0, 0.1), (1.0, 0.02), (1.0, 0.1))
"""Mean and sd of the powers of width, depth, steps and batch. Embeddings bring the width below 2: a byte LM has 1.8
between width 32 and 256."""

NOISE = 0.15
"""Octaves that a cell is off the powers by: that of the width rises towards 2, so two narrow cells do not settle it."""

NO_SCALE = 60.0
"""Octaves: nothing is known of the scale beforehand."""


class Costs:
    """A model of FLOPs, fitted to what trials took.

    Args:
        finished: Those without a score or without FLOPs say nothing.
        names: Of the parameters.
    """

    def __init__(self, finished: Iterable[Finished], names: Names) -> None:
        told = [one for one in finished if one.score is not None and one.cost.flops > 0.0]
        self.measured = bool(told)
        """Whether FLOPs are known; else they are in units of a cell of ones."""
        mean = np.array([0.0, *(power for power, _ in POWERS)])
        variance = np.diag(np.square([NO_SCALE, *(sd for _, sd in POWERS)]))
        if told:
            rows = np.array([_row(Cell.of(one.parameters, names)) for one in told])
            logs = np.log2([one.cost.flops for one in told])
            covariance = rows @ variance @ rows.T + NOISE**2 * np.eye(len(told))
            mean = mean + variance @ rows.T @ np.linalg.solve(covariance, logs - rows @ mean)
        self._mean: FloatArray = mean

    def flops(self, cell: Cell) -> float:
        """Return the FLOPs that are expected of a trial in a cell."""
        return math.exp2(float(_row(cell) @ self._mean))

    def share(self, cell: Cell, target: Cell) -> float:
        """Return the cost of a trial over that of one at the target."""
        return math.exp2(float((_row(cell) - _row(target)) @ self._mean))


def _row(cell: Cell) -> FloatArray:
    logs = np.log2([cell.width, cell.depth, cell.steps, cell.batch])
    return np.concatenate(([1.0], logs))
