"""Spikes: values far above where a training stood, measured against the training itself.

Each watch takes one value a step and answers with the numbers behind a stop, or None. Watches of the main line live on
from segment to segment, so that a spike right behind a boundary is seen against the level before it.
"""

import math
from collections import deque
from statistics import median
from typing import TypeAlias

from pacesetter.protocol import StopIfGradientSpikes, StopIfLossSpikes, StopIfProgressLost

Evidence: TypeAlias = dict[str, float]

MEMORY = 64.0
"""Values over which a level is remembered: long beside a spike, short beside a training."""

WARM_UP = 32
"""Values that make the first level; nothing is judged before."""

FIRST = 10
"""Losses whose mean stands for where the training began."""

CLIPPED_AT = 4.0
"""Spreads above the level that a single value may count for, so that a spike does not raise its own bound."""

PAUSE = 32
"""Values that go unjudged after a stop, unless an earlier state came back: to calm down takes some steps."""

SMALLEST = 1e-3
"""Smallest spread, as a share of the level."""

AGAIN_WITHIN = 256
"""Values within which a second stop counts as the same trouble."""

EXPLODED = 4.0
"""Times the first loss beyond which the average is no warm-up any more, before there is a spread to judge by."""

LEARNT = 0.7
"""Share of the first loss that the best average must be below before its loss can be told from noise."""

NOISE = 4.0
"""Spreads of a single batch that an average has to rise by in any case."""


class Series:
    """Level and spread (mean absolute deviation) of noisy values; one far above them hardly moves them."""

    def __init__(self) -> None:
        self.level = self.spread = 0.0
        self.ready = False
        self._beginning: list[float] = []

    def add(self, value: float) -> None:
        """Take a finite value."""
        if not self.ready:
            self._begin(value)
            return
        level, spread = self.level, self.spread
        away = value - level
        furthest = CLIPPED_AT * spread
        spread += (min(abs(away), furthest) - spread) / MEMORY
        level += min(away, furthest) / MEMORY
        self.level = level
        # Values without any noise would leave no room to move in.
        self.spread = max(spread, SMALLEST * abs(level), 1e-12)

    def _begin(self, value: float) -> None:
        self._beginning.append(value)
        if len(self._beginning) < WARM_UP:
            return
        self.level = median(self._beginning)
        away = [abs(each - self.level) for each in self._beginning]
        self.spread = max(sum(away) / WARM_UP, SMALLEST * abs(self.level), 1e-12)
        self.ready = True
        self._beginning = []


class First:
    """The mean of the first finite losses."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.count = 0

    def add(self, loss: float) -> None:
        """Take a finite loss."""
        if self.count < FIRST:
            self.count += 1
            self.mean += (loss - self.mean) / self.count


class Majority:
    """Whether three in four of the last ``size`` values were above their bound: some outliers are no spike."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._needed = math.ceil(0.75 * size)
        self._above: deque[int] = deque()

    def add(self, place: int, above: bool) -> bool:
        """Take the verdict on value number ``place``; return whether enough are above."""
        if not above:
            return False
        self._above.append(place)
        while self._above[0] <= place - self._size:
            self._above.popleft()
        return len(self._above) >= self._needed

    def clear(self) -> None:
        """Forget all verdicts."""
        self._above.clear()


class Watch:
    """Counts values, pauses after a stop, and knows whether a stop is of the same trouble as the one before."""

    def __init__(self) -> None:
        self._series = Series()
        self._place = 0
        self._judged_from = 0
        self._stopped_at: int | None = None

    def interrupt(self) -> None:
        """Note that the main line was stopped: what comes next is another state's."""
        self._judged_from = max(self._judged_from, self._place + PAUSE)
        if not self._series.ready:
            self._series = Series()

    def resume(self) -> None:
        """End the pause: an earlier state was brought back, which has nothing to calm down from."""
        self._judged_from = self._place

    def _pause(self) -> bool:
        """Begin a pause; return whether the stop before was of the same trouble."""
        again = self._stopped_at is not None and self._place < self._stopped_at + AGAIN_WITHIN
        self._stopped_at = self._place
        self._judged_from = self._place + PAUSE
        return again


class LossSpikes(Watch):
    """Watches for losses that jump up and stay there."""

    def __init__(self, clause: StopIfLossSpikes) -> None:
        super().__init__()
        self.clause = clause
        self._majority = Majority(clause.recent)
        self._first = First()
        self._signed = False

    def judge(self, loss: float) -> Evidence | None:
        """Take the next loss; return the numbers behind a stop."""
        self._place += 1
        if loss < 0.0:
            self._signed = True
        if self._signed or self._place <= self._judged_from:
            return None
        series = self._series
        if not series.ready:
            if loss < math.inf:
                self._first.add(loss)
                series.add(loss)
            return None
        level, clause = series.level, self.clause
        rise = max(
            clause.of_level * level,
            clause.of_progress * (self._first.mean - level),
            clause.spreads * series.spread,
        )
        above = not loss <= level + rise
        if loss < math.inf:
            series.add(loss)
        return self._stop(loss, rise) if above and self._majority.add(self._place, above) else None

    def _stop(self, loss: float, rise: float) -> Evidence:
        evidence = {"loss": loss, "level": self._series.level, "rise_allowed": rise}
        self._majority.clear()
        if self._pause():
            # What comes back after a rewind may be the data: judge by the new level, and leave the rest to
            # ProgressLost.
            self._series = Series()
        return evidence


class ProgressLost(Watch):
    """Watches for a loss that goes back to where it came from, however slowly."""

    def __init__(self, clause: StopIfProgressLost) -> None:
        super().__init__()
        self.clause = clause
        self._first = First()
        self._average = self._best = math.nan
        self._signed = False

    def judge(self, loss: float) -> Evidence | None:
        """Take the next loss; return the numbers behind a stop."""
        self._place += 1
        if loss < 0.0:
            self._signed = True
        if self._signed or not loss < math.inf or self._place <= self._judged_from:
            return None
        series = self._series
        if not series.ready:
            return self._begin(loss)
        # A single outlier counts for no more than it does in the level, or heavy tails would look like a rise.
        counted = min(loss, series.level + CLIPPED_AT * series.spread)
        series.add(loss)
        average = self._average + (1.0 - self.clause.decay) * (counted - self._average)
        self._average = average
        if average < self._best:
            self._best = average
        return self._stop() if average > self._bound() else None

    def _begin(self, loss: float) -> Evidence | None:
        """Take a loss of the first ones; stop only for what explodes."""
        self._first.add(loss)
        self._series.add(loss)
        first = self._first.mean
        if self._first.count < FIRST or math.isnan(self._average):
            self._average = self._best = first
        bound = EXPLODED * first
        self._average += (1.0 - self.clause.decay) * (min(loss, 2.0 * bound) - self._average)
        if self._average > bound:
            self._pause()
            evidence = {"average": self._average, "first": first, "bound": bound}
            self._average = first
            return evidence
        if self._series.ready:
            self._average = self._best = self._series.level
        return None

    def _bound(self) -> float:
        """Return the lower of the two bounds, each at least the noise of a batch above what it is measured from."""
        clause, first, best = self.clause, self._first.mean, self._best
        noise = NOISE * self._series.spread
        if best < LEARNT * first:
            return best + max(clause.of_progress * (first - best), noise)
        return first + max((clause.of_first - 1.0) * first, noise)

    def _stop(self) -> Evidence:
        first, average, bound = self._first.mean, self._average, self._bound()
        evidence = {"average": average, "best": self._best, "first": first, "bound": bound}
        self._average = self._best
        self._pause()
        return evidence


class GradientSpikes(Watch):
    """Watches for gradient norms of another order of magnitude, on their logarithm."""

    def __init__(self, clause: StopIfGradientSpikes) -> None:
        super().__init__()
        self.clause = clause
        self._majority = Majority(clause.recent)

    def judge(self, norm: float) -> Evidence | None:
        """Take the next norm; return the numbers behind a stop. A norm of zero says nothing."""
        self._place += 1
        if norm == 0.0 or self._place <= self._judged_from:
            return None
        series, finite = self._series, 0.0 < norm < math.inf
        height = math.log(norm) if finite else math.inf
        ready, rise = series.ready, self._rise()
        above = ready and height > series.level + rise
        if finite:
            series.add(height)
        return self._stop(norm, rise) if above and self._majority.add(self._place, above) else None

    def _rise(self) -> float:
        return max(math.log(self.clause.ratio), self.clause.spreads * self._series.spread)

    def _stop(self, norm: float, rise: float) -> Evidence:
        usual = math.exp(self._series.level)
        evidence = {"norm": norm, "usual": usual, "ratio_allowed": math.exp(min(rise, 500.0))}
        self._majority.clear()
        if self._pause():
            self._series = Series()
        return evidence
