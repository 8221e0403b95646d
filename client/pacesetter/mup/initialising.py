"""Brings a model's own initialisation to the one that muP asks for."""

import math

import torch
from torch import Tensor

from pacesetter.errors import ConfigurationError
from pacesetter.mup.classes import Rule, rms

SURE = 5.0
"""Standard errors within which a measured ratio is one of those that initialisations have."""


@torch.no_grad()
def rescale_(rule: Rule, parameter: Tensor, width_ratio: float) -> None:
    """Scale a tensor so that its root mean square is the base's times ``rule.std_scale``.

    Raises:
        ConfigurationError: The rule does not know the base's.
    """
    if rule.fan_in == rule.fan_out == 1.0 and width_ratio == 1.0:
        return
    if rule.base_rms is None:
        raise ConfigurationError(
            f"how the base's {rule.name} is initialised is not known to a parametrization from a map; initialise the "
            "model yourself, with std_scale of its rules, and call install()"
        )
    own = rms(parameter)
    if own == 0.0 or rule.base_rms == 0.0:
        return
    factor = rule.std_scale / _own_ratio(rule, own / rule.base_rms, parameter.numel(), width_ratio)
    if factor != 1.0:
        parameter.mul_(factor)


def _own_ratio(rule: Rule, measured: float, entries: int, width_ratio: float) -> float:
    """Return how the model's own initialisation went with the width: exactly, where it is one of the known ways.

    They are constant, ``1/sqrt(fan_in)`` (torch's linear layers) and ``1/sqrt(width)`` (their biases, and embeddings of
    models that know one standard deviation). A sample of n normal entries has a root mean square with a relative error
    of ``1/sqrt(2 n)``.
    """
    base_entries = entries / (rule.fan_in * rule.fan_out)
    error = math.sqrt(0.5 / entries + 0.5 / max(base_entries, 1.0))
    known = {1.0, rule.fan_in**-0.5, width_ratio**-0.5}
    nearest = min(known, key=lambda ratio: abs(math.log(measured / ratio)))
    close = abs(math.log(measured / nearest)) <= SURE * error + 1e-6
    return nearest if close else measured
