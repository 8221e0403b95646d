"""Which of the numbers that jobs report are losses."""

from math import isfinite

LARGEST_LOSS = 1e150
"""Beyond it squares overflow; no loss is there. Whatever is larger counts as not finite."""


def is_loss(value: float | None) -> bool:
    """Return whether ``value`` was measured, is finite, and can be squared."""
    return value is not None and isfinite(value) and abs(value) < LARGEST_LOSS
