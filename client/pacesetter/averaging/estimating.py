"""What decaying now would give, without training: the averaged weights, measured."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from pacesetter.averaging.average import WeightAverage


def estimate_decay(
    average: WeightAverage,
    validate: Callable[[], float],
    *,
    batches: Iterable[Any] | None = None,
) -> float:
    """Return the validation loss of the averaged weights: an estimate of what a decay from here would reach.

    The model is what it was afterwards. It is an estimate: averaging reproduces a decay on the same gradients, and a
    run that decays would have met others. With BatchNorm pass ``batches``.

    Args:
        average: Whose weights are measured.
        validate: Returns the validation loss of the model, as for ``pacesetter.attach``.
        batches: Inputs to recompute the statistics of BatchNorm from; None leaves them.
    """
    with average.applied() as model:
        if batches is not None:
            recalibrate(model, batches)
        return float(validate())


def recalibrate(model: nn.Module, batches: Iterable[Any], *, most: int = 100) -> None:
    """Recompute the running statistics of every BatchNorm at the present weights, as the mean over batches.

    Args:
        model: Its training mode is what it was afterwards.
        batches: Inputs, or tuples that begin with them, on any device: they are moved to the model's.
        most: Batches to use at most.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    update_bn(islice(batches, most), model, device=device)
