"""The best shape of all under a law: a falling line through many points, found by projected gradients.

The peak is given. After the warm-up the rate may only fall, and so slowly that a fall of the whole peak would take 5 %
of the steps, as nobody has measured shorter ones. In the drops between neighbouring points these are bounds and one
sum, onto which a point is projected exactly.
"""

from collections.abc import Callable

import numpy as np
from pacesetter.schedules import Schedule, Table, Warmup

from pacesetter_search.laws.base import FittedLaw
from pacesetter_search.laws.choice.ranking import SHORTEST_TAIL, final, outside
from pacesetter_search.laws.choice.tuning import Frame, Judge, Tuned, optimise_family
from pacesetter_search.laws.choice.zoo import learning_rates, zoo
from pacesetter_search.laws.curves import FloatArray

POINTS = 32
"""Drops between points, denser towards the end, where the rate moves most."""

ROUNDS = 60
CLOSE, PATIENCE = 1e-6, 4
"""Relative loss by which a round has to win, and how many in a row may fail to."""

STEP = 1e-3
"""Of the drops, in the differences that gradients are taken from."""

STARTS = 2
"""Best families of the zoo that the search starts from, beside the best plateau with a tail of some power."""

SLACK = 1e-9


def optimise_free(law: FittedLaw, steps: int, base_lr: float, warmup: int = 0) -> Tuned:
    """Return the free shape that ends lowest under a law, as a schedule of family ``table``.

    It is never worse under the law than any family of the zoo that keeps to the same constraints: the search starts
    from the best of them.

    Args:
        law: In steps of the job.
        steps: Length of the run.
        base_lr: Peak, in the unit of the fitted curves.
        warmup: Steps of the rise.

    Raises:
        ValueError: The warm-up leaves nothing of the length, or the peak lies above what was fitted.
    """
    frame = Frame(steps, base_lr, warmup)
    judge = Judge(law, frame)
    grid = Grid(frame)
    starts = _starts(judge, grid)
    found = [descend(lambda drops: judge.loss(grid.schedule(drops)), each, grid) for each in starts]
    candidates = [grid.schedule(drops) for drops in found] + _families(judge)
    losses = [float(final(law, learning_rates(each, base_lr)).mean[0]) for each in candidates]
    best = candidates[int(np.argmin(losses))]
    if (why := outside(law, learning_rates(best, base_lr))) is not None:
        raise ValueError(f"no shape lies inside of what was fitted: {why}")
    return judge.tuned(best, {}, ["a free shape follows the law into what nobody has run"])


class Grid:
    """The points of a free shape over a frame."""

    def __init__(self, frame: Frame, points: int = POINTS) -> None:
        self.frame = frame
        # Quadratic: the last spacing is a thousandth of the run.
        self.places: FloatArray = 1.0 - (1.0 - np.arange(points + 1) / points) ** 2
        self.most: FloatArray = np.diff(self.places) * frame.longest_tail / SHORTEST_TAIL

    def schedule(self, drops: FloatArray) -> Schedule:
        """Return the schedule that falls by ``drops``, (points,), between its places."""
        values = np.clip(1.0 - np.append(0.0, np.cumsum(drops)), 0.0, 1.0)
        return _table(self.frame, self.places, values)

    def drops_of(self, schedule: Schedule) -> FloatArray:
        """Return the drops nearest to those of a schedule, (points,)."""
        frame = self.frame
        places = frame.warmup + self.places * (frame.steps - frame.warmup)
        values = schedule.over(np.minimum(places, frame.steps - 1.0)) / schedule.peak
        return self.projected(np.append(1.0 - values[1], -np.diff(values[1:])))

    def projected(self, drops: FloatArray) -> FloatArray:
        """Return the nearest drops that are allowed: at least 0, at most what 5 % of the steps take, 1 in all."""
        kept = np.clip(drops, 0.0, self.most)
        if np.sum(kept) <= 1.0:
            return kept
        low, high = 0.0, float(np.max(drops))
        for _ in range(60):
            middle = 0.5 * (low + high)
            if np.sum(np.clip(drops - middle, 0.0, self.most)) > 1.0:
                low = middle
            else:
                high = middle
        return np.clip(drops - high, 0.0, self.most)


def descend(
    loss: Callable[[FloatArray], float], start: FloatArray, grid: Grid, rounds: int = ROUNDS
) -> FloatArray:
    """Return where projected gradients lead from ``start``, by Barzilai and Borwein's steps, never to a higher loss."""
    here, value = start, loss(start)
    slope = _gradient(loss, here, value)
    length = 0.05 / max(float(np.max(np.abs(slope))), 1e-12)
    idle = 0
    for _ in range(rounds):
        there, reached = here, value
        for _ in range(12):
            there = grid.projected(here - length * slope)
            reached = loss(there)
            if reached < value:
                break
            length *= 0.3
        idle = 0 if reached < value * (1.0 - CLOSE) else idle + 1
        if idle == PATIENCE or not reached < value:
            return there if reached < value else here
        new_slope = _gradient(loss, there, reached)
        moved, bent = there - here, new_slope - slope
        curved = float(moved @ bent)
        length = float(moved @ moved) / curved if curved > 1e-15 else 2.0 * length
        here, value, slope = there, reached, new_slope
    return here


def _gradient(loss: Callable[[FloatArray], float], drops: FloatArray, value: float) -> FloatArray:
    """Return the derivatives of the loss by the drops, from steps into the range where there is room."""
    total = float(np.sum(drops))
    slopes = np.empty_like(drops)
    for place in range(drops.size):
        step = STEP if total + STEP <= 1.0 else -STEP
        if step < 0.0 and drops[place] < STEP:
            step = STEP  # the schedule is cut off at zero, and its loss stays continuous there
        moved = drops.copy()
        moved[place] += step
        slopes[place] = (loss(moved) - value) / step
    return slopes


def _starts(judge: Judge, grid: Grid) -> list[FloatArray]:
    """Return the drops of the families that end lowest."""
    frame = judge.frame
    schedules = zoo(frame.steps, frame.base_lr, frame.warmup).values()
    drops = [grid.drops_of(each) for each in schedules]
    best = sorted(drops, key=lambda each: judge.loss(grid.schedule(each)))[:STARTS]
    tuned = optimise_family(judge.law, "wsd power", frame.steps, frame.base_lr, frame.warmup)
    return [*best, grid.drops_of(tuned.schedule)]


def _families(judge: Judge) -> list[Schedule]:
    """Return the best families that keep to the constraints, as tables."""
    frame = judge.frame
    found = []
    for schedule in zoo(frame.steps, frame.base_lr, frame.warmup).values():
        values = schedule.over(np.arange(frame.warmup, frame.steps, dtype=np.float64))
        values = values / schedule.peak
        steepest = 1.0 / (SHORTEST_TAIL * frame.steps)
        falls = -np.diff(values, prepend=1.0)
        if falls.min() >= -SLACK and falls.max() <= steepest + SLACK:
            found.append(schedule)
    best = sorted(found, key=judge.loss)[:1]
    return [_as_table(frame, schedule) for schedule in best]


def _as_table(frame: Frame, schedule: Schedule) -> Schedule:
    """Return a schedule through 400 of its own points and all of its bends."""
    body = frame.steps - frame.warmup
    bends = (np.array(schedule.breakpoints()) - frame.warmup) / body
    places = np.unique(np.concatenate([np.linspace(0.0, 1.0, 401), bends]))
    places = places[(places >= 0.0) & (places <= 1.0)]
    values = schedule.over(frame.warmup + places * body) / schedule.peak
    return _table(frame, places, values)


def _table(frame: Frame, places: FloatArray, values: FloatArray) -> Schedule:
    rise = Warmup(length=frame.warmup) if frame.warmup else None
    table = Table(positions=tuple(places.tolist()), values=tuple(values.tolist()))
    return Schedule(length=frame.steps, warmup=rise, body=table)
