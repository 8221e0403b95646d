"""Optimizers that promise to need no learning rate, with their authors' defaults, for all steps that may be used."""

import contextlib
import io
import math
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from benchmarks.quality.engine import WARMUP_SHARE, RateWriter, advance, score_of, shaped
from benchmarks.quality.score import Score
from benchmarks.quality.tasks.base import Task, Trial

CALIBRATION_BATCHES = 50
"""For the statistics of batch normalisation at Schedule-Free's averaged weights, as its authors' README says."""

Build: TypeAlias = Callable[[Task, nn.Module, int], Optimizer]


def fits(task: Task) -> bool:
    """Whether the task trains weights by gradients: the quadratic moves moments instead."""
    return task.kind != "quadratic"


def prodigy(task: Task, steps: int, total: int, seed: int) -> Score:
    """Prodigy [Mishchenko2024, arXiv 2306.06101] on a cosine."""
    del steps
    return _train(task, _prodigy, total, seed)


def d_adaptation(task: Task, steps: int, total: int, seed: int) -> Score:
    """D-Adaptation [Defazio2023, arXiv 2301.07733] of the task's kind of optimizer, on a cosine."""
    del steps
    return _train(task, _d_adaptation, total, seed)


def schedule_free(task: Task, steps: int, total: int, seed: int) -> Score:
    """Schedule-Free [Defazio2024, arXiv 2405.15682] of the task's kind of optimizer, with its own warm-up."""
    del steps
    return _train(task, _schedule_free, total, seed, scheduled=False)


def _prodigy(task: Task, model: nn.Module, total: int) -> Optimizer:
    from prodigyopt import Prodigy

    del total
    built: Optimizer
    with contextlib.redirect_stdout(io.StringIO()):  # it says on every start what it was told
        decay = _weight_decay(task)
        built = Prodigy(model.parameters(), weight_decay=decay, safeguard_warmup=True)
    return built


def _d_adaptation(task: Task, model: nn.Module, total: int) -> Optimizer:
    from dadaptation import DAdaptAdam, DAdaptSGD

    del total
    decay = _weight_decay(task)
    built: Optimizer
    with contextlib.redirect_stdout(io.StringIO()):
        if _is_sgd(task):
            built = DAdaptSGD(model.parameters(), momentum=_momentum(task), weight_decay=decay)
        else:
            built = DAdaptAdam(model.parameters(), weight_decay=decay, decouple=True)
    return built


def _schedule_free(task: Task, model: nn.Module, total: int) -> Optimizer:
    from schedulefree import AdamWScheduleFree, SGDScheduleFree

    kind = SGDScheduleFree if _is_sgd(task) else AdamWScheduleFree
    warmup = max(1, round(WARMUP_SHARE * total))
    built: Optimizer = kind(
        model.parameters(), weight_decay=_weight_decay(task), warmup_steps=warmup
    )
    return built


def _train(task: Task, build: Build, total: int, seed: int, *, scheduled: bool = True) -> Score:
    trial = task.open(seed)
    untrained = trial.validate("A"), trial.validate("B")
    optimizer = build(task, trial.model, total)
    trial.optimizers = [optimizer]
    _switch(optimizer, "train")
    multipliers = np.ones(total)
    if scheduled:
        multipliers = shaped("cosine", total).over(np.arange(total, dtype=np.float64))
    began = time.perf_counter()
    losses = advance(trial, RateWriter([optimizer]), multipliers.tolist())
    seconds = time.perf_counter() - began
    diverged = len(losses) < total or not math.isfinite(losses[-1])
    if _switch(optimizer, "eval") and not diverged:
        _calibrate(trial)
    final = score_of(trial, untrained, diverged=diverged)
    return Score(
        A=final[0],
        B=final[1],
        lost=diverged or final[1] >= untrained[1],
        steps=len(losses),
        main_steps=len(losses),
        seconds={"main": round(seconds, 3)},
    )


def _switch(optimizer: Optimizer, mode: str) -> bool:
    """Switch an optimizer that keeps two sets of weights; return whether it does."""
    switch: Any = getattr(optimizer, mode, None)
    if switch is None:
        return False
    switch()
    return True


@torch.no_grad()
def _calibrate(trial: Trial) -> None:
    """Fill the running statistics of batch normalisation anew; without any there is nothing to do."""
    if not any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) for module in trial.model.modules()
    ):
        return
    trial.model.train()
    for position in range(CALIBRATION_BATCHES):
        trial.loss(trial.batch_at(position))


def _weight_decay(task: Task) -> float:
    return float(getattr(task.recipe, "weight_decay", 0.0))


def _is_sgd(task: Task) -> bool:
    return getattr(task.recipe, "optimizer", "") in ("sgd", "momentum")


def _momentum(task: Task) -> float:
    return 0.9 if getattr(task.recipe, "optimizer", "") == "momentum" else 0.0
