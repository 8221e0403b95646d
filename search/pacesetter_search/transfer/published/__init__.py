"""Published laws and rules of rate, batch, weight decay and loss: formulas with their units and ranges as data."""

from pacesetter_search.transfer.published.batches import best_batch
from pacesetter_search.transfer.published.law import Change, PublishedLaw, Trust
from pacesetter_search.transfer.published.losses import chinchilla_loss, effective_tokens
from pacesetter_search.transfer.published.registry import LAWS
from pacesetter_search.transfer.published.rules import (
    AdamSettings,
    CompleteP,
    adam_rescaled,
    batch_rescaled,
    steps_over_least,
    tokens_over_least,
)
from pacesetter_search.transfer.published.timescale import (
    weight_decay_of,
    weight_decay_timescale,
)

__all__ = [
    "LAWS",
    "AdamSettings",
    "Change",
    "CompleteP",
    "PublishedLaw",
    "Trust",
    "adam_rescaled",
    "batch_rescaled",
    "best_batch",
    "chinchilla_loss",
    "effective_tokens",
    "steps_over_least",
    "tokens_over_least",
    "weight_decay_of",
    "weight_decay_timescale",
]
