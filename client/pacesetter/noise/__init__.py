"""The gradient noise scale: how large a batch still pays."""

from pacesetter.noise.batch import BatchAdvice, advise_batch, relative_rate
from pacesetter.noise.hooks import AccumulationNoise, DataParallelNoise
from pacesetter.noise.scale import Moments, NoiseScale, moments_of

__all__ = [
    "AccumulationNoise",
    "BatchAdvice",
    "DataParallelNoise",
    "Moments",
    "NoiseScale",
    "advise_batch",
    "moments_of",
    "relative_rate",
]
