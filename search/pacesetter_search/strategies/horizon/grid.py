"""Learning rates on a grid of equal cells: what the laws are fitted on and predict over."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from pacesetter.schedules import Schedule

from pacesetter_search.contract import JobFacts
from pacesetter_search.laws import Curve
from pacesetter_search.strategies.horizon.memory import Fork, Memory, Stretch

FloatArray = npt.NDArray[np.float64]

CELLS = 2000
"""Cells over the budget: 20 in a probe of one per cent of it."""

TAIL_CELLS = 240
"""Cells over the rest of the budget when candidates are compared: a decay needs no more."""

WARMUP_LEFT_OUT = 0.02
"""Share of the budget whose losses no law is fitted to [schedules-and-laws: 1-3 %]."""


def divisor(job: JobFacts) -> float:
    """Return what turns values of the job's own schedules into multipliers of its first group's base rate."""
    return job.groups[0].base_lr if job.base.unit == "absolute" else 1.0


def cell(job: JobFacts) -> float:
    """Return the width of one cell, in the job's clock."""
    return job.budget.total / CELLS


def cells(
    evaluate: Callable[[FloatArray], FloatArray], start: float, end: float, width: float
) -> FloatArray:
    """Return the mean multiplier of each cell between two positions.

    The last cell is short as a rule; its rate is scaled down by as much, which is the same to a law whose time is the
    sum of rates.
    """
    count = max(int(np.ceil((end - start) / width - 1e-9)), 1)
    edges = np.minimum(start + width * np.arange(count + 1), end)
    rates = evaluate(0.5 * (edges[1:] + edges[:-1])) * np.diff(edges) / width
    return np.asarray(np.maximum(rates, 0.0), dtype=np.float64)


def trunk(job: JobFacts, line: Sequence[Stretch], end: float) -> FloatArray:
    """Return the cells of the main line from 0 to ``end``."""
    scale = divisor(job)

    def evaluate(positions: FloatArray) -> FloatArray:
        values = job.base.over(positions)
        for stretch in line:
            values = np.where(positions >= stretch.start, stretch.policy.over(positions), values)
        return np.asarray(values / scale, dtype=np.float64)

    return cells(evaluate, 0.0, end, cell(job))


def main_curve(job: JobFacts, memory: Memory) -> Curve:
    """Return the main line as a curve, without its first two per cent.

    Raises:
        ValueError: Nothing of it was measured yet.
    """
    places, losses, _ = memory.track.points()
    end = max(places, default=0.0) + 1.0
    skip = WARMUP_LEFT_OUT * CELLS + 1
    positions = np.asarray(places) / cell(job)
    return Curve.of(trunk(job, memory.line, end), positions, losses).after(int(skip))


def fork_curve(job: JobFacts, memory: Memory, fork: Fork) -> Curve:
    """Return a probe as a curve that begins with the main line.

    Raises:
        ValueError: Nothing of it was measured.
    """
    width, scale = cell(job), divisor(job)
    before = trunk(job, [one for one in memory.line if one.start < fork.start], float(fork.start))
    end = max(fork.positions, default=float(fork.start)) + 1.0
    own = cells(fork.policy.over, float(fork.start), end, width) / scale
    positions = before.size + (np.asarray(fork.positions) - fork.start) / width
    return Curve.of(np.concatenate([before, own]), positions, fork.losses)


def tails(job: JobFacts, policies: Sequence[Schedule], start: int, width: float) -> FloatArray:
    """Return the cells of ``width`` of each policy from ``start`` to the end of the budget, (policies, cells)."""
    total, scale = job.budget.total, divisor(job)
    return np.vstack([cells(policy.over, start, total, width) for policy in policies]) / scale
