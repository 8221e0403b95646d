"""Values by two numbers above zero, so that those which are alike are found without comparing each with all."""

import math
from collections import defaultdict
from typing import Generic, TypeVar

T = TypeVar("T")

Cell = tuple[int, int]


class Nearby(Generic[T]):
    """Values in cells as wide as what counts as alike: what is alike lies in the same cell or next to it.

    Args:
        tolerance: Relative difference up to which numbers are alike, as ``math.isclose`` takes it.
    """

    def __init__(self, tolerance: float) -> None:
        self._width = -math.log1p(-tolerance) * (1.0 + 1e-9)
        self._cells: dict[Cell, list[tuple[int, T]]] = defaultdict(list)
        self._count = 0

    def add(self, one: float, other: float, value: T) -> None:
        """Put a value at its two numbers."""
        self._cells[self._cell(one, other)].append((self._count, value))
        self._count += 1

    def near(self, one: float, other: float) -> list[T]:
        """Return values that may be alike, in the order in which they came: all that are, and some others."""
        left, low = self._cell(one, other)
        found = [
            each
            for x in (left - 1, left, left + 1)
            for y in (low - 1, low, low + 1)
            for each in self._cells.get((x, y), ())
        ]
        return [value for _, value in sorted(found, key=lambda each: each[0])]

    def _cell(self, one: float, other: float) -> Cell:
        return math.floor(math.log(one) / self._width), math.floor(math.log(other) / self._width)
