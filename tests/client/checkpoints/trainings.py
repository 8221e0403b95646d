"""Small trainings that use every kind of state, to be left and returned to."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pacesetter.checkpoints import CheckpointStore, open_store
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Net(nn.Module):
    """Dropout, batch norm, a non-persistent buffer and tied weights."""

    scratch: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 12)
        self.norm = nn.BatchNorm1d(12)
        self.drop = nn.Dropout(0.3)
        self.second = nn.Linear(12, 12)
        self.tied = nn.Linear(12, 12)
        self.tied.weight = self.second.weight
        self.out = nn.Linear(12, 1)
        self.register_buffer("scratch", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.norm(self.first(x)).relu())
        self.scratch.mul_(0.9).add_(hidden.detach().mean())
        hidden = self.tied(self.second(hidden).relu())
        out: Tensor = self.out(hidden) + self.scratch.detach()
        return out


def batch() -> tuple[Tensor, Tensor]:
    """Return a batch drawn and augmented from every global generator."""
    x = torch.randn(16, 6) + float(np.random.randn()) * 0.1 + random.random() * 0.1
    return x, x.sum(1, keepdim=True)


OptimizerMaker = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, OptimizerMaker] = {
    "sgd_momentum": lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "adam_amsgrad": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "adamw_tensor_lr": lambda p: torch.optim.AdamW(p, torch.tensor(0.01), foreach=False),
    "adamw_fused": lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    "adafactor": lambda p: torch.optim.Adafactor(p, 0.01),
    "lbfgs": lambda p: torch.optim.LBFGS(p, 0.1, max_iter=3, history_size=4),
}


@dataclass
class Training:
    """A model that trains; ``step`` returns the loss of one optimizer step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler | None = None
    average: AveragedModel | None = None
    micro_batches: int = 1
    extras: dict[str, Any] = field(default_factory=dict)

    def step(self) -> float:
        if isinstance(self.optimizer, torch.optim.LBFGS):
            return float(self.optimizer.step(self._closure))  # type: ignore[no-untyped-call]
        loss = self._backward()
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss

    def steps(self, count: int) -> list[float]:
        return [self.step() for _ in range(count)]

    def _closure(self) -> float:
        self.optimizer.zero_grad()
        return self._backward()

    def _backward(self) -> float:
        total = 0.0
        for _ in range(self.micro_batches):
            x, y = batch()
            with torch.autocast("cpu", torch.bfloat16, enabled=self.scaler is not None):
                loss = nn.functional.mse_loss(self.model(x).float(), y) / self.micro_batches
            scaled = loss if self.scaler is None else self.scaler.scale(loss)
            scaled.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def store(self, **options: Any) -> CheckpointStore:
        extras = dict(self.extras)
        if self.average is not None:
            extras["average"] = self.average
        return open_store(self.model, self.optimizer, scaler=self.scaler, extras=extras, **options)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the training by a name of its own."""
        found: dict[str, Tensor] = dict(self.model.named_parameters())
        found.update(self.model.named_buffers())
        for index, state in enumerate(self.optimizer.state.values()):
            for key, value in state.items():
                if isinstance(value, Tensor):
                    found[f"{index}.{key}"] = value
        if self.average is not None:
            found.update({f"average.{k}": v for k, v in self.average.named_parameters()})
        return found


def make_training(optimizer: str = "adamw", **options: Any) -> Training:
    """Return a training with fixed seeds."""
    seed(7)
    model = options.pop("model", None) or Net()
    return Training(model, OPTIMIZERS[optimizer](list(model.parameters())), **options)


def with_everything() -> Training:
    """Return a training with AMP, a GradScaler that grows, accumulation and an EMA."""
    training = make_training(micro_batches=2)
    training.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
    averaging = get_ema_multi_avg_fn(0.9)  # type: ignore[no-untyped-call]
    training.average = AveragedModel(training.model, multi_avg_fn=averaging, use_buffers=True)
    return training


def seed(number: int) -> None:
    """Seed every global generator."""
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)
