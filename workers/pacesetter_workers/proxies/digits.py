"""Classifiers of handwritten digits (8 x 8 pixels) that train in seconds: a perceptron, a convolutional network."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pacesetter_workers.errors import ParameterRefused
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.proxies.coordinates import check
from pacesetter_workers.proxies.parameters import Parameters
from pacesetter_workers.proxies.recipe import read_recipe
from pacesetter_workers.proxies.training import MakeModel, Setting, Task, train
from pacesetter_workers.running import RunningTrial

SIDE, CLASSES = 8, 10
BASE_WIDTH, BASE_DEPTH = 32, 2
_SPLIT_SEED = 0


def mlp(trial: RunningTrial) -> Outcome:
    """Train a perceptron and return its cross-entropy on held-out digits; ``accuracy`` is a metric.

    Parameters beside those of every training (``recipe.py``): ``width`` (32), ``depth`` (2 layers), ``batch`` (64).
    """
    return _train("mlp", trial, Perceptron, perceptron_products)


def cnn(trial: RunningTrial) -> Outcome:
    """Train a convolutional network; the same parameters, with ``width`` channels in ``depth`` layers."""
    return _train("cnn", trial, Convolutional, convolutional_products)


def _train(
    name: str, trial: RunningTrial, make: MakeModel, products: Callable[[int, int], int]
) -> Outcome:
    given = Parameters(trial.parameters)
    width, depth = given.count("width", BASE_WIDTH), given.count("depth", BASE_DEPTH)
    batch = given.count("batch", 64)
    recipe = read_recipe(given, trial, steps=200, base_width=BASE_WIDTH, base_depth=BASE_DEPTH)
    given.finish(name)
    digits = load_digits()

    def task(wide: int) -> Classify:
        return Classify(digits, batch, products(wide, depth), recipe.seed)

    setting = Setting(make, task, depth, recipe)
    return check(trial, setting) if recipe.coordinates else train(trial, setting, width)


class Perceptron(nn.Module):
    """``depth`` hidden layers of ``width`` units."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        sizes = [SIDE * SIDE, *[width] * depth]
        pairs = pairwise(sizes)
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairs)
        self.readout = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, 1, 8, 8] to logits [batch, 10]."""
        x = images.flatten(1)
        for layer in self.hidden:
            x = functional.relu(layer(x))
        logits: Tensor = self.readout(x)
        return logits


class Convolutional(nn.Module):
    """``depth`` convolutions of 3 x 3 with ``width`` channels, and a readout of their mean."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        channels = [1, *[width] * depth]
        pairs = pairwise(channels)
        self.hidden = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, padding=1) for before, after in pairs
        )
        self.readout = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [batch, 1, 8, 8] to logits [batch, 10]."""
        x = images
        for layer in self.hidden:
            x = functional.relu(layer(x))
        logits: Tensor = self.readout(x.mean((2, 3)))
        return logits


def perceptron_products(width: int, depth: int) -> int:
    """Return the multiplications of one image's forward pass."""
    return SIDE * SIDE * width + (depth - 1) * width**2 + CLASSES * width


def convolutional_products(width: int, depth: int) -> int:
    """Return the multiplications of one image's forward pass: each weight at every place."""
    return SIDE * SIDE * 9 * (width + (depth - 1) * width**2) + CLASSES * width


@dataclass(frozen=True, slots=True)
class Digits:
    """Images [n, 1, 8, 8] in [0, 1] and classes [n], to train on and held out."""

    images: Tensor
    classes: Tensor
    held_out_images: Tensor
    held_out_classes: Tensor


@lru_cache(maxsize=1)
def load_digits() -> Digits:
    """Return scikit-learn's digits, 1437 to train on and 360 held out; nothing is downloaded.

    Raises:
        ParameterRefused: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise ParameterRefused(
            "the proxies mlp and cnn train on scikit-learn's digits, and this worker has no scikit-learn; install "
            "pacesetter-server[worker], or use byte_lm"
        ) from None
    found = datasets.load_digits()
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(found.target))
    images = torch.from_numpy(found.images[order] / 16.0).float()[:, None]
    classes = torch.from_numpy(found.target[order]).long()
    held = len(order) // 5 + 1
    return Digits(images[held:], classes[held:], images[:held], classes[:held])


class Classify(Task):
    """Tell digits apart, in batches drawn with replacement."""

    def __init__(self, data: Digits, batch: int, products: int, seed: int) -> None:
        self._data, self._batch, self._seed = data, batch, seed
        self.tokens = float(batch)
        # A backward pass multiplies twice as often as a forward pass, and a product comes with a sum: 6.
        self.flops = 6.0 * products * batch

    def loss(self, model: nn.Module, step: int) -> Tensor:
        """Return the mean cross-entropy."""
        rng = np.random.default_rng((self._seed, step))
        chosen = torch.from_numpy(rng.integers(0, len(self._data.classes), size=self._batch))
        device = next(model.parameters()).device
        logits = model(self._data.images[chosen].to(device))
        return functional.cross_entropy(logits.float(), self._data.classes[chosen].to(device))

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return loss and accuracy on all held-out images."""
        device = next(model.parameters()).device
        logits = model(self._data.held_out_images.to(device)).float()
        classes = self._data.held_out_classes.to(device)
        accuracy = (logits.argmax(1) == classes).float().mean()
        loss = functional.cross_entropy(logits, classes)
        return {"loss": float(loss), "accuracy": float(accuracy)}
