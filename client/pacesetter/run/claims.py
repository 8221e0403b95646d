"""Which run drives an optimizer: two would overwrite each other's learning rate."""

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from torch.optim import Optimizer

from pacesetter.errors import ConfigurationError
from pacesetter.run.optimizing import OptimizerSteps

if TYPE_CHECKING:
    from pacesetter.run.run import Run


@dataclass(frozen=True, slots=True)
class _Claim:
    """Weak, so that a run that nobody holds any more does not live on."""

    name: str
    run: "ref[Run]"
    steps: ref[OptimizerSteps]


_claims: WeakKeyDictionary[Optimizer, _Claim] = WeakKeyDictionary()


def check_unclaimed(optimizers: Iterable[Optimizer]) -> None:
    """See whether the optimizers are free; hooks of a run that was dropped without ``finish`` are taken off.

    Raises:
        ConfigurationError: Another run, which has not finished, drives one of them.
    """
    for optimizer in optimizers:
        found = _claims.get(optimizer)
        steps = None if found is None else found.steps()
        if found is None or steps is None or not steps.attached:
            continue
        if found.run() is not None:
            gc.collect()  # a dropped run is a cycle
        if found.run() is not None:
            raise ConfigurationError(
                f"this {type(optimizer).__name__} is already driven by the run {found.name!r}; expected one run an "
                "optimizer: call finish() on that run first, or attach this one with an optimizer of its own"
            )
        steps.detach()


def claim(optimizers: Iterable[Optimizer], run: "Run", steps: OptimizerSteps) -> None:
    """Note that ``run`` drives the optimizers, until its ``steps`` are detached."""
    for optimizer in optimizers:
        _claims[optimizer] = _Claim(run.job.name, ref(run), ref(steps))
