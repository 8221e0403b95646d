"""The gradient noise scale: how large a batch still pays. The arithmetic needs no torch, only the hooks do."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pacesetter.noise.batch import BatchAdvice, adascale_gain, advise_batch, relative_rate
from pacesetter.noise.scale import Moments, NoiseScale, moments_of

if TYPE_CHECKING:
    from pacesetter.noise.hooks import AccumulationNoise, BackwardPasses, DataParallelNoise

__all__ = [
    "AccumulationNoise",
    "BackwardPasses",
    "BatchAdvice",
    "DataParallelNoise",
    "Moments",
    "NoiseScale",
    "adascale_gain",
    "advise_batch",
    "moments_of",
    "relative_rate",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'pacesetter.noise' has no attribute {name!r}")
    return getattr(import_module("pacesetter.noise.hooks"), name)
