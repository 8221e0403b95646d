"""Draws the jobs of a team: a few families of models, each trained at many sizes, budgets and batches."""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from pacesetter import Target
from pacesetter.protocol import Regime

from benchmarks.fleet.text import TextName, TextRecipe
from benchmarks.quality.tasks.base import Recipe, Task
from benchmarks.quality.tasks.optimizers import DEFAULT_LR, LABEL, OptimizerName
from benchmarks.quality.tasks.supervised import SupervisedRecipe

FINAL_SEED = 20261130
"""Of the fleet that is run once, when the code of search and memory no longer changes. Development draws with seeds of
1000 and more."""

_KINDS = ("text", "text", "text", "text", "images", "signals")
_TEXTS: tuple[TextName, ...] = ("python", "c++")
_TEXT_OPTIMIZERS: tuple[OptimizerName, ...] = ("adamw", "adamw", "muon")
_SMALL_OPTIMIZERS: tuple[OptimizerName, ...] = ("adamw", "momentum")

_Choice = TypeVar("_Choice")


@dataclass(frozen=True)
class FleetJob:
    """A job of the fleet: what is trained, and what it says of itself when it registers."""

    task: Task
    target: Target


def draw(seed: int, count: int) -> tuple[FleetJob, ...]:
    """Return ``count`` jobs; the first of them are the same for any count."""
    return tuple(_job(seed, index) for index in range(count))


def _job(seed: int, index: int) -> FleetJob:
    rng = np.random.default_rng([seed, index])
    kind = _pick(rng, _KINDS)
    name = f"fleet-{seed}-{index}"
    return _text(name, rng) if kind == "text" else _small(name, kind, rng)


def _text(name: str, rng: np.random.Generator) -> FleetJob:
    recipe = TextRecipe(
        text=_pick(rng, _TEXTS),
        optimizer=_pick(rng, _TEXT_OPTIMIZERS),
        batch=_pick(rng, (4, 8, 16)),
        context=_pick(rng, (32, 64)),
        width=_pick(rng, (16, 32, 48, 64)),
        depth=_pick(rng, (1, 2, 3)),
    )
    steps = _steps(rng, 800, 3200)
    label = f"{recipe.text} width {recipe.width} depth {recipe.depth} batch {recipe.batch}"
    return _described(
        name,
        f"bytes {recipe.text}",
        label,
        steps,
        recipe.optimizer,
        recipe,
        "pretrain",
        recipe.batch * recipe.context,
    )


def _small(name: str, kind: str, rng: np.random.Generator) -> FleetJob:
    data: Literal["digits", "mnist1d"] = "digits" if kind == "images" else "mnist1d"
    recipe = SupervisedRecipe(
        data,
        "mlp" if data == "digits" else "cnn",
        _pick(rng, _SMALL_OPTIMIZERS),
        batch=_pick(rng, (16, 32, 64)),
        width=_pick(rng, (32, 64, 128)) if data == "digits" else _pick(rng, (16, 24, 32)),
        depth=_pick(rng, (1, 2, 3)) if data == "digits" else _pick(rng, (2, 3)),
        weight_decay=1e-3,
        label_noise=0.1,
    )
    steps = _steps(rng, 300, 1200)
    label = (
        f"{data} {recipe.network} width {recipe.width} depth {recipe.depth} batch {recipe.batch}"
    )
    family = f"{data} {recipe.network}"
    return _described(name, family, label, steps, recipe.optimizer, recipe, "vision", recipe.batch)


def _described(
    name: str,
    family: str,
    label: str,
    steps: int,
    optimizer: OptimizerName,
    recipe: Recipe,
    regime: Regime,
    batch: float,
) -> FleetJob:
    task = Task(
        name=name,
        kind="language" if regime == "pretrain" else "vision",
        steps=steps,
        optimizer=f"{LABEL[optimizer]}: {label}",
        default_lr=DEFAULT_LR[optimizer],
        lr_grid_center=DEFAULT_LR[optimizer],
        lm_like=regime == "pretrain",
        recipe=recipe,
    )
    return FleetJob(task, Target(family=family, regime=regime, batch_tokens=batch))


def _steps(rng: np.random.Generator, least: int, most: int) -> int:
    """Return a number of steps, evenly on a log scale, to the nearest 20."""
    return 20 * round(float(np.exp(rng.uniform(np.log(least), np.log(most)))) / 20)


def _pick(rng: np.random.Generator, choices: tuple[_Choice, ...]) -> _Choice:
    return choices[int(rng.integers(len(choices)))]
