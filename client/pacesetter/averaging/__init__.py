"""Averages of weights along a run: of all of them, of the last ones, and such that they stand for a decay."""

from pacesetter.averaging.average import WeightAverage
from pacesetter.averaging.estimating import estimate_decay, recalibrate
from pacesetter.averaging.exponential import ExponentialAverage
from pacesetter.averaging.merging import CheckpointMerge
from pacesetter.averaging.weights import decay_equivalent_weights, implied_multipliers

__all__ = [
    "CheckpointMerge",
    "ExponentialAverage",
    "WeightAverage",
    "decay_equivalent_weights",
    "estimate_decay",
    "implied_multipliers",
    "recalibrate",
]
