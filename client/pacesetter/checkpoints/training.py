"""The whole state of a training, put together from what ``open_store`` was given."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pacesetter.checkpoints.models import ModelsPart
from pacesetter.checkpoints.optimizers import OptimizerPart, optimizers_within
from pacesetter.checkpoints.parts import AccessorsPart, ObjectPart, Part, random_parts, tupled
from pacesetter.checkpoints.tensors import byte_count
from pacesetter.checkpoints.trees import Tree, dense_tensors
from pacesetter.errors import SnapshotError


class Training:
    """All parts of a training's state by name, in the order in which they are brought back."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        optimizers: Sequence[Optimizer],
        scaler: Any | None,
        extras: Mapping[str, Any],
    ) -> None:
        unique = {id(item): item for outer in optimizers for item in optimizers_within(outer)}
        self._optimizers = [OptimizerPart(item) for item in unique.values()]
        self._parts: dict[str, Part] = {"models": ModelsPart(models)}
        for index, part in enumerate(self._optimizers):
            self._parts[f"optimizer {index}"] = part
        if scaler is not None:
            self._parts["scaler"] = ObjectPart("scaler", scaler)
        for name, item in extras.items():
            self._parts[f"extra {name}"] = extra_part(name, item)
        # Last: loading the others may draw numbers.
        for name, generator in random_parts().items():
            self._parts[f"random {name}"] = generator

    def view(self) -> dict[str, Tree]:
        """Return the state as it is, with the training's own tensors."""
        return {name: part.view() for name, part in self._parts.items()}

    def check(self, saved: Mapping[str, Tree]) -> None:
        """See whether ``bring_back`` can work, before anything is changed.

        Raises:
            SnapshotError: The training has another shape than when the state was kept.
        """
        if saved.keys() != self._parts.keys():
            raise SnapshotError(
                f"the state was kept with {sorted(saved)} and there is {sorted(self._parts)} now; open the store with "
                "the same models, optimizers, scaler and extras"
            )
        for name, part in self._parts.items():
            part.check(saved[name])

    def bring_back(self, saved: Mapping[str, Tree]) -> None:
        """Make the training's state what ``saved`` says."""
        for name, part in self._parts.items():
            part.bring_back(saved[name])

    def expected_bytes(self) -> int:
        """Return what one state takes, optimizer state that comes with the first step included (an estimate)."""
        missing = sum(part.missing_bytes() for part in self._optimizers)
        return missing + sum(byte_count(tensor) for tensor in unique_tensors(self.view()))


def unique_tensors(view: Mapping[str, Tree]) -> list[Tensor]:
    """Return every dense tensor of a state once.

    Raises:
        SnapshotError: One of them cannot be copied in place.
    """
    found = {
        id(tensor): tensor for name, tree in view.items() for tensor in dense_tensors(tree, name)
    }
    return list(found.values())


def extra_part(name: str, item: Any) -> Part:
    """Return the part for an object that the training code wants kept.

    Raises:
        SnapshotError: It has no state that can be read and written.
    """
    if isinstance(item, nn.Module):
        return ModelsPart([item])
    if isinstance(item, Optimizer):
        return OptimizerPart(item)
    if isinstance(item, torch.Generator):
        return AccessorsPart(item.get_state, item.set_state)
    if isinstance(item, np.random.Generator):
        bits = item.bit_generator
        return AccessorsPart(lambda: bits.state, lambda state: setattr(bits, "state", state))
    if isinstance(item, random.Random):
        return AccessorsPart(item.getstate, lambda state: item.setstate(tupled(state)))
    if callable(getattr(item, "state_dict", None)) and callable(
        getattr(item, "load_state_dict", None)
    ):
        return ObjectPart(name, item)
    raise SnapshotError(
        f"extra {name!r} is a {type(item).__name__} without state_dict and load_state_dict; expected an object with "
        "both, a module, an optimizer or a random generator"
    )
