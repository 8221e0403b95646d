"""What a tensor is made of: dense parts that can be copied in place."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from pacesetter.errors import SnapshotError


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build a wrapper tensor (a DTensor, a tensor of torchao) around its dense parts."""

    kind: type[Any]
    context: Any
    attributes: dict[str, Any]
    """What its parts are that are no tensors, e.g. a device mesh."""
    size: torch.Size
    stride: tuple[int, ...]

    def build(self, parts: dict[str, Tensor]) -> Tensor:
        """Return a new wrapper tensor around ``parts``."""
        inner = {**self.attributes, **parts}
        built: Tensor = self.kind.__tensor_unflatten__(inner, self.context, self.size, self.stride)
        return built


def is_wrapper(value: object) -> bool:
    """Return whether a tensor only wraps others, of which each rank holds its own."""
    return isinstance(value, Tensor) and is_traceable_wrapper_subclass(value)


def wrapper_parts(tensor: Tensor) -> tuple[dict[str, Tensor], Recipe]:
    """Return the tensors inside a wrapper by attribute name, and how to build it again."""
    names, context = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    inside = {name: getattr(tensor, name) for name in names}
    parts = {name: part for name, part in inside.items() if isinstance(part, Tensor)}
    others = {name: part for name, part in inside.items() if name not in parts}
    # A Parameter around a wrapper has the wrapper's type or a subclass made for it; both rebuild alike.
    return parts, Recipe(type(tensor), context, others, tensor.size(), tensor.stride())


def check_supported(tensor: Tensor, where: str) -> None:
    """Refuse what cannot be copied in place bit for bit.

    Raises:
        SnapshotError: The tensor is sparse, quantised, without data, or not yet initialised.
    """
    if is_lazy(tensor):
        problem, advice = "not initialised yet", "run one forward pass before attaching"
    elif tensor.is_quantized:
        problem, advice = "quantised", "keep the training weights in a floating type"
    elif tensor.layout is not torch.strided and not is_wrapper(tensor):
        problem, advice = f"of layout {tensor.layout}", "use a dense tensor there"
    elif tensor.is_meta:
        problem, advice = (
            "on the meta device, without data",
            "materialise the model before attaching",
        )
    else:
        return
    raise SnapshotError(
        f"{where} is {problem}; expected a dense tensor that can be copied in place. {advice.capitalize()}, "
        "or turn rollback off"
    )


def writable(tensor: Tensor) -> Tensor:
    """Return the part of an expanded tensor that its memory holds; any other tensor as it is."""
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def byte_count(tensor: Tensor) -> int:
    """Return the bytes that a dense tensor's values take in memory."""
    return math.prod(writable(tensor).shape) * tensor.element_size()


def dense_parts(tensor: Tensor, where: str) -> Iterator[Tensor]:
    """Yield the dense tensors that ``tensor`` is made of: itself, or what it wraps.

    Raises:
        SnapshotError: One of them cannot be copied in place.
    """
    check_supported(tensor, where)
    if is_wrapper(tensor):
        for name, part in wrapper_parts(tensor)[0].items():
            yield from dense_parts(part, f"{where}.{name}")
    else:
        yield tensor


def cuda_in_use() -> bool:
    """Return whether this process uses CUDA: asking an unused one for anything would start it, 0.5 GB a process."""
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
