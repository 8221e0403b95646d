"""Best base rates and bounds of the convex bound by shape and length, at a distance and norms of 1."""

from collections.abc import Callable

import numpy as np
from pacesetter.schedules import WSD, Constant, Cosine, FloatArray, InverseSqrt, Linear, Schedule
from pacesetter.schedules.families import AnyFamily

SHAPES = ("constant", "linear", "cosine", "wsd-0.2", "1/sqrt", "1-sqrt")

_TABLE = {
    5: (
        (0.25468582, 0.78528127),
        (0.35578403, 0.93689795),
        (0.30583460, 1.08991374),
        (0.25468582, 0.78528127),
        (0.38077564, 0.81265039),
        (0.44614389, 0.99561247),
    ),
    10: (
        (0.16160661, 0.61878657),
        (0.27154405, 0.66957159),
        (0.24598462, 0.73914451),
        (0.15027512, 0.70046961),
        (0.32651999, 0.60995835),
        (0.37494305, 0.68475884),
    ),
    60: (
        (0.05424919, 0.30722423),
        (0.12381341, 0.26480884),
        (0.12023072, 0.27269974),
        (0.06304719, 0.29103001),
        (0.25184836, 0.28168504),
        (0.18300118, 0.26621882),
    ),
    100: (
        (0.04023444, 0.24854331),
        (0.09725521, 0.20360842),
        (0.09469451, 0.20911435),
        (0.04954420, 0.22302758),
        (0.23874950, 0.22531359),
        (0.14431567, 0.20468231),
    ),
    400: (
        (0.01817590, 0.13754481),
        (0.04956313, 0.10062987),
        (0.04824189, 0.10338591),
        (0.02537366, 0.10932301),
        (0.21208558, 0.12226427),
        (0.07379706, 0.10124260),
    ),
}

BOUNDS = [
    (steps, shape, *pair)
    for steps, pairs in _TABLE.items()
    for shape, pair in zip(SHAPES, pairs, strict=True)
]
"""Steps, shape, best base rate and the bound there: a plain double sum and the literature's own package agree."""

LONG_RUNS = [
    ("linear", 0.9995, 2.0008),
    ("cosine", 0.9706, 2.0605),
    ("wsd-0.1", 0.4607, 2.2845),
    ("wsd-0.2", 0.5140, 2.1614),
    ("wsd-0.5", 0.6556, 2.0337),
    ("wsd-0.2-sqrt", 0.5424, 2.1272),
    ("constant", 0.3045, 3.2844),
]
"""Shape, best base rate and bound of ten thousand steps, each times the root of the steps."""

_BODIES: dict[str, Callable[[], AnyFamily]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "wsd-0.1": lambda: WSD(cooldown=0.1),
    "wsd-0.2": lambda: WSD(cooldown=0.2),
    "wsd-0.5": lambda: WSD(cooldown=0.5),
    "wsd-0.2-sqrt": lambda: WSD(cooldown=0.2, shape="sqrt"),
    "1-sqrt": lambda: WSD(cooldown=1.0, shape="sqrt"),
}


def rates_of(shape: str, steps: int) -> FloatArray:
    """Return the rates of every step, (steps,): the zero that ends a decay comes after the last of them."""
    if shape == "1/sqrt":  # t^-1/2 from t = 1 on.
        return Schedule(length=steps + 1, body=InverseSqrt(timescale=1)).over(
            np.arange(1.0, steps + 1.0)
        )
    return Schedule(length=steps, body=_BODIES[shape]()).over(np.arange(float(steps)))
