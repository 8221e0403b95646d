"""Which runs may speak of one another."""

from collections.abc import Sequence
from dataclasses import dataclass

from pacesetter.protocol import Parametrization, Regime, Target, Workload

from pacesetter_search.memory.records import RunRecord

_CLASSES = {"adamw": "adam", "nadam": "adam", "radam": "adam", "adamax": "adam"}
"""Optimizers whose best rates are alike, by the name that stands for them."""

SCALE = 2e7
"""Parameters from which on the published laws of language models are believed: a third of the smallest fitted."""


def class_of(optimizer: str) -> str:
    """Return the class of an optimizer: those within one have best rates that are alike."""
    name = optimizer.lower()
    return _CLASSES.get(name, name)


@dataclass(frozen=True, slots=True)
class Kind:
    """What evidence never crosses: another regime, class of optimizers, parametrisation or objective."""

    regime: Regime
    optimizer: str
    parametrization: Parametrization
    objective: str

    @classmethod
    def of(cls, workload: Workload, regime: Regime, optimizer: str) -> "Kind":
        """Return the kind of a workload."""
        objective = f"{workload.objective.mode} {workload.objective.name}"
        return cls(regime, class_of(optimizer), workload.parametrization, objective)

    @classmethod
    def of_target(cls, target: Target, regime: Regime | None = None) -> "Kind":
        """Return the kind of a target, or what it would be in another regime."""
        return cls.of(target, regime or target.regime, target.optimizer)

    def of_this(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Return the records of this kind, in their order."""
        return [one for one in records if Kind.of(one.workload, one.regime, one.optimizer) == self]

    @property
    def of_language(self) -> bool:
        """Whether the published laws of batch, weight decay and loss are about it: muP leaves these as they are."""
        return (self.regime, self.optimizer, self.objective) == ("pretrain", "adam", "min loss")

    @property
    def lawful(self) -> bool:
        """Whether the published laws of the best peak are about it."""
        return (self.regime, self.optimizer, self.parametrization, self.objective) == (
            "pretrain",
            "adam",
            "standard",
            "min loss",
        )
