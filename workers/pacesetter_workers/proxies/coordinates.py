"""The coordinate check of the built-in proxies: whether what they train keeps its sizes from width to width."""

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
READOUT = "readout"
"""Of all built-in models."""


def check(trial: RunningTrial, setting: Setting) -> Outcome:
    """Train the first steps at every width, at the peak of the rate from the first one on; return what came of it.

    Optimizer, weight decay, precision and form are those of the recipe, with two exceptions. Gradients are not clipped,
    which would hide how they grow. Readouts start at zero: others vanish with the width at first, and for how long
    depends on the rate.

    Raises:
        ParameterRefused: A model has no form in muP.
    """
    began, cost = monotonic(), Cost()
    recipe = setting.recipe
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
