"""The range test: one frozen batch, the rate rising through all octaves, and where the loss turned.

One batch again and again, so that what changes is the rate and not the data: on moving batches the noise of a
regression loss has stopped such a test at a rate of 1e-7.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pacesetter.protocol import StopClause, StopIfAboveFirst, StopIfNonFinite
from pacesetter.schedules import Schedule
from pacesetter.schedules.table import Table

from pacesetter_search.strategies.zero_tuning.evidence import RangeEvidence
from pacesetter_search.strategies.zero_tuning.prior import Prior

LOWEST, HIGHEST = -24.0, 5.0
"""``log2`` of the first and the last rate (pilot): from where no weight moves to where everything diverges."""

NARROWEST = 9.0
"""Octaves below which there is nothing to test: the loss has to be flat first, and then to turn."""

SHARE, SHORTEST, LONGEST = 0.015, 20, 1000
"""Length: a share of the budget, and bounds on it in steps (pilot; beyond 1000 steps an octave has 35)."""

POINTS = 400
"""Levels of the rate: a 14th of an octave each."""

STOP_RATIO = 2.0
"""Times the first loss at which the client ends the test. The verdict reads the rows and turns earlier, so this only
saves steps, and a noisy first loss does no harm."""

RISE, FALL, REBOUND = 0.3, 0.1, 0.7
"""Shares (pilot): turned if 30 % above the first loss, or after a fall of 10 % when 70 % of the fall is lost again."""

SPREADS_RISE, SPREADS_FALL = 3.0, 2.0
"""The same in largest deviations of the flat part: losses near zero or below have no meaningful shares."""

FLAT = -16.0
"""``log2`` of the rate below which no loss of any optimizer moved by more than 4 % (16 generated tasks)."""

FEWEST_ROWS = 3

NOISY_SD = 1.5
"""Factor on the standard deviation where the flat part is noisy: a frozen batch was not possible, or dropout is on."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a range test says."""

    evidence: RangeEvidence | None
    """None where nothing can be said: it turned at once, or hardly anything was measured."""
    start: float | None
    """Loss of the untrained model; None where it was not finite."""
    spread: float
    """Largest deviation of the loss from ``start`` while the rate was too low to matter."""


def policy(length: int, highest: float, scale: float, *, absolute: bool) -> Schedule:
    """Return the schedule of the test: ``log2`` of the rate rises linearly.

    Args:
        length: In the job's clock.
        highest: ``log2`` of the last rate.
        scale: Base rate of the first group.
        absolute: Whether the schedule is in absolute rates.
    """
    points = max(min(POINTS, length), 2)
    places = np.arange(points) / points
    values = np.exp2((highest - LOWEST) * (places - places[-1]))
    positions = (*places.tolist(), 1.0)
    table = Table(positions=positions, values=(*values.tolist(), 1.0), interpolation="hold")
    peak = math.exp2(highest)
    return Schedule(
        length=length,
        peak=peak if absolute else peak / scale,
        unit="absolute" if absolute else "relative",
        body=table,
    )


def length_of(total: int, clock: str, allowed: int) -> int:
    """Return how long the test is, in the job's clock, at most ``allowed``."""
    wanted = math.ceil(SHARE * total)
    if clock == "steps":
        wanted = min(max(wanted, SHORTEST), LONGEST)
    return min(wanted, allowed)


def clauses(*, trusting: bool) -> tuple[StopClause, ...]:
    """Return what ends the test early; ``trusting`` includes a rise above the first loss."""
    if not trusting:
        return (StopIfNonFinite(),)
    return StopIfNonFinite(), StopIfAboveFirst(ratio=STOP_RATIO)


def judge(rates: Sequence[float], losses: Sequence[float | None], prior: Prior) -> Verdict:
    """Return where the loss turned.

    Args:
        rates: ``log2`` of the rate of every row, rising.
        losses: Loss of every row; None where it was not finite.
        prior: Standard deviation of the evidence.
    """
    flat_rows = max(FEWEST_ROWS, sum(rate < FLAT for rate in rates))
    flat = [loss for loss in losses[:flat_rows] if loss is not None]
    if len(flat) < flat_rows:
        return Verdict(None, float(np.median(flat)) if flat else None, 0.0)
    start = float(np.median(flat))
    spread = max(abs(loss - start) for loss in flat)
    index = _turn(losses, start, spread)
    noisy = spread > FALL * abs(start)
    sd = prior.range_sd * (NOISY_SD if noisy else 1.0)
    if index is None:
        # In noise nobody can tell that a loss did not turn.
        return Verdict(None if noisy else RangeEvidence(rates[-1], sd, turned=False), start, spread)
    if index < flat_rows:
        return Verdict(None, start, spread)
    return Verdict(RangeEvidence(rates[index], sd), start, spread)


def _turn(losses: Sequence[float | None], start: float, spread: float) -> int | None:
    """Return the first row at which the loss has turned."""
    up = max(RISE * abs(start), SPREADS_RISE * spread)
    down = max(FALL * abs(start), SPREADS_FALL * spread)
    lowest = start
    for index, loss in enumerate(losses):
        if loss is None or loss > start + up > start:
            return index
        lowest = min(lowest, loss)
        fallen = start - lowest
        if fallen > down and loss > lowest + max(REBOUND * fallen, SPREADS_RISE * spread):
            return index
    return None
