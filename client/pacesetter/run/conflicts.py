"""Who else might be moving the learning rate: a search made only once it has happened."""

import gc
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau


def likely_schedulers(optimizer: Optimizer) -> list[str]:
    """Return the schedulers alive in this process that drive ``optimizer``, by module and class.

    A scheduler leaves ``initial_lr`` and its wrapper of ``optimizer.step`` behind when it is deleted, so neither proves
    a live one; a live object that refers to the optimizer does. The search walks all objects and takes a while.
    """
    found = {_name(each) for each in gc.get_objects() if _drives(each, optimizer)}
    return sorted(found)


def _drives(candidate: Any, optimizer: Optimizer) -> bool:
    kind = type(candidate)
    if issubclass(kind, LRScheduler | ReduceLROnPlateau):
        return getattr(candidate, "optimizer", None) is optimizer
    # Schedulers of other libraries (timm, fairseq, ...) share the shape but no base class.
    if "scheduler" not in kind.__name__.lower():
        return False
    attributes = getattr(candidate, "__dict__", {})
    owned = attributes.get("optimizer")
    return callable(getattr(kind, "step", None)) and (
        owned is optimizer or getattr(owned, "optimizer", None) is optimizer
    )


def _name(scheduler: Any) -> str:
    kind = type(scheduler)
    return f"{kind.__module__}.{kind.__qualname__}"
