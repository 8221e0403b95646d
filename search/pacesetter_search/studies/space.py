"""The space of an experiment: values as places on the unit interval, and back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pacesetter.protocol import Choice, Parameter, Range, Value

FloatArray: TypeAlias = npt.NDArray[np.float64]
Key: TypeAlias = tuple[tuple[bool, Value], ...]
"""Parameters as something to compare by; True and 1 differ."""


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched, its parameters in the order of their names: stored documents do not keep another one."""

    parameters: tuple[tuple[str, Parameter], ...]

    @classmethod
    def of(cls, space: Mapping[str, Parameter]) -> "Space":
        """Return the space of an experiment."""
        return cls(tuple(sorted(space.items())))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is searched, sorted."""
        return tuple(name for name, _ in self.parameters)

    @property
    def size(self) -> int | None:
        """How many different points there are; None where a range is continuous."""
        counts = [count_of(parameter) for _, parameter in self.parameters]
        known = [count for count in counts if count is not None]
        return math.prod(known) if len(known) == len(counts) else None

    def point(self, places: Sequence[float] | FloatArray) -> dict[str, Value]:
        """Return the values at places in [0, 1], one for each name."""
        return {
            name: value_at(parameter, float(place))
            for (name, parameter), place in zip(self.parameters, places, strict=True)
        }

    def key(self, values: Mapping[str, Value]) -> Key:
        """Return what equal points of the space share; other values are not looked at."""
        return tuple((isinstance(values[name], bool), values[name]) for name in self.names)


def same(one: Value, other: Value) -> bool:
    """Return whether two values are one; True and 1 are two."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def value_at(parameter: Parameter, place: float) -> Value:
    """Return the value at a place in [0, 1]: on its scale for a range, in equal parts for a choice."""
    if isinstance(parameter, Choice):
        count = len(parameter.values)
        return parameter.values[min(int(place * count), count - 1)]
    low, high = ends(parameter)
    there = low + min(max(place, 0.0), 1.0) * (high - low)
    value = math.exp2(there) if parameter.scale == "log2" else there
    if parameter.integer:
        return int(min(max(round(value), int(parameter.low)), int(parameter.high)))
    return min(max(value, parameter.low), parameter.high)


def place_of(parameter: Range, value: float) -> float:
    """Return where a value of a range lies in [0, 1] on its scale; outside of it beyond 0 or 1.

    Raises:
        ValueError: The scale is of logarithms, and the value not above 0.
    """
    low, high = ends(parameter)
    there = math.log2(value) if parameter.scale == "log2" else value
    return (there - low) / (high - low)


def ends(parameter: Range) -> tuple[float, float]:
    """Return the ends of a range on its scale."""
    if parameter.scale == "log2":
        return math.log2(parameter.low), math.log2(parameter.high)
    return parameter.low, parameter.high


def count_of(parameter: Parameter) -> int | None:
    """Return how many values a parameter has; None if it is continuous."""
    if isinstance(parameter, Choice):
        return len(parameter.values)
    return int(parameter.high) - int(parameter.low) + 1 if parameter.integer else None


def levels(parameter: Parameter, points: int) -> tuple[Value, ...]:
    """Return the values of a grid: all of a choice, ``points`` evenly spaced ones of a range, both ends among them.

    A single point of a range is its middle. Whole numbers that fall together are one.
    """
    if isinstance(parameter, Choice):
        return parameter.values
    places = [0.5] if points == 1 else [index / (points - 1) for index in range(points)]
    return tuple(dict.fromkeys(value_at(parameter, place) for place in places))


def point_at(space: Space, index: int) -> dict[str, Value]:
    """Return one of the points of a space that has a size: 0 the first, the value of the last name changing fastest.

    Raises:
        ValueError: It has none, or fewer points.
    """
    size = space.size
    if size is None:
        raise ValueError("the space is continuous and has no list of its points")
    if not 0 <= index < size:
        raise ValueError(f"point {index} of a space of {size}; expected 0 to {size - 1}")
    point: dict[str, Value] = {}
    for name, parameter in reversed(space.parameters):
        values = (
            parameter.values
            if isinstance(parameter, Choice)
            else range(int(parameter.low), int(parameter.high) + 1)
        )
        index, place = divmod(index, len(values))
        point[name] = values[place]
    return {name: point[name] for name in space.names}


def crossed(names: Sequence[str], columns: Sequence[Sequence[Value]]) -> list[dict[str, Value]]:
    """Return every combination of the columns' values, the last one changing fastest."""
    rows: list[dict[str, Value]] = [{}]
    for name, column in zip(names, columns, strict=True):
        rows = [{**row, name: value} for row in rows for value in column]
    return rows
