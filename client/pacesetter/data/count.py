"""Counts what a batch holds, from shapes alone."""

from collections.abc import Mapping, Sequence
from typing import Any

_TOKEN_KEYS = ("input_ids", "tokens", "token_ids", "inputs", "idx", "x")
_EMBEDDING_KEYS = ("inputs_embeds",)


def count_samples_or_tokens(batch: Any) -> int:
    """Return how many tokens a batch of token ids holds, or how many samples any other batch holds.

    * A mapping: the sum of ``attention_mask`` if it is on the CPU (on a device, reading it would synchronise: then all
      positions count); else its token ids (``input_ids`` and the like) or ``inputs_embeds``; else its first value.
    * A tuple or list: its first element, if that is an array or a mapping; else its length.
    * An array of integers with two axes [batch, sequence]: its size. Labels of -100 count: they were computed.
    * Any other array: the length of its first axis.

    Pass ``tokens=`` to ``run.step`` where this guesses wrong, e.g. for integer features in a table.
    """
    if isinstance(batch, Mapping):
        return _count_mapping(batch)
    if _shape(batch) is not None:
        return _count_array(batch)
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes) and len(batch):
        first = batch[0]
        if _shape(first) is not None or isinstance(first, Mapping):
            return count_samples_or_tokens(first)
        return len(batch)
    return 0 if isinstance(batch, Sequence) and not len(batch) else 1


def _count_mapping(batch: Mapping[Any, Any]) -> int:
    mask: Any = batch.get("attention_mask")
    # A 4-D mask says which pair may attend, not which tokens are there.
    if len(_shape(mask) or ()) == 2 and _on_host(mask):
        return int((mask != 0).sum())
    for key in _TOKEN_KEYS:
        if _shape(batch.get(key)) is not None:
            return _count_array(batch[key])
    for key in _EMBEDDING_KEYS:
        shape = _shape(batch.get(key))
        if shape is not None and len(shape) == 3:
            return shape[0] * shape[1]
    return count_samples_or_tokens(next(iter(batch.values()))) if batch else 0


def _count_array(array: Any) -> int:
    shape = _shape(array) or ()
    if not shape:
        return 1
    if len(shape) == 2 and "int" in str(array.dtype):
        return shape[0] * shape[1]
    return shape[0]


def _shape(value: Any) -> tuple[int, ...] | None:
    shape = getattr(value, "shape", None)
    if shape is None or not hasattr(value, "dtype"):
        return None
    return tuple(int(size) for size in shape)


def _on_host(array: Any) -> bool:
    device = getattr(array, "device", "cpu")
    return str(getattr(device, "type", device)) == "cpu"
