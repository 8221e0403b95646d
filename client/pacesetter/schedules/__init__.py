"""Schedules: functions of progress to a learning-rate multiplier, as data."""

from pacesetter.schedules.base import Evaluator, Extent, Family, FloatArray
from pacesetter.schedules.constant import Constant
from pacesetter.schedules.cosine import Cosine
from pacesetter.schedules.families import AnyFamily
from pacesetter.schedules.linear import Linear
from pacesetter.schedules.schedule import Schedule, Warmup

__all__ = [
    "AnyFamily",
    "Constant",
    "Cosine",
    "Evaluator",
    "Extent",
    "Family",
    "FloatArray",
    "Linear",
    "Schedule",
    "Warmup",
]
