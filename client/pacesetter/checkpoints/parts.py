"""What a training's state is made of, and its simpler parts: objects with a state, random generators."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pacesetter.checkpoints.tensors import cuda_in_use
from pacesetter.checkpoints.trees import Kept, Tree, Wrapped, brought_back


class Part(ABC):
    """One part of the training's state."""

    @abstractmethod
    def view(self) -> Tree:
        """Return the state as it is, with the training's own tensors."""

    @abstractmethod
    def check(self, saved: Tree) -> None:
        """See whether ``bring_back`` can work, before anything is changed.

        Raises:
            SnapshotError: The training has another shape than when the state was kept.
        """

    @abstractmethod
    def bring_back(self, saved: Tree) -> None:
        """Make the state what ``saved`` says."""


class ObjectPart(Part):
    """Anything with ``state_dict`` and ``load_state_dict``: a GradScaler, an EMA, a scheduler.

    Tensors that its ``state_dict`` returns by reference are filled in place. If anything else differs, the object's own
    ``load_state_dict`` gets the result, and decides about addresses itself.
    """

    def __init__(self, name: str, item: Any) -> None:
        self._name = name
        self._item = item

    def view(self) -> Tree:
        """Return what ``state_dict`` returns."""
        return self._item.state_dict()

    def check(self, saved: Tree) -> None:
        """Nothing can be said beforehand."""

    def bring_back(self, saved: Tree) -> None:
        """Fill in place what is live, and load the rest."""
        live, again = self._item.state_dict(), self._item.state_dict()
        in_place = _same_addresses(live, again) and _same_plain_values(saved, live)
        merged = brought_back(saved, live, where=self._name)
        if not in_place:
            self._item.load_state_dict(merged)


class AccessorsPart(Part):
    """A state that a pair of functions reads and writes: the random state of one generator."""

    def __init__(self, read: Callable[[], Tree], write: Callable[[Tree], Any]) -> None:
        self._read = read
        self._write = write

    def view(self) -> Tree:
        """Return what the generator returns."""
        return self._read()

    def check(self, saved: Tree) -> None:
        """A generator's state always fits."""

    def bring_back(self, saved: Tree) -> None:
        """Set the generator."""
        self._write(brought_back(saved, None))


def random_parts() -> dict[str, Part]:
    """Return the global generators: Python, NumPy, torch, and torch's devices that are in use."""
    return {
        "python": AccessorsPart(random.getstate, lambda state: random.setstate(tupled(state))),
        "numpy": AccessorsPart(np.random.get_state, np.random.set_state),
        "torch": AccessorsPart(torch.get_rng_state, torch.set_rng_state),
        "devices": AccessorsPart(_device_generators, _set_device_generators),
    }


def _device_generators() -> Tree:
    states: dict[str, Any] = {}
    if cuda_in_use():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    if torch.xpu.is_available():
        states["xpu"] = torch.xpu.get_rng_state_all()
    return states


def _set_device_generators(states: Tree) -> None:
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])
    if "xpu" in states:
        torch.xpu.set_rng_state_all(states["xpu"])


def tupled(state: Any) -> Any:
    """Return a generator's state with tuples for lists: a file may give lists back where Python wants tuples."""
    return tuple(tupled(item) for item in state) if isinstance(state, list | tuple) else state


def _leaves(tree: Tree) -> Iterator[Any]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from _leaves(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _leaves(value)
    else:
        yield tree


def _same_addresses(one: Tree, other: Tree) -> bool:
    first = [leaf.data_ptr() for leaf in _leaves(one) if isinstance(leaf, Tensor)]
    second = [leaf.data_ptr() for leaf in _leaves(other) if isinstance(leaf, Tensor)]
    return bool(first) and first == second


def _same_plain_values(saved: Tree, live: Tree) -> bool:
    tensors = (Tensor, Kept, Wrapped)
    first = [None if isinstance(leaf, tensors) else leaf for leaf in _leaves(saved)]
    second = [None if isinstance(leaf, tensors) else leaf for leaf in _leaves(live)]
    try:
        return bool(first == second)
    except (ValueError, RuntimeError):  # arrays do not compare to one truth value
        return False
