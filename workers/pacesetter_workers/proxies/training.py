"""The training loop of the built-in proxies: plain PyTorch, resumed bit for bit, ended where it diverges."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from time import monotonic
from typing import Any

import torch
from pacesetter.errors import ConfigurationError
from pacesetter.mup import Parametrization
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from pacesetter_workers.errors import JobEnded, ParameterRefused, TrialDiverged
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.proxies.pacing import pace_of
from pacesetter_workers.proxies.recipe import Recipe
from pacesetter_workers.running import RunningTrial

DIVERGED = 2.0
"""Times the first loss: an untrained classifier is about as wrong as one can be by chance, and nothing comes back from
twice of that within a short run."""

CHECKPOINT_SECONDS = 10.0
"""What a killed trial may lose."""

MakeModel = Callable[[int, int], nn.Module]
"""Makes the model of a width and a depth."""


class Task(ABC):
    """What is trained on. ``tokens`` and ``flops`` are of one optimizer step."""

    tokens: float
    flops: float

    @abstractmethod
    def loss(self, model: nn.Module, step: int) -> Tensor:
        """Return the loss on batch number ``step``: the same batch whenever it is asked for."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return what the model reaches on data that it was not trained on; ``loss`` is the objective."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What trials train, but for its width.

    Attributes:
        make: Makes the model of a width and a depth.
        task: Returns what a model of a width is trained on.
        depth: Of the model.
        recipe: How it is trained.
        branches: Names or patterns of modules whose output is added to a residual stream; without any, muP carries a
            rate over widths alone.
    """

    make: MakeModel
    task: Callable[[int], Task]
    depth: int
    recipe: Recipe
    branches: tuple[str, ...] = ()


def train(trial: RunningTrial, setting: Setting, width: int) -> Outcome:
    """Train a new model of a width; return its loss on held-out data.

    Raises:
        ParameterRefused: The model has no form in muP.
    """
    recipe, task = setting.recipe, setting.task(width)
    model, optimizer = build(setting, width, recipe.seed)
    peaks = [float(group["lr"]) for group in optimizer.param_groups]
    done, first, resume = _restore(trial, model, optimizer)
    pace = pace_of(trial, model, optimizer, recipe, peaks, task.tokens, resume)
    kept_at = monotonic()
    for step in range(done, recipe.steps):
        if pace.is_over:
            raise JobEnded(
                f"the job that this trial runs as was ended at step {step} of {recipe.steps}; the loss there is no "
                "result of its parameters. Leave the job alone, or cancel the experiment instead"
            )
        scale = pace.multiplier(step)
        loss = loss_of(model, task, step, recipe)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if recipe.clip:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        pace.step(loss)
        value = loss.item()
        first = value if first is None else first
        trial.report(
            step + 1, loss=value, lr=recipe.lr * scale, tokens=task.tokens, flops=task.flops
        )
        if value > DIVERGED * first:
            raise TrialDiverged
        if step + 1 < recipe.steps and _is_due(recipe, step + 1, kept_at):
            _keep(trial, model, optimizer, step + 1, first, pace.state())
            kept_at = monotonic()
    metrics = task.evaluate(model)
    objective = metrics.pop("loss")
    metrics["parameters"] = float(sum(each.numel() for each in model.parameters()))
    return Outcome(objective if math.isfinite(objective) else None, metrics)


def build(setting: Setting, width: int, seed: int) -> tuple[nn.Module, Optimizer]:
    """Return a new model on its device, the same for the same seed, and its optimizer at the peak of the rate.

    Raises:
        ParameterRefused: The model has no form in muP.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = setting.make(width, setting.depth)
    groups = _groups(setting, model, width)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model, _optimizer(groups, setting.recipe)


def loss_of(model: nn.Module, task: Task, step: int, recipe: Recipe) -> Tensor:
    """Return the loss on batch number ``step``, in the recipe's precision."""
    with _autocast(recipe, next(model.parameters()).device):
        return task.loss(model, step)


def _groups(setting: Setting, model: nn.Module, width: int) -> list[dict[str, Any]]:
    """Return the parameter groups of a new model, which muP changes in place."""
    recipe = setting.recipe
    if recipe.parametrization == "mup":
        return _by_mup(setting, model, width)
    matrices = [each for each in model.parameters() if each.ndim >= 2]
    others = [each for each in model.parameters() if each.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "lr": recipe.lr, "weight_decay": recipe.weight_decay}
    ]
    if others:
        groups.append({"params": others, "lr": recipe.lr, "weight_decay": 0.0})
    return groups


def _by_mup(setting: Setting, model: nn.Module, width: int) -> list[dict[str, Any]]:
    """Bring a model into muP (and CompleteP, where it is deeper than the base), and return its groups."""
    recipe, depth, branches = setting.recipe, setting.depth, setting.branches
    try:
        form = Parametrization.by_shapes(
            lambda wide: setting.make(wide, depth),
            width,
            base_width=recipe.base_width,
            depth_ratio=depth / recipe.base_depth if branches else 1.0,
            branches=branches,
        )
    except ConfigurationError as error:
        raise ParameterRefused(f"parametrization 'mup' cannot be had: {error}") from None
    form.apply_(model)
    return form.groups(
        model,
        recipe.lr,
        weight_decay=recipe.weight_decay,
        eps=recipe.eps if recipe.optimizer == "adamw" else None,
        optimizer=recipe.optimizer,
    )


def _optimizer(groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    if recipe.optimizer == "sgd":
        return SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    return AdamW(groups, lr=recipe.lr, betas=(recipe.beta1, recipe.beta2), eps=recipe.eps)


def _autocast(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    if recipe.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _is_due(recipe: Recipe, done: int, kept_at: float) -> bool:
    if recipe.checkpoint_every:
        return done % recipe.checkpoint_every == 0
    return monotonic() - kept_at >= CHECKPOINT_SECONDS


def _keep(
    trial: RunningTrial,
    model: nn.Module,
    optimizer: Optimizer,
    done: int,
    first: float,
    pace: dict[str, Any] | None,
) -> None:
    trial.checkpoint(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "done": done,
            "first": first,
            "pace": pace,
        }
    )


def _restore(
    trial: RunningTrial, model: nn.Module, optimizer: Optimizer
) -> tuple[int, float | None, dict[str, Any] | None]:
    """Bring back what an earlier attempt kept; return the steps it had done, its first loss, and its pace."""
    kept = trial.restore()
    if kept is None:
        return 0, None, None
    model.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])
    return int(kept["done"]), float(kept["first"]), kept.get("pace")
