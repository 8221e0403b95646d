"""Calls the training code's own validation without leaving a trace."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from pacesetter.errors import ConfigurationError

Validate = Callable[[], float]


class Validation:
    """Runs ``validate`` so that the training goes on as if it had not been run.

    The random state of Python, NumPy and torch and the ``training`` flag of every module return to what they were.
    """

    def __init__(self, validate: Validate, models: Sequence[nn.Module]) -> None:
        if not callable(validate):
            raise ConfigurationError(
                f"validate is a {type(validate).__name__}; expected a function that returns the validation loss"
            )
        self._validate = validate
        self._models = tuple(models)

    def loss(self) -> float:
        """Return the validation loss.

        Raises:
            ConfigurationError: ``validate`` returned something that is no number. What it raises itself goes through.
        """
        modes = [(module, module.training) for model in self._models for module in model.modules()]
        python, numpy = random.getstate(), np.random.get_state()
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
        try:
            with torch.random.fork_rng(devices=devices):
                return _number(self._validate())
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            for module, training in modes:
                module.training = training


def _number(returned: object) -> float:
    if isinstance(returned, torch.Tensor):
        returned = returned.detach()  # one that still requires a gradient would be warned of
    try:
        return float(returned)  # type: ignore[arg-type]  # whatever the training code returned
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"validate() returned a {type(returned).__name__} that is no number ({error}); expected the validation "
            "loss as a float, or a tensor of one element"
        ) from error
