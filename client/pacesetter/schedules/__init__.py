"""Schedules: functions of progress to a learning-rate multiplier, as data."""

from pacesetter.schedules.base import Evaluator, Extent, Family, FloatArray, Tier
from pacesetter.schedules.constant import Constant
from pacesetter.schedules.convex_bound import ConvexBound, convex_bound
from pacesetter.schedules.cooldowns import CooldownShape
from pacesetter.schedules.cosine import Cosine
from pacesetter.schedules.cosine_restarts import CosineRestarts
from pacesetter.schedules.exponential import Exponential
from pacesetter.schedules.families import FAMILIES, KNOWN_FAMILIES, AnyFamily
from pacesetter.schedules.infinite import Infinite
from pacesetter.schedules.inverse_sqrt import InverseSqrt
from pacesetter.schedules.joined import Joined, JoinedPiece
from pacesetter.schedules.linear import Linear
from pacesetter.schedules.minicpm_wsd import MiniCPMWSD
from pacesetter.schedules.moderate_decay import ModerateDecay
from pacesetter.schedules.noam import Noam
from pacesetter.schedules.one_cycle import OneCycle
from pacesetter.schedules.parse import parse_schedule
from pacesetter.schedules.polynomial import Polynomial
from pacesetter.schedules.power import Power
from pacesetter.schedules.refined import Refined
from pacesetter.schedules.refinement import refine
from pacesetter.schedules.rewarm import Rewarm
from pacesetter.schedules.rex import REX
from pacesetter.schedules.schedule import Schedule, Warmup
from pacesetter.schedules.step import Step
from pacesetter.schedules.table import Table
from pacesetter.schedules.triangular import Triangular
from pacesetter.schedules.uba import UBA
from pacesetter.schedules.wsd import WSD
from pacesetter.schedules.wsd_s import WSDS
from pacesetter.schedules.wsdc import WSDC

__all__ = [
    "FAMILIES",
    "KNOWN_FAMILIES",
    "REX",
    "UBA",
    "WSD",
    "WSDC",
    "WSDS",
    "AnyFamily",
    "Constant",
    "ConvexBound",
    "CooldownShape",
    "Cosine",
    "CosineRestarts",
    "Evaluator",
    "Exponential",
    "Extent",
    "Family",
    "FloatArray",
    "Infinite",
    "InverseSqrt",
    "Joined",
    "JoinedPiece",
    "Linear",
    "MiniCPMWSD",
    "ModerateDecay",
    "Noam",
    "OneCycle",
    "Polynomial",
    "Power",
    "Refined",
    "Rewarm",
    "Schedule",
    "Step",
    "Table",
    "Tier",
    "Triangular",
    "Warmup",
    "convex_bound",
    "parse_schedule",
    "refine",
]
