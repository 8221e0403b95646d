"""Networks on data sets of fixed size, gone through in epochs: digits, mnist1d, tables."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from benchmarks.quality.tasks.base import Recipe, Split, Trial, generator
from benchmarks.quality.tasks.data import DataName, Dataset, load
from benchmarks.quality.tasks.networks import NetworkName, build_network
from benchmarks.quality.tasks.optimizers import OptimizerName, build_optimizers

Batch: TypeAlias = tuple[Tensor, Tensor]
_ORDER = 1


@dataclass(frozen=True)
class SupervisedRecipe(Recipe):
    """A network, its data and its optimizer."""

    data: DataName
    network: NetworkName
    optimizer: OptimizerName
    batch: int
    width: int = 0
    depth: int = 0
    weight_decay: float = 0.0
    label_noise: float = 0.0
    data_seed: int = 0

    def open(self, seed: int, lr: float) -> "SupervisedTrial":
        """Return the training."""
        dataset = load(self.data, self.label_noise, self.data_seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = build_network(
                self.network, dataset.features, dataset.classes or 1, self.width, self.depth
            )
        optimizers = build_optimizers(self.optimizer, model, lr, self.weight_decay)
        return SupervisedTrial(model, optimizers, self, dataset, seed)


class SupervisedTrial(Trial):
    """Batches are cut from one permutation of the training data per epoch; what is left over is dropped."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: list[Optimizer],
        recipe: SupervisedRecipe,
        dataset: Dataset,
        seed: int,
    ) -> None:
        super().__init__(model, optimizers)
        self._recipe, self._dataset, self._seed = recipe, dataset, seed
        self._epoch_batches = max(1, len(dataset.train.inputs) // recipe.batch)
        self.epoch_batches = self._epoch_batches
        self._order = lru_cache(maxsize=4)(self._draw_order)

    def batch_at(self, position: int) -> Batch:
        """Return inputs and targets number ``position``."""
        epoch, index = divmod(position, self._epoch_batches)
        size = self._recipe.batch
        chosen = self._order(epoch)[index * size : (index + 1) * size]
        return self._dataset.train.inputs[chosen], self._dataset.train.targets[chosen]

    def loss(self, batch: Batch) -> Tensor:
        """Return cross-entropy in nats, or the mean squared error."""
        inputs, targets = batch
        outputs: Tensor = self.model(inputs)
        if self._recipe.network == "autoencoder":
            return functional.mse_loss(outputs, inputs)
        if self._dataset.classes is None:
            return functional.mse_loss(outputs.squeeze(1), targets)
        return functional.cross_entropy(outputs, targets)

    def held_out_loss(self, split: Split) -> float:
        """Return the loss over the whole split."""
        part = self._dataset.held_out[split]
        return float(self.loss((part.inputs, part.targets)))

    def _draw_order(self, epoch: int) -> Tensor:
        count = len(self._dataset.train.inputs)
        return torch.randperm(count, generator=generator(_ORDER, self._seed, epoch))
