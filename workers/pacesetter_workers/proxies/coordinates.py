"""The coordinate check of the built-in proxies: whether what they train keeps its sizes from width to width."""

from dataclasses import replace
from time import monotonic

import torch
from pacesetter.mup.checking import measure_coordinates
from pacesetter.protocol import Cost
from torch import Tensor, nn
from torch.optim import Optimizer

from pacesetter_workers.errors import TrialCancelled
from pacesetter_workers.outcome import Outcome
from pacesetter_workers.proxies.training import Setting, build, loss_of
from pacesetter_workers.running import RunningTrial

STEPS, SEEDS = 5, 6
SHARE = 1 / 8
"""Of the peak at which steps are taken: what a trial has at about its first ones, while it warms up. At the whole peak
from the first step on, which no trial has, some train as chaos that carry over widths well."""
READOUT = "readout"
"""Of all built-in models."""


def check(trial: RunningTrial, setting: Setting) -> Outcome:
    """Train the first steps at every width, at an eighth of the peak; return what came of it.

    Optimizer, weight decay, precision and form are those of the recipe, with two exceptions. Gradients are not clipped,
    which would hide how they grow. Readouts start at zero: others vanish with the width at first, and for how long
    depends on the rate.

    Raises:
        ParameterRefused: A model has no form in muP.
    """
    began, cost = monotonic(), Cost()
    recipe = replace(setting.recipe, lr=SHARE * setting.recipe.lr)
    setting = replace(setting, recipe=recipe)
    tasks = {width: setting.task(width) for width in recipe.coordinates}
    current = recipe.coordinates[0]

    def make(width: int) -> tuple[nn.Module, Optimizer]:
        nonlocal current
        current = width
        # The seed that was set for this start, of weights.
        model, optimizer = build(setting, width, torch.initial_seed())
        for parameter in model.get_submodule(READOUT).parameters():
            nn.init.zeros_(parameter)
        return model, optimizer

    def loss(model: nn.Module, step: int) -> Tensor:
        nonlocal cost
        task = tasks[current]
        cost = Cost(
            steps=cost.steps + 1,
            tokens=cost.tokens + task.tokens,
            flops=cost.flops + task.flops,
            seconds=monotonic() - began,
        )
        trial.alive()
        if trial.cancelled:
            raise TrialCancelled
        trial.spent(cost)
        return loss_of(model, task, step, recipe)

    found = measure_coordinates(
        make,
        recipe.coordinates,
        loss=loss,
        batches=range(STEPS),
        seeds=SEEDS,
        vanishing=(READOUT,),
    )
    trial.spent(cost.model_copy(update={"seconds": monotonic() - began}))
    return Outcome.of_check(found)
