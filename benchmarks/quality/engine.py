"""A plain torch loop without the service: what every reference and every baseline is trained with."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from pacesetter.schedules import WSD, Cosine, Linear, Schedule, Warmup
from torch.optim import Optimizer

from benchmarks.quality.tasks.base import Task, Trial

ShapeName: TypeAlias = Literal["linear", "cosine", "wsd20", "wsd50"]
SHAPES: tuple[ShapeName, ...] = ("linear", "cosine", "wsd20", "wsd50")

WARMUP_SHARE = 0.05
CURVE_POINTS = 100
LAST_SHARE = 0.05
"""The training loss that is reported is the mean over this last share of the steps."""


@dataclass(frozen=True)
class Outcome:
    """What one training reached.

    A run that meets a non-finite loss ends there and scores what the untrained model does. So does one that ends above
    that: how far above says nothing, and would rule every mean. Both count as ``lost``.
    """

    A: float
    B: float
    train_loss: float
    diverged: bool
    lost: bool
    steps: int
    """Steps taken; fewer than asked for where it diverged."""
    seconds: float
    losses: tuple[float, ...]
    """Training losses, each the mean over 1/100 of the steps."""


def shaped(name: ShapeName, steps: int) -> Schedule:
    """Return a base shape over ``steps`` with 5 % warm-up, as the pilot's rungs and references had."""
    body = {
        "linear": Linear(),
        "cosine": Cosine(),
        "wsd20": WSD(cooldown=0.2),
        "wsd50": WSD(cooldown=0.5),
    }[name]
    warmup = Warmup(length=max(1, round(WARMUP_SHARE * steps)))
    return Schedule(length=steps, warmup=warmup, body=body)


def train(task: Task, schedule: Schedule, lr: float, steps: int, seed: int) -> Outcome:
    """Train ``task`` for ``steps`` at ``lr`` times the schedule, and score both splits."""
    trial = task.open(seed, lr)
    untrained = trial.validate("A"), trial.validate("B")
    rates = RateWriter(trial.optimizers)
    multipliers = schedule.over(np.arange(steps, dtype=np.float64)).tolist()
    began = time.perf_counter()
    losses = advance(trial, rates, multipliers)
    seconds = time.perf_counter() - began
    diverged = len(losses) < steps or not math.isfinite(losses[-1])
    score = score_of(trial, untrained, diverged=diverged)
    last = losses[-max(1, round(LAST_SHARE * steps)) :]
    return Outcome(
        A=score[0],
        B=score[1],
        train_loss=math.nan if diverged else float(np.mean(last)),
        diverged=diverged,
        lost=diverged or score[1] >= untrained[1],
        steps=len(losses),
        seconds=round(seconds, 3),
        losses=thinned(losses),
    )


class RateWriter:
    """Sets every group's rate to a multiple of what it was opened with, so that ratios between groups stay."""

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._bases = [(group, float(group["lr"])) for group in groups]

    def write(self, multiplier: float) -> None:
        """Let the next step use ``multiplier`` times the base rates."""
        for group, base in self._bases:
            group["lr"] = base * multiplier


def advance(
    trial: Trial, rates: RateWriter, multipliers: Sequence[float], first: int = 0
) -> list[float]:
    """Train one step per multiplier on the batches from ``first`` on; return the losses, ending at a non-finite one."""
    losses = []
    for offset, multiplier in enumerate(multipliers):
        rates.write(multiplier)
        loss = trial.loss(trial.batch_at(first + offset))
        value = loss.item()
        losses.append(value)
        if not math.isfinite(value):
            break
        torch.autograd.backward(loss)
        for optimizer in trial.optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return losses


def score_of(
    trial: Trial, untrained: tuple[float, float], *, diverged: bool
) -> tuple[float, float]:
    """Return the losses on A and B, at most those of the untrained model."""
    if diverged:
        return untrained
    found = trial.validate("A"), trial.validate("B")
    if not (math.isfinite(found[0]) and math.isfinite(found[1])):
        return untrained
    return min(found[0], untrained[0]), min(found[1], untrained[1])


def thinned(losses: Sequence[float]) -> tuple[float, ...]:
    """Return means over at most 100 equal blocks."""
    blocks = np.array_split(np.asarray(losses), min(CURVE_POINTS, len(losses)))
    return tuple(float(f"{block.mean():.6g}") for block in blocks)
