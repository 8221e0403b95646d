"""Schedules: functions of progress to a learning-rate multiplier, as data."""

from pacesetter.schedules.base import Extent, Family, FloatArray
from pacesetter.schedules.constant import Constant
from pacesetter.schedules.cosine import Cosine
from pacesetter.schedules.families import AnyFamily
from pacesetter.schedules.schedule import Schedule, Warmup

__all__ = [
    "AnyFamily",
    "Constant",
    "Cosine",
    "Extent",
    "Family",
    "FloatArray",
    "Schedule",
    "Warmup",
]
