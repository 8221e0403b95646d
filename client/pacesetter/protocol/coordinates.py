"""Coordinate checks by proxies: how a trial is asked for one, and how it answers.

Its parameter ``coordinates`` lists widths (``"32 64 128"``). Then it trains nothing to its end: it compares the size of
activations at those widths over the first steps, and returns what came of it as metrics.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

BOUND = 0.15
"""Slope per doubling that passes. Measured on a byte LM of widths 32 to 256: muP .12 at most, plain .5 to 2.2."""

PARAMETER = "coordinates"
MOST_WIDTHS = 16
WIDEST = 2**20
LEAST_SPREAD = 4
"""Times the narrowest one that the widest is at least: over less, what seeds differ by is a slope."""

_PASSED, _SLOPE = "coordinates_passed", "slope/"
_MOST_SLOPES, _LONGEST = 500, 190


def write_widths(widths: Sequence[int]) -> str:
    """Return widths as the parameter of a trial."""
    return " ".join(map(str, widths))


def read_widths(text: str) -> tuple[int, ...]:
    """Return the widths of a trial's parameter.

    Raises:
        ValueError: They are not two whole numbers or more, rising.
    """
    words = text.split()
    widths = tuple(
        int(word) for word in words if word.isdecimal() and len(word) <= len(f"{WIDEST}")
    )
    if len(widths) != len(words):
        raise ValueError(
            f"coordinates is {text!r}; expected whole numbers with spaces between, such as '32 64 128'"
        )
    check_widths(widths)
    return widths


def check_widths(widths: Sequence[int]) -> None:
    """Raise ValueError unless there are two widths or more, rising, the last one 4 times the first or more."""
    rising = all(low < high for low, high in pairwise(widths))
    if not (2 <= len(widths) <= MOST_WIDTHS and rising and widths[0] >= 1 and widths[-1] <= WIDEST):
        raise ValueError(
            f"coordinates are to be compared at widths {list(widths)}; expected 2 to {MOST_WIDTHS} of them, rising, 1 "
            f"to {WIDEST}, such as [32, 64, 128]"
        )
    if widths[-1] < LEAST_SPREAD * widths[0]:
        raise ValueError(
            f"coordinates are to be compared at widths {list(widths)}, and over less than a factor of {LEAST_SPREAD} "
            f"slopes are noise; let the last one be {LEAST_SPREAD * widths[0]} or more"
        )


def to_metrics(passed: bool, slopes: Mapping[str, float]) -> dict[str, float]:
    """Return a check as the metrics of a trial: of very many modules, those whose slopes are furthest from 0."""
    furthest = sorted(slopes, key=lambda name: -abs(slopes[name]))[:_MOST_SLOPES]
    told = {f"{_SLOPE}{name[-_LONGEST:]}": slopes[name] for name in slopes if name in {*furthest}}
    return {_PASSED: float(passed), **told}


def from_metrics(metrics: Mapping[str, Any]) -> tuple[bool, dict[str, float]] | None:
    """Return whether a check passed, and its slopes by module; None where the trial made none.

    A slope that is no finite number is left out, and what has one has not passed.
    """
    if _PASSED not in metrics:
        return None
    slopes = {
        name.removeprefix(_SLOPE): float(value)
        for name, value in metrics.items()
        if name.startswith(_SLOPE)
    }
    finite = {name: slope for name, slope in slopes.items() if math.isfinite(slope)}
    return float(metrics[_PASSED]) == 1.0 and len(finite) == len(slopes), finite
