"""Chooses the source that fits a loader."""

from collections.abc import Iterable
from typing import Any

from pacesetter.data.base import BatchSource
from pacesetter.data.buffered import BufferedSource
from pacesetter.data.random_state import open_private_random
from pacesetter.data.unlimited import (
    PositionedLoader,
    PositionedSource,
    StatefulLoader,
    StatefulSource,
)
from pacesetter.errors import ConfigurationError

DEFAULT_BUFFER_BATCHES = 64


def open_source(
    loader: object,
    *,
    buffer_batches: int = DEFAULT_BUFFER_BATCHES,
    process_group: Any | None = None,
) -> BatchSource:
    """Return the source that goes back furthest with this loader.

    =========================================  ==================================
    ``batch_at(position)``                     unlimited
    ``state_dict`` and ``load_state_dict``     unlimited
    any other iterable                         ``buffer_batches`` batches, kept by reference
    =========================================  ==================================

    Args:
        loader: What the training would have iterated over.
        buffer_batches: Size of the buffer for a plain iterable; 0 keeps nothing.
        process_group: Group of the ranks that read the data together; a collective call if given.

    Raises:
        ConfigurationError: The loader cannot be iterated, or the buffer's size is negative.
    """
    if buffer_batches < 0:
        raise ConfigurationError(
            f"buffer_batches is {buffer_batches}; expected 0 (no rewinding) or more"
        )
    random_state = open_private_random(process_group)
    if isinstance(loader, PositionedLoader):
        return PositionedSource(loader, random_state)
    if not isinstance(loader, Iterable):
        raise ConfigurationError(
            f"a {type(loader).__name__} was passed as loader; expected something to iterate over, "
            "or an object with batch_at(position)"
        )
    if isinstance(loader, StatefulLoader) and _keeps_state(loader):
        return StatefulSource(loader, random_state)
    return BufferedSource(loader, random_state, capacity=buffer_batches)


def _keeps_state(loader: object) -> bool:
    # Accelerate's loaders all have the methods; they work only over a StatefulDataLoader.
    return bool(getattr(loader, "use_stateful_dataloader", True))
