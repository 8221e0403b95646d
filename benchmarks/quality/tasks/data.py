"""Where the tasks' data come from: packages that ship or make them. Nothing is downloaded."""

import contextlib
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.quality.tasks.base import Split

DataName: TypeAlias = Literal[
    "digits",
    "mnist1d",
    "classification",
    "friedman1",
    "friedman2",
    "regression",
    "breast_cancer",
    "diabetes",
]


@dataclass(frozen=True)
class Part:
    """Inputs [n, features] and targets: [n] int64 classes, or [n] float32 of variance one."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Dataset:
    """Three disjoint parts. ``classes`` is None for regression."""

    train: Part
    held_out: dict[Split, Part]
    classes: int | None

    @property
    def features(self) -> int:
        """Length of one input."""
        return self.train.inputs.shape[1]


@lru_cache(maxsize=16)
def load(name: DataName, label_noise: float = 0.0, seed: int = 0) -> Dataset:
    """Return a data set, standardised, shuffled and split; the same for all trainings of a task.

    Args:
        name: Which one.
        label_noise: Share of training labels replaced by any class at random, or standard deviation of the noise
            added to training targets. Held-out labels stay clean.
        seed: Of the noise, the split, and the data themselves where they are made.
    """
    inputs, targets, classes = _read(name, seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(inputs))
    inputs, targets = inputs[order], targets[order]
    held = min(2000, len(inputs) // 5 if len(inputs) > 1000 else len(inputs) * 3 // 10)
    train = slice(2 * held, None)
    center, scale = inputs[train].mean(0), inputs[train].std(0)
    if name not in ("digits", "mnist1d"):  # those two are on one scale already
        inputs = (inputs - center) / np.where(scale > 0, scale, 1.0)
    noisy = _with_noise(targets[train], classes, label_noise, rng)
    return Dataset(
        _part(inputs[train], noisy, classes),
        {
            "A": _part(inputs[:held], targets[:held], classes),
            "B": _part(inputs[held : 2 * held], targets[held : 2 * held], classes),
        },
        classes,
    )


_Arrays: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any], int | None]


def _read(name: DataName, seed: int) -> _Arrays:
    from sklearn import datasets

    match name:
        case "digits":
            found = datasets.load_digits()
            return found.data / 16.0, found.target, 10
        case "mnist1d":
            return _mnist1d()
        case "classification":
            made = datasets.make_classification(
                6000, 20, n_informative=10, n_classes=4, class_sep=1.2, random_state=seed
            )
            return made[0], made[1], 4
        case "friedman1":
            return _scaled(datasets.make_friedman1(6000, 10, noise=1.0, random_state=seed))
        case "friedman2":
            return _scaled(datasets.make_friedman2(6000, noise=50.0, random_state=seed))
        case "regression":
            made = datasets.make_regression(
                6000, 30, n_informative=20, noise=40.0, random_state=seed
            )
            return _scaled((made[0], made[1]))
        case "breast_cancer":
            found = datasets.load_breast_cancer()
            return found.data, found.target, 2
        case "diabetes":
            found = datasets.load_diabetes()
            return _scaled((found.data, found.target))


def _scaled(made: tuple[npt.NDArray[Any], npt.NDArray[Any]]) -> _Arrays:
    inputs, targets = made
    return inputs, (targets - targets.mean()) / targets.std(), None


@lru_cache(maxsize=1)
def _mnist1d() -> _Arrays:
    from mnist1d.data import get_dataset_args, make_dataset

    arguments = get_dataset_args()
    arguments.num_samples = 8000
    state = np.random.get_state()
    with contextlib.redirect_stdout(io.StringIO()):
        made = make_dataset(arguments)  # seeds NumPy's global generator
    np.random.set_state(state)
    inputs = np.concatenate([made["x"], made["x_test"]])
    return inputs, np.concatenate([made["y"], made["y_test"]]), 10


def _with_noise(
    targets: npt.NDArray[Any], classes: int | None, noise: float, rng: np.random.Generator
) -> npt.NDArray[Any]:
    if noise == 0.0:
        return targets
    if classes is None:
        disturbed: npt.NDArray[Any] = targets + noise * rng.standard_normal(len(targets))
        return disturbed
    wrong = rng.random(len(targets)) < noise
    return np.where(wrong, rng.integers(0, classes, len(targets)), targets)


def _part(inputs: npt.NDArray[Any], targets: npt.NDArray[Any], classes: int | None) -> Part:
    kind = torch.float32 if classes is None else torch.int64
    return Part(torch.as_tensor(inputs, dtype=torch.float32), torch.as_tensor(targets).to(kind))
