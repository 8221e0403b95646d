"""Optimizers, weights and one observation, for the tests of the verification."""

from collections.abc import Callable

import torch
from pacesetter.run.verification import Resolution, Verifier
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

LR = 1e-3
Make = Callable[[list[nn.Parameter]], Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: SGD(p, LR),
    "sgd decay": lambda p: SGD(p, LR, weight_decay=0.1),
    "sgd maximize": lambda p: SGD(p, LR, weight_decay=0.1, maximize=True),
    "sgd momentum": lambda p: SGD(p, LR, momentum=0.9),
    "sgd dampening": lambda p: SGD(p, LR, momentum=0.9, dampening=0.5, weight_decay=0.1),
    "sgd nesterov": lambda p: SGD(p, LR, momentum=0.9, nesterov=True, weight_decay=0.1),
    "sgd nesterov maximize": lambda p: SGD(p, LR, momentum=0.9, nesterov=True, maximize=True),
    "sgd foreach": lambda p: SGD(p, LR, momentum=0.9, foreach=True),
    "sgd fused": lambda p: SGD(p, LR, momentum=0.9, weight_decay=0.1, fused=True),
    "adam": lambda p: Adam(p, LR),
    "adam decay": lambda p: Adam(p, LR, weight_decay=0.1),
    "adam maximize": lambda p: Adam(p, LR, maximize=True),
    "adam amsgrad": lambda p: Adam(p, LR, amsgrad=True, weight_decay=0.1),
    "adam fused": lambda p: Adam(p, LR, fused=True, amsgrad=True),
    "adam decoupled": lambda p: Adam(p, LR, weight_decay=0.1, decoupled_weight_decay=True),
    "adamw": lambda p: AdamW(p, LR),
    "adamw heavy decay": lambda p: AdamW(p, LR, weight_decay=10.0),
    "adamw amsgrad": lambda p: AdamW(p, LR, amsgrad=True, maximize=True),
    "adamw foreach": lambda p: AdamW(p, LR, foreach=True),
    "adamw single": lambda p: AdamW(p, LR, foreach=False),
    "adamw fused": lambda p: AdamW(p, LR, fused=True),
    "adamw tensor lr": lambda p: AdamW(p, torch.tensor(LR)),
    "adamw large eps": lambda p: AdamW(p, LR, eps=1.0),
}


def weights(
    dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = (60, 50), scale: float = 0.02
) -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [
        nn.Parameter((scale * torch.randn(shape)).to(dtype)),
        nn.Parameter(torch.ones(shape[-1], dtype=dtype)),
    ]


def give_gradients(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)


def observe(
    optimizer: Optimizer, parameters: list[nn.Parameter], announced: float, *, steps: int = 3
) -> Resolution:
    """Train some steps and return what the last of them showed."""
    verifier = Verifier(optimizer)
    for _ in range(steps):
        give_gradients(parameters)
        verifier.arm()
        optimizer.step()
        pending = verifier.collect()
        optimizer.zero_grad()
    return pending.resolve(announced)
