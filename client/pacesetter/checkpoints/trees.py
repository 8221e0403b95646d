"""States as trees: nested dicts, lists and tuples with tensors and plain values at the leaves."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pacesetter.checkpoints.tensors import (
    Recipe,
    dense_parts,
    is_wrapper,
    wrapper_parts,
    writable,
)
from pacesetter.errors import SnapshotError

Tree: TypeAlias = Any
"""A live tree holds the training's own tensors; a kept tree holds ``Kept`` and ``Wrapped`` in their place."""


class Kept(ABC):
    """A dense tensor's values, kept outside the training."""

    device: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @abstractmethod
    def values(self) -> Tensor:
        """Return the values as a tensor on the CPU, to be read only."""

    def fits(self, live: object) -> bool:
        """Return whether the values can be copied into ``live`` in place."""
        if not isinstance(live, Tensor) or is_wrapper(live) or live.dtype != self.dtype:
            return False
        return tuple(writable(live).shape) == self.shape

    def into(self, live: Tensor) -> None:
        """Copy the values into ``live``, whose address and dtype stay."""
        # Only CUDA keeps the source alive until such a copy is done.
        writable(live).copy_(self.values(), non_blocking=live.is_cuda)

    def anew(self, like: Tensor | None) -> Tensor:
        """Return a new tensor: on the CPU if it was there, else on the device of ``like``."""
        if self.device == "cpu":
            return self.values().clone()
        device = self.device if like is None or like.device.type == "cpu" else like.device
        return self.values().to(device, copy=True)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A wrapper tensor whose dense parts are kept."""

    parts: dict[str, Any]
    recipe: Recipe | None
    """None where it was read from a file: then a live tensor of the same shape says how to build it."""
    size: tuple[int, ...]


Keep: TypeAlias = Callable[[Tensor], Kept]


def dense_tensors(tree: Tree, where: str) -> Iterator[Tensor]:
    """Yield every dense tensor of a live tree; one that is in it twice comes twice.

    Raises:
        SnapshotError: One of them cannot be copied in place.
    """
    if isinstance(tree, Tensor):
        yield from dense_parts(tree, where)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from dense_tensors(value, f"{where}.{key}")
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from dense_tensors(value, f"{where}[{index}]")


def kept(tree: Tree, keep: Keep) -> Tree:
    """Return the kept tree of a live tree; plain values are copied."""
    if isinstance(tree, Tensor):
        return _kept_tensor(tree, keep)
    if isinstance(tree, dict):
        return {key: kept(value, keep) for key, value in tree.items()}
    if isinstance(tree, list):
        return [kept(value, keep) for value in tree]
    if isinstance(tree, tuple):
        return _tuple_like(tree, [kept(value, keep) for value in tree])
    try:
        return copy.deepcopy(tree)
    except (TypeError, AttributeError, copy.Error) as error:
        raise SnapshotError(
            f"a {type(tree).__name__} in the state cannot be copied ({error}); expected numbers, text, tensors and "
            "containers of them. Keep it out of what state_dict() returns"
        ) from error


def _kept_tensor(tensor: Tensor, keep: Keep) -> Kept | Wrapped:
    if not is_wrapper(tensor):
        return keep(tensor)
    parts, recipe = wrapper_parts(tensor)
    return Wrapped(
        {name: _kept_tensor(part, keep) for name, part in parts.items()},
        recipe,
        tuple(tensor.shape),
    )


def brought_back(saved: Tree, live: Any, *, like: Tensor | None = None, where: str = "") -> Any:
    """Return ``saved`` as a live tree, using the tensors and containers of ``live`` wherever they fit.

    Args:
        saved: A kept tree.
        live: What is there now; tensors of it that fit are filled in place, containers of it are updated in place.
        like: A tensor (the parameter that a state belongs to) that says where a new tensor goes.
        where: Name of the tree, for messages.

    Raises:
        SnapshotError: A wrapper tensor has to be built and nothing says how.
    """
    if isinstance(saved, Kept):
        if saved.fits(live):
            saved.into(live)
            return live
        return saved.anew(like)
    if isinstance(saved, Wrapped):
        return _wrapped_back(saved, live, like, where)
    if isinstance(saved, dict):
        return _dict_back(saved, live if isinstance(live, dict) else {}, like, where)
    if isinstance(saved, list | tuple):
        return _sequence_back(saved, live, like, where)
    if isinstance(live, Tensor) and live.ndim == 0 and isinstance(saved, int | float):
        # A learning rate that became a Tensor since: a captured graph reads this very tensor.
        return live.fill_(saved)
    return copy.deepcopy(saved)


def _wrapped_back(saved: Wrapped, live: Any, like: Tensor | None, where: str) -> Tensor:
    live_parts: dict[str, Tensor] = wrapper_parts(live)[0] if is_wrapper(live) else {}
    if live_parts and tuple(live.shape) == saved.size:
        fitting = all(_fits(part, live_parts.get(name)) for name, part in saved.parts.items())
        if fitting:
            for name, part in saved.parts.items():
                brought_back(part, live_parts[name], where=where)
            return live  # type: ignore[no-any-return]
    recipe = saved.recipe
    if recipe is None and like is not None and is_wrapper(like) and tuple(like.shape) == saved.size:
        recipe = wrapper_parts(like.detach())[1]
    if recipe is None:
        raise SnapshotError(
            f"{where} is a sharded tensor of shape {saved.size} that is not there any more, and nothing of that shape "
            "says how it is sharded; take one optimizer step before restoring"
        )
    return recipe.build(
        {
            name: brought_back(part, None, like=like, where=where)
            for name, part in saved.parts.items()
        }
    )


def _fits(part: Kept | Wrapped, live: Tensor | None) -> bool:
    if isinstance(part, Kept):
        return part.fits(live)
    return is_wrapper(live) and tuple(live.shape) == part.size  # type: ignore[union-attr]


def _dict_back(
    saved: dict[Any, Any], live: dict[Any, Any], like: Tensor | None, where: str
) -> dict[Any, Any]:
    for key in [key for key in live if key not in saved]:
        del live[key]
    for key, value in saved.items():
        live[key] = brought_back(value, live.get(key), like=like, where=f"{where}.{key}")
    return live


def _sequence_back(
    saved: list[Any] | tuple[Any, ...], live: Any, like: Tensor | None, where: str
) -> Any:
    old = list(live) if isinstance(live, list | tuple) else []
    old += [None] * (len(saved) - len(old))
    items = [
        brought_back(value, old[index], like=like, where=f"{where}[{index}]")
        for index, value in enumerate(saved)
    ]
    if isinstance(saved, tuple):
        return _tuple_like(saved, items)
    if isinstance(live, list):
        live[:] = items
        return live
    return items


def _tuple_like(original: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
    if hasattr(original, "_fields"):
        return type(original)(*items)
    return tuple(items)
