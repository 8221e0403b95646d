"""Calls the training code's own validation without leaving a trace."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

Validate = Callable[[], float]


class Validation:
    """Runs ``validate`` so that the training goes on as if it had not been run.

    The random state of Python, NumPy and torch and the ``training`` flag of every module return to what they were.
    """

    def __init__(self, validate: Validate, models: Sequence[nn.Module]) -> None:
        self._validate = validate
        self._models = tuple(models)

    def loss(self) -> float:
        """Return the validation loss."""
        modes = [(module, module.training) for model in self._models for module in model.modules()]
        python, numpy = random.getstate(), np.random.get_state()
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
        try:
            with torch.random.fork_rng(devices=devices):
                return float(self._validate())
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            for module, training in modes:
                module.training = training
