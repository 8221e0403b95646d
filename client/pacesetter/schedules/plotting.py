"""Draws schedules. Needs matplotlib, which is loaded only when something is drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pacesetter.errors import ConfigurationError
from pacesetter.schedules.base import FloatArray
from pacesetter.schedules.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def samples(schedule: Schedule, points: int) -> FloatArray:
    """Return about ``points`` whole positions from zero to end, with both sides of every jump and bend, in order."""
    bends = np.ceil(np.array(schedule.breakpoints()))
    spread = np.linspace(schedule.zero, schedule.end, points).round()
    positions: FloatArray = np.unique(np.concatenate([spread, bends, bends - 1.0]))
    return positions[(positions >= schedule.zero) & (positions <= schedule.end)]


def plot(
    schedule: Schedule,
    ax: "Axes | None" = None,
    *,
    clock: str = "steps",
    points: int = 1000,
    **line: Any,
) -> "Axes":
    """Draw a schedule and return the axes.

    Args:
        schedule: What to draw, from its zero to its end.
        ax: Axes to draw into; new ones if None.
        clock: What positions count, for the label.
        points: How many positions to evaluate at least.
        line: Passed on to ``Axes.plot``, such as ``label`` and ``color``.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    ax = axes(ax)
    positions = samples(schedule, points)
    ax.plot(positions, schedule.over(positions), **line)
    ax.set_xlabel(clock)
    ax.set_ylabel("learning rate" if schedule.unit == "absolute" else "multiplier of the base rate")
    ax.set_ylim(bottom=0.0)
    return ax


def axes(given: "Axes | None") -> "Axes":
    """Return the axes that are given, or those of a new figure.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    if given is not None:
        return given
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigurationError(
            "drawing needs matplotlib, which is not installed; pip install matplotlib"
        ) from None
    return Figure(figsize=(6.4, 3.2), layout="constrained").add_subplot()
