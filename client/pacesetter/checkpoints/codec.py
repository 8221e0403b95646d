"""Kept trees as JSON documents; tensors stay outside and are named in them."""

import base64
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch

from pacesetter.checkpoints.trees import Kept, Tree, Wrapped
from pacesetter.errors import SnapshotError

NameOf: TypeAlias = Callable[[Kept], str]
KeptCalled: TypeAlias = Callable[[str, str], Kept]
"""From a tensor's name in the file and its device to the tensor."""

_TAG = "$"


def encode(tree: Tree, name_of: NameOf, where: str) -> Any:
    """Return a JSON value for a kept tree.

    Numbers keep their type and every bit (Python's JSON writes the shortest decimal that reads back the same, and NaN
    and infinities by name). What JSON has no word for is an object with a ``$`` that says what it is.

    Raises:
        SnapshotError: Something in it is neither a tensor nor a plain value.
    """
    if tree is None or isinstance(tree, str) or type(tree) in (bool, int, float):
        return tree
    if isinstance(tree, list):
        return [encode(value, name_of, f"{where}[{i}]") for i, value in enumerate(tree)]
    if isinstance(tree, tuple):
        return {_TAG: "tuple", "items": encode(list(tree), name_of, where)}
    if isinstance(tree, dict):
        pairs = [
            [encode(key, name_of, where), encode(value, name_of, f"{where}.{key}")]
            for key, value in tree.items()
        ]
        return {_TAG: "dict", "items": pairs}
    if isinstance(tree, Kept):
        return {_TAG: "tensor", "name": name_of(tree), "device": tree.device}
    if isinstance(tree, Wrapped):
        parts = {name: encode(part, name_of, where) for name, part in tree.parts.items()}
        return {_TAG: "wrapped", "parts": parts, "size": list(tree.size)}
    return _encode_rare(tree, where)


def _encode_rare(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {_TAG: "array", "dtype": value.dtype.str, "shape": list(value.shape), "data": raw}
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        raw = base64.b64encode(value.tobytes()).decode()
        return {_TAG: "number", "dtype": value.dtype.str, "data": raw}
    if isinstance(value, bytes):
        return {_TAG: "bytes", "data": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {_TAG: "complex", "data": [value.real, value.imag]}
    if isinstance(value, torch.dtype):
        return {_TAG: "dtype", "data": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {_TAG: "device", "data": str(value)}
    raise SnapshotError(
        f"{where} is a {type(value).__module__}.{type(value).__name__}, which a file of states cannot hold; expected "
        "tensors, arrays, numbers, text and containers of them. Keep states in memory (where='memory'), or leave it out"
    )


def decode(value: Any, kept_called: KeptCalled) -> Tree:
    """Return the kept tree of a document that ``encode`` made.

    Raises:
        KeyError, ValueError, TypeError: It is not such a document.
    """
    if isinstance(value, list):
        return [decode(item, kept_called) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value[_TAG]
    if kind == "tuple":
        return tuple(decode(item, kept_called) for item in value["items"])
    if kind == "dict":
        pairs = value["items"]
        return {decode(key, kept_called): decode(item, kept_called) for key, item in pairs}
    if kind == "tensor":
        return kept_called(value["name"], value["device"])
    if kind == "wrapped":
        parts = {name: decode(part, kept_called) for name, part in value["parts"].items()}
        return Wrapped(parts, None, tuple(value["size"]))
    return _decode_rare(kind, value)


def _decode_rare(kind: str, value: dict[str, Any]) -> Any:
    data = value["data"]
    if kind in ("array", "number"):
        flat = np.frombuffer(base64.b64decode(data), dtype=np.dtype(value["dtype"])).copy()
        return flat.reshape(value["shape"]) if kind == "array" else flat[0]
    if kind == "bytes":
        return base64.b64decode(data)
    if kind == "complex":
        return complex(*data)
    if kind == "dtype":
        found = getattr(torch, data)
        if not isinstance(found, torch.dtype):
            raise ValueError(f"torch.{data} is no dtype")
        return found
    if kind == "device":
        return torch.device(data)
    raise ValueError(f"unknown kind {kind!r}")
