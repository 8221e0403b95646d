"""A second text for language models: the C++ headers that torch ships."""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmarks.quality.tasks.base import Recipe, Split, Trial
from benchmarks.quality.tasks.language import VALIDATION_BATCHES, VALIDATION_WINDOWS
from benchmarks.quality.tasks.optimizers import OptimizerName, build_optimizers
from demo.model import ByteTransformer
from demo.text import MAX_BYTES, Corpus, Windows, load_corpus, to_tensor

TextName: TypeAlias = Literal["python", "c++"]
_VALIDATION_SEED = 1


@dataclass(frozen=True)
class TextRecipe(Recipe):
    """A byte-level transformer on one of two texts. No data repeats."""

    text: TextName
    optimizer: OptimizerName
    batch: int
    context: int
    width: int
    depth: int
    weight_decay: float = 0.1

    def open(self, seed: int, lr: float) -> "TextTrial":
        """Return the training."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = ByteTransformer(self.width, self.depth, self.width // 16, self.context)
        optimizers = build_optimizers(self.optimizer, model, lr, self.weight_decay)
        return TextTrial(model, optimizers, self, seed)


class TextTrial(Trial):
    """Batches are windows at random places of the text."""

    def __init__(
        self, model: ByteTransformer, optimizers: list[Optimizer], recipe: TextRecipe, seed: int
    ) -> None:
        super().__init__(model, optimizers)
        self._text, self._context = corpus(recipe.text), recipe.context
        self._windows = Windows(self._text.train, recipe.batch, recipe.context, seed)

    def batch_at(self, position: int) -> Tensor:
        """Return windows [batch, context + 1] of bytes."""
        return self._windows.batch_at(position)

    def loss(self, batch: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a byte."""
        loss: Tensor = self.model(batch)
        return loss

    def held_out_loss(self, split: Split) -> float:
        """Return the mean loss over fixed windows of files that are not trained on."""
        text = self._text.validation_a if split == "A" else self._text.validation_b
        windows = Windows(text, VALIDATION_WINDOWS, self._context, _VALIDATION_SEED)
        losses = [float(self.loss(windows.batch_at(i))) for i in range(VALIDATION_BATCHES)]
        return sum(losses) / len(losses)


@lru_cache(maxsize=2)
def corpus(text: TextName) -> Corpus:
    """Return a text in three disjoint sets of files, read once a process."""
    return load_corpus() if text == "python" else _headers()


def _headers() -> Corpus:
    root = Path(torch.__file__).parent / "include"
    parts: dict[str, list[bytes]] = {"train": [], "a": [], "b": []}
    total = 0
    # By checksum, so that the first bytes are of every part of the library.
    files = sorted((_checksum(root, path), path) for path in root.rglob("*.h"))
    for checksum, path in files:
        data = path.read_bytes()
        bucket = checksum % 20
        parts["a" if bucket == 0 else "b" if bucket == 1 else "train"].append(data)
        total += len(data)
        if total > MAX_BYTES:
            break
    if not all(parts.values()):
        raise SystemExit(f"too few headers under {root}: found {len(files)}; reinstall torch")
    return Corpus(*(to_tensor(b"".join(parts[key])) for key in ("train", "a", "b")))


def _checksum(root: Path, path: Path) -> int:
    return zlib.crc32(path.relative_to(root).as_posix().encode())
