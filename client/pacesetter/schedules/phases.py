"""Schedules in phases: which phase a progress lies in, and how far it is in it."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pacesetter.schedules.base import FloatArray

Edges: TypeAlias = Sequence[float]
"""Where phases begin, in order, and where the last one ends."""

ROUNDING = 1e-12
"""Slack of an edge, so that a phase that begins on a step begins at that step and not at the next."""


SHORTEST = 1e-9
"""Of a phase, as a share: below it rounding would decide which phase a step is in."""


def phase_at(edges: Edges, x: float) -> tuple[int, float]:
    """Return the number of the phase that ``x`` lies in, from 0, and the progress within it."""
    index = min(max(bisect_right(edges, x + ROUNDING) - 1, 0), len(edges) - 2)
    y = (x - edges[index]) / (edges[index + 1] - edges[index])
    return index, min(max(y, 0.0), 1.0)


def phase_over(edges: Edges, x: FloatArray) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Return number and progress of the phase for every ``x``; both of the shape of ``x``."""
    marks = np.asarray(edges, dtype=np.float64)
    found = np.searchsorted(marks, x + ROUNDING, side="right") - 1
    index = np.clip(found, 0, len(marks) - 2)
    y = (x - marks[index]) / (marks[index + 1] - marks[index])
    return index, np.clip(y, 0.0, 1.0)


def check_ends(ends: Sequence[float], what: str) -> None:
    """Check that phases end in order, each with a length, and the last one at 1.

    Raises:
        ValueError: They do not.
    """
    if any(b - a < SHORTEST for a, b in zip((0.0, *ends), ends, strict=False)):
        raise ValueError(f"{what} {tuple(ends)} do not rise; sort them, each one once")
    if ends[-1] != 1.0:
        raise ValueError(f"the last of {what} is {ends[-1]:g}; end at 1")
