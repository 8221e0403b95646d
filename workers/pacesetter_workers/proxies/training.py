"""The training loop of the built-in proxies: plain PyTorch, resumed bit for bit, ended where it diverges."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from pacesetter_workers.errors import TrialDiverged
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.proxies.recipe import Recipe
from pacesetter_workers.running import RunningTrial

DIVERGED = 2.0
"""Times the first loss: an untrained classifier is about as wrong as one can be by chance, and nothing comes back from
twice of that within a short run."""

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


def train(
    trial: RunningTrial, make: MakeModel, width: int, depth: int, task: Task, recipe: Recipe
) -> Outcome:
    """Train a model and return its loss on held-out data."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, groups = build(make, width, depth, recipe)
    model.to(device)
    optimizer = _optimizer(groups, recipe)
    peaks = [float(group["lr"]) for group in optimizer.param_groups]
    done, first = _restore(trial, model, optimizer)
    multiplier = recipe.schedule.evaluator()
    for step in range(done, recipe.steps):
        scale = multiplier(step)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * scale
        with _autocast(recipe, device):
            loss = task.loss(model, step)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if recipe.clip:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        value = loss.item()
        first = value if first is None else first
        trial.report(
            step + 1, loss=value, lr=recipe.lr * scale, tokens=task.tokens, flops=task.flops
        )
        if value > DIVERGED * first:
            raise TrialDiverged
        if (step + 1) % recipe.checkpoint_every == 0 and step + 1 < recipe.steps:
            _keep(trial, model, optimizer, step + 1, first)
    metrics = task.evaluate(model)
    objective = metrics.pop("loss")
    metrics["parameters"] = float(sum(each.numel() for each in model.parameters()))
    return Outcome(objective if math.isfinite(objective) else None, metrics)


def build(
    make: MakeModel, width: int, depth: int, recipe: Recipe
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Return a new model, the same for the same seed, and its parameter groups at the peak of the rate."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = make(width, depth)
    matrices = [each for each in model.parameters() if each.ndim >= 2]
    others = [each for each in model.parameters() if each.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "lr": recipe.lr, "weight_decay": recipe.weight_decay}
    ]
    if others:
        groups.append({"params": others, "lr": recipe.lr, "weight_decay": 0.0})
    return model, groups


def _optimizer(groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    if recipe.optimizer == "sgd":
        return SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    return AdamW(groups, lr=recipe.lr, betas=(recipe.beta1, recipe.beta2), eps=recipe.eps)


def _autocast(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    if recipe.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _keep(
    trial: RunningTrial, model: nn.Module, optimizer: Optimizer, done: int, first: float
) -> None:
    trial.checkpoint(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "done": done,
            "first": first,
        }
    )


def _restore(
    trial: RunningTrial, model: nn.Module, optimizer: Optimizer
) -> tuple[int, float | None]:
    """Bring back what an earlier attempt kept; return the steps it had done and its first loss."""
    kept = trial.restore()
    if kept is None:
        return 0, None
    model.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])
    return int(kept["done"]), float(kept["first"])
