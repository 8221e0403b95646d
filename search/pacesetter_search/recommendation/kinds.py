"""Which runs may speak of a target, and what may be borrowed where none does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pacesetter.protocol import Objective, Regime, Target, Workload

from pacesetter_search.memory import RunRecord
from pacesetter_search.transfer.published import LAWS, Change

_CLASSES = {"adamw": "adam", "nadam": "adam", "radam": "adam", "adamax": "adam"}
"""Optimizers whose best rates are alike, by the name that stands for them."""

LOSS = Objective()


@dataclass(frozen=True, slots=True)
class Kind:
    """What evidence never crosses: another regime, class of optimizers, parametrisation or objective."""

    regime: Regime
    optimizer: str
    parametrization: str
    objective: str

    @classmethod
    def of(cls, workload: Workload, regime: Regime, optimizer: str) -> "Kind":
        """Return the kind of a workload."""
        name = optimizer.lower()
        objective = f"{workload.objective.mode} {workload.objective.name}"
        return cls(regime, _CLASSES.get(name, name), workload.parametrization, objective)

    @classmethod
    def of_target(cls, target: Target, regime: Regime | None = None) -> "Kind":
        """Return the kind of a target, or what it would be in another regime."""
        return cls.of(target, regime or target.regime, target.optimizer)

    def of_this(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Return the records of this kind, in their order."""
        return [one for one in records if Kind.of(one.workload, one.regime, one.optimizer) == self]

    @property
    def lawful(self) -> bool:
        """Whether the published laws of the best peak are about it."""
        parts = (self.regime, self.optimizer, self.parametrization, self.objective)
        return parts == ("pretrain", "adam", "standard", "min loss")

    @property
    def of_language(self) -> bool:
        """Whether the published laws of batch, weight decay and loss are about it: muP leaves these as they are."""
        parts = (self.regime, self.optimizer, self.objective)
        return parts == ("pretrain", "adam", "min loss")


def is_loss(objective: Objective) -> bool:
    """Whether an objective is the loss that is trained, for which laws were fitted."""
    return (objective.mode, objective.name) == (LOSS.mode, LOSS.name)


def _lora_octaves() -> float:
    carry = LAWS["lora"].carry
    assert carry is not None
    return math.log2(carry(1.0, Change()))


BORROWED: Mapping[tuple[Regime, Regime], float] = {
    ("lora", "finetune"): _lora_octaves(),
    ("finetune", "lora"): -_lora_octaves(),
}
"""Octaves that the best peak of the first regime lies above that of the second."""

BORROWED_SD = 1.0
"""Octaves that this is off by: reports of LoRA's factor go from 3 to 15, by length, rank and alpha. Judgement."""


def lenders(regime: Regime) -> dict[Regime, float]:
    """Return the regimes that may lend to one, with the octaves to add to their peaks."""
    return {lender: octaves for (asker, lender), octaves in BORROWED.items() if asker == regime}
