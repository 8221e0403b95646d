"""A loss curve as it comes in: a bounded number of bins, however long it gets and however its rows are cut."""

from math import isfinite
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from pacesetter_search.losses import LARGEST_LOSS, is_loss

BINS = 160
"""Bins at most; when they are full, neighbours are merged."""

Number = TypeVar("Number", int, float)

_ROUGHNESS_DECAY = 0.98
_LEVEL_DECAY = 0.9


class Track(BaseModel):
    """Sums of positions and losses in equal stretches from ``origin`` on."""

    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    origin: float = 0.0
    width: float = 1.0
    counts: list[int] = []
    positions: list[float] = []
    losses: list[float] = []
    non_finite: int = 0
    last: float | None = None
    roughness: float = 0.0
    """Moving average of half the squared difference between neighbouring losses: the variance of one batch."""
    level: float | None = None
    """Moving average of the loss."""

    def add(self, position: float | None, loss: float | None) -> None:
        """Fold in one row; a row without a usable position or loss counts for nothing."""
        if position is None or not isfinite(position) or position < self.origin or loss is None:
            return
        if not is_loss(loss):
            self.non_finite += 1
            return
        index = int((position - self.origin) / self.width)
        while index >= BINS:
            self._merge()
            index = int((position - self.origin) / self.width)
        missing = index + 1 - len(self.counts)
        self.counts += [0] * missing
        self.positions += [0.0] * missing
        self.losses += [0.0] * missing
        self.counts[index] += 1
        self.positions[index] += position
        self.losses[index] += loss
        self._smooth(loss)

    def points(self) -> tuple[list[float], list[float], list[int]]:
        """Return mean positions, mean losses and counts of the bins that hold something."""
        filled = [index for index, count in enumerate(self.counts) if count]
        places = [self.positions[index] / self.counts[index] for index in filled]
        means = [self.losses[index] / self.counts[index] for index in filled]
        return places, means, [self.counts[index] for index in filled]

    @property
    def rows(self) -> int:
        """How many finite losses were folded in."""
        return sum(self.counts)

    def _smooth(self, loss: float) -> None:
        if self.last is not None:
            square = min(0.5 * (loss - self.last) ** 2, LARGEST_LOSS)
            decay = _ROUGHNESS_DECAY if self.roughness else 0.0
            self.roughness = decay * self.roughness + (1.0 - decay) * square
        before = loss if self.level is None else self.level
        self.level = _LEVEL_DECAY * before + (1.0 - _LEVEL_DECAY) * loss
        self.last = loss

    def _merge(self) -> None:
        self.width *= 2.0
        self.counts = _paired(self.counts)
        self.positions = _paired(self.positions)
        self.losses = _paired(self.losses)


def _paired(values: list[Number]) -> list[Number]:
    return [sum(values[index : index + 2]) for index in range(0, len(values), 2)]
