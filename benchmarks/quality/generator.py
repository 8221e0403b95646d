"""Draws tasks that nobody has tuned anything on. Development draws with seeds of 1000 and more."""

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np

from benchmarks.quality.tasks.base import Kind, Recipe, Task
from benchmarks.quality.tasks.data import DataName
from benchmarks.quality.tasks.language import LanguageRecipe
from benchmarks.quality.tasks.networks import NetworkName
from benchmarks.quality.tasks.optimizers import DEFAULT_LR, LABEL, OptimizerName
from benchmarks.quality.tasks.supervised import SupervisedRecipe

FINAL_SEED = 20261124
"""Of the tasks that are drawn and run once, when the code of the search is frozen. Nobody runs it before.

An earlier one, 20261123, was run once and showed a wrong belief of the drift; its tasks are development tasks since.
"""

_TABLES: tuple[DataName, ...] = (
    "classification",
    "friedman1",
    "friedman2",
    "regression",
    "breast_cancer",
    "diabetes",
)
_DATA: tuple[DataName | None, ...] = (
    None,
    None,
    "digits",
    "digits",
    "mnist1d",
    "mnist1d",
    *_TABLES,
)
"""What is drawn from, evenly; None is bytes."""
_NETWORKS: dict[DataName, tuple[NetworkName, ...]] = {
    "digits": ("mlp", "batchnorm_mlp", "residual", "linear", "autoencoder"),
    "mnist1d": ("mlp", "batchnorm_mlp", "cnn"),
}
_TABLE_NETWORKS: tuple[NetworkName, ...] = ("mlp", "batchnorm_mlp", "linear")
_OPTIMIZERS: tuple[OptimizerName, ...] = ("sgd", "momentum", "adam", "adamw", "rmsprop", "muon")
_LANGUAGE_OPTIMIZERS: dict[str, tuple[OptimizerName, ...]] = {
    "transformer": ("adam", "adamw", "muon"),
    "gru": ("adam", "rmsprop"),
}
_CENTERS: dict[OptimizerName, float] = {
    "sgd": -2.0,
    "momentum": -5.0,
    "adam": -8.0,
    "adamw": -8.0,
    "rmsprop": -9.0,
    "muon": -7.0,
}
"""Where a sweep starts, as log2; it moves on by itself."""

_Choice = TypeVar("_Choice")
_LEAST_STEPS, _MOST_STEPS, _MOST_LANGUAGE_STEPS, _MOST_HEAVY_STEPS = 600, 3000, 600, 1600


def draw(seed: int, count: int) -> tuple[Task, ...]:
    """Return ``count`` tasks; the first of them are the same for any count."""
    return tuple(_task(seed, index) for index in range(count))


def _task(seed: int, index: int) -> Task:
    rng = np.random.default_rng([seed, index])
    data = _pick(rng, _DATA)
    name = f"drawn-{seed}-{index}"
    return _language(name, rng) if data is None else _supervised(name, data, rng)


def _language(name: str, rng: np.random.Generator) -> Task:
    network: Literal["transformer", "gru"] = _pick(rng, ("transformer", "gru"))
    optimizer = _pick(rng, _LANGUAGE_OPTIMIZERS[network])
    recipe = LanguageRecipe(
        network=network,
        optimizer=optimizer,
        batch=_pick(rng, (4, 8, 16)),
        context=_pick(rng, (16, 32)),
        width=_pick(rng, (16, 32, 48)),
        depth=_pick(rng, (1, 2)),
        weight_decay=_pick(rng, (0.0, 0.1)),
    )
    steps = _horizon(rng, _LEAST_STEPS // 2, _MOST_LANGUAGE_STEPS)
    kind: Kind = "language" if network == "transformer" else "sequence"
    label = f"{network} width {recipe.width} depth {recipe.depth}"
    return _described(name, kind, steps, optimizer, recipe, label, lm_like=True)


def _supervised(name: str, data: DataName, rng: np.random.Generator) -> Task:
    network = _pick(rng, _NETWORKS.get(data, _TABLE_NETWORKS))
    optimizer = _pick(rng, _optimizers_for(network))
    noisy = bool(rng.random() < 0.5)
    recipe = SupervisedRecipe(
        data,
        network,
        optimizer,
        batch=_pick(rng, (16, 32, 64)),
        width=_pick(rng, _widths(network)),
        depth=_pick(rng, (2, 3) if network == "cnn" else (1, 2, 3)),
        weight_decay=_pick(rng, (0.0, 1e-4, 1e-3, 1e-2)),
        label_noise=_pick(rng, (0.1, 0.2, 0.3)) if noisy else 0.0,
        data_seed=int(rng.integers(1, 1000)),
    )
    heavy = network in ("cnn", "residual") or optimizer == "muon"
    steps = _horizon(rng, _LEAST_STEPS, _MOST_HEAVY_STEPS if heavy else _MOST_STEPS)
    kind: Kind = "vision" if data in ("digits", "mnist1d") else "tabular"
    label = f"{data} {network} width {recipe.width} depth {recipe.depth}"
    return _described(name, kind, steps, optimizer, recipe, label, lm_like=False)


def _described(
    name: str,
    kind: Kind,
    steps: int,
    optimizer: OptimizerName,
    recipe: Recipe,
    label: str,
    *,
    lm_like: bool,
) -> Task:
    return Task(
        name=name,
        kind=kind,
        steps=steps,
        optimizer=f"{LABEL[optimizer]}: {label}",
        default_lr=DEFAULT_LR[optimizer],
        lr_grid_center=2.0 ** _CENTERS[optimizer],
        lm_like=lm_like,
        recipe=recipe,
    )


def _optimizers_for(network: NetworkName) -> tuple[OptimizerName, ...]:
    if network in ("mlp", "batchnorm_mlp", "autoencoder"):
        return _OPTIMIZERS
    return tuple(name for name in _OPTIMIZERS if name != "muon")  # it wants hidden matrices


def _widths(network: NetworkName) -> tuple[int, ...]:
    return {"cnn": (8, 16, 24), "residual": (8, 16)}.get(network, (32, 64, 128))


def _horizon(rng: np.random.Generator, least: int, most: int) -> int:
    """Return a number of steps, evenly on a log scale, to the nearest 50."""
    return 50 * round(float(np.exp(rng.uniform(np.log(least), np.log(most)))) / 50)


def _pick(rng: np.random.Generator, choices: Sequence[_Choice]) -> _Choice:
    return choices[int(rng.integers(len(choices)))]
