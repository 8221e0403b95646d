"""What a task and one training of it are. Everything is data or a pure function of it, so results can be cached."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

Kind: TypeAlias = Literal["language", "vision", "tabular", "sequence", "policy", "quadratic"]
Split: TypeAlias = Literal["A", "B"]
"""A is what a search may see. B is what is reported."""


class Trial(ABC):
    """One training, opened: a model at its initial weights, its optimizers, its data.

    ``batch_at(position)`` is a pure function, so that a trial rewinds to any position. Splits A and B and the training
    data are disjoint.
    """

    epoch_batches: int | None = None
    """Batches in one pass over the training data; None where no data repeats."""

    def __init__(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.model = model
        self.optimizers = list(optimizers)

    @abstractmethod
    def batch_at(self, position: int) -> Any:
        """Return the training batch at ``position``, the same on every call."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Return the training loss of a batch, to call ``backward`` on."""

    @abstractmethod
    def held_out_loss(self, split: Split) -> float:
        """Return the loss on a split; called without gradients and in eval mode."""

    def validate(self, split: Split) -> float:
        """Return the loss on a split, lower is better; leaves the model as it was, in the mode it was."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with torch.no_grad():
                return self.held_out_loss(split)
        finally:
            for module, training in modes:
                module.training = training


class Recipe(ABC):
    """The exact description of a training: a frozen dataclass of plain values, and so its address in the cache."""

    @abstractmethod
    def open(self, seed: int, lr: float) -> Trial:
        """Return the training with weights and order of data drawn by ``seed``, its first group's rate at ``lr``."""


@dataclass(frozen=True)
class Task:
    """A training problem with its budget and what people would do without tuning."""

    name: str
    kind: Kind
    steps: int
    """The budget T."""
    optimizer: str
    """Label for people."""
    default_lr: float
    """The field's untuned default; also where a published law does not cover the task."""
    lr_grid_center: float
    """Where a sweep starts; it moves on by itself while its best rate is at an edge."""
    lm_like: bool
    """Fresh data, a language model's loss: where the published laws would apply at scale."""
    recipe: Recipe

    def open(self, seed: int, lr: float | None = None) -> Trial:
        """Return a new training; ``lr`` is of the first parameter group, others keep their ratio to it."""
        return self.recipe.open(seed, self.default_lr if lr is None else lr)


def generator(*keys: int) -> torch.Generator:
    """Return a generator that depends on every key and is well mixed even where keys are small and near."""
    mixed = 0x9E3779B97F4A7C15
    for key in keys:
        mixed = (mixed ^ (key + 0x7F4A7C15)) * 0xBF58476D1CE4E5B9 % 2**63
        mixed ^= mixed >> 29
    return torch.Generator().manual_seed(mixed)
