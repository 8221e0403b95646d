"""Schedules: functions of progress to a learning-rate multiplier, as data."""

from pacesetter.schedules.base import Evaluator, Extent, Family, FloatArray
from pacesetter.schedules.constant import Constant
from pacesetter.schedules.cooldowns import CooldownShape
from pacesetter.schedules.cosine import Cosine
from pacesetter.schedules.families import KNOWN_FAMILIES, AnyFamily
from pacesetter.schedules.inverse_sqrt import InverseSqrt
from pacesetter.schedules.joined import Joined, Piece
from pacesetter.schedules.linear import Linear
from pacesetter.schedules.parse import parse_schedule
from pacesetter.schedules.polynomial import Polynomial
from pacesetter.schedules.schedule import Schedule, Warmup
from pacesetter.schedules.step import Step
from pacesetter.schedules.table import Table
from pacesetter.schedules.wsd import WSD

__all__ = [
    "KNOWN_FAMILIES",
    "WSD",
    "AnyFamily",
    "Constant",
    "CooldownShape",
    "Cosine",
    "Evaluator",
    "Extent",
    "Family",
    "FloatArray",
    "InverseSqrt",
    "Joined",
    "Linear",
    "Piece",
    "Polynomial",
    "Schedule",
    "Step",
    "Table",
    "Warmup",
    "parse_schedule",
]
