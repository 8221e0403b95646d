"""What projection did to the weights in the step just made, for whoever derives something from their change."""

from collections.abc import Mapping
from typing import Protocol
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor
from torch.optim import Optimizer


class Rescaling(Protocol):
    """Something that multiplies weights right after an optimizer step."""

    @property
    def last_factors(self) -> Mapping[int, Tensor]:
        """By ``id`` of the parameter, the 0-dim factor of the last step; nothing after a step without projection."""


_rescalings: WeakKeyDictionary[Optimizer, WeakSet[Rescaling]] = WeakKeyDictionary()


def note_rescaling(optimizer: Optimizer, rescaling: Rescaling) -> None:
    """Note that ``rescaling`` follows the steps of ``optimizer``."""
    _rescalings.setdefault(optimizer, WeakSet()).add(rescaling)


def forget_rescaling(optimizer: Optimizer, rescaling: Rescaling) -> None:
    """Note that it does no more."""
    _rescalings.get(optimizer, WeakSet()).discard(rescaling)


def last_factors(optimizer: Optimizer) -> dict[int, Tensor]:
    """Return, by ``id`` of the parameter, what the weights were multiplied by after the last step."""
    return {
        key: factor
        for rescaling in _rescalings.get(optimizer, WeakSet())
        for key, factor in rescaling.last_factors.items()
    }
