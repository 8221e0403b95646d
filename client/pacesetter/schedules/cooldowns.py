"""The published shapes of a cooldown, as functions of its own progress y in [0, 1].

From the code of [Hagele2024, arXiv 2405.18392] (``linear``, ``sqrt``, ``square``, ``cosine``, ``mirror_cosine``,
``exp``). All start at 1; all but ``exponential`` end at 0.
"""

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from pacesetter.schedules.base import Evaluator, FloatArray

CooldownShape: TypeAlias = Literal[
    "linear", "sqrt", "square", "cosine", "mirror_cosine", "exponential"
]

_Vectorised: TypeAlias = Callable[[FloatArray], FloatArray]


def cooldown_at(shape: CooldownShape, end: float) -> Evaluator:
    """Return ``shape`` as a function of one y; ``end`` is where ``exponential`` stops."""
    scalar: dict[CooldownShape, Evaluator] = {
        "linear": lambda y: 1.0 - y,
        "sqrt": lambda y: 1.0 - math.sqrt(y),
        "square": lambda y: 1.0 - y * y,
        "cosine": lambda y: 0.5 * (1.0 + math.cos(math.pi * y)),
        "mirror_cosine": lambda y: 2.0 * (1.0 - y) - 0.5 * (1.0 + math.cos(math.pi * y)),
        "exponential": lambda y: end**y,
    }
    return scalar[shape]


def cooldown_over(shape: CooldownShape, end: float) -> _Vectorised:
    """Return ``shape`` as a function of many y."""
    vectorised: dict[CooldownShape, _Vectorised] = {
        "linear": lambda y: 1.0 - y,
        "sqrt": lambda y: 1.0 - np.sqrt(y),
        "square": lambda y: 1.0 - y * y,
        "cosine": lambda y: 0.5 * (1.0 + np.cos(np.pi * y)),
        "mirror_cosine": lambda y: 2.0 * (1.0 - y) - 0.5 * (1.0 + np.cos(np.pi * y)),
        "exponential": lambda y: np.power(end, y),
    }
    return vectorised[shape]


def decline_at(shape: CooldownShape, end: float) -> Evaluator:
    """Return ``shape`` as a function of one y, from 1 to ``end`` whatever the shape."""
    falling = cooldown_at(shape, end)
    # The exponential stops at the end by itself.
    return falling if shape == "exponential" else lambda y: end + (1.0 - end) * falling(y)


def decline_over(shape: CooldownShape, end: float) -> _Vectorised:
    """Return ``shape`` as a function of many y, from 1 to ``end`` whatever the shape."""
    falling = cooldown_over(shape, end)
    return falling if shape == "exponential" else lambda y: end + (1.0 - end) * falling(y)
