"""Sources of batches: they own the epochs, and go back to where a probe left the main line."""

from pacesetter.data.base import BatchSource, RewindCapability
from pacesetter.data.count import count_samples_or_tokens
from pacesetter.data.opening import DEFAULT_BUFFER_BATCHES, open_source

__all__ = [
    "DEFAULT_BUFFER_BATCHES",
    "BatchSource",
    "RewindCapability",
    "count_samples_or_tokens",
    "open_source",
]
