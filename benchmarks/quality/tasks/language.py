"""Byte-level language models on the text of Python's standard library. No data repeats."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from benchmarks.quality.tasks.base import Recipe, Split, Trial
from benchmarks.quality.tasks.optimizers import OptimizerName, build_optimizers
from demo.model import ByteTransformer
from demo.text import Corpus, Windows, load_corpus

VALIDATION_WINDOWS, VALIDATION_BATCHES = 64, 4
_VALIDATION_SEED = 1
"""Of the windows to validate on; the same for every training."""


@dataclass(frozen=True)
class LanguageRecipe(Recipe):
    """A network, its optimizer and the shape of a batch."""

    network: Literal["transformer", "gru"]
    optimizer: OptimizerName
    batch: int
    context: int
    width: int
    depth: int
    weight_decay: float = 0.1

    def open(self, seed: int, lr: float) -> "LanguageTrial":
        """Return the training."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model: nn.Module
            if self.network == "gru":
                model = ByteGRU(self.width)
            else:
                model = ByteTransformer(self.width, self.depth, self.width // 16, self.context)
        optimizers = build_optimizers(self.optimizer, model, lr, self.weight_decay)
        return LanguageTrial(model, optimizers, self, seed)


class LanguageTrial(Trial):
    """Batches are windows at random places of the text."""

    def __init__(
        self, model: nn.Module, optimizers: list[Optimizer], recipe: LanguageRecipe, seed: int
    ) -> None:
        super().__init__(model, optimizers)
        self._context = recipe.context
        self._windows = Windows(corpus().train, recipe.batch, recipe.context, seed)

    def batch_at(self, position: int) -> Tensor:
        """Return windows [batch, context + 1] of bytes."""
        return self._windows.batch_at(position)

    def loss(self, batch: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a byte."""
        loss: Tensor = self.model(batch)
        return loss

    def held_out_loss(self, split: Split) -> float:
        """Return the mean loss over fixed windows of files that are not trained on."""
        text = corpus().validation_a if split == "A" else corpus().validation_b
        windows = Windows(text, VALIDATION_WINDOWS, self._context, _VALIDATION_SEED)
        losses = [float(self.loss(windows.batch_at(i))) for i in range(VALIDATION_BATCHES)]
        return sum(losses) / len(losses)


class ByteGRU(nn.Module):
    """Embedding, one GRU layer, readout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.readout = nn.Linear(width, 256)

    def forward(self, windows: Tensor) -> Tensor:
        hidden, _ = self.recurrent(self.embed(windows[:, :-1]))
        logits = self.readout(hidden).flatten(0, 1)
        return functional.cross_entropy(logits, windows[:, 1:].flatten())


@lru_cache(maxsize=1)
def corpus() -> Corpus:
    """Return the text, read once a process."""
    return load_corpus()
