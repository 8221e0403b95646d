"""The effective learning rate: how far one step turns a weight of which only the direction matters.

For a scale-invariant weight the gradient shrinks with the norm: a step of SGD turns it by ``lr / ||w||^2`` times the
gradient at norm one. Optimizers that divide the gradient's scale out turn it by ``lr / ||w||``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
)

from pacesetter.errors import ConfigurationError
from pacesetter.projection.hidden import hidden_weights
from pacesetter.run.rates import unwrap
from pacesetter.run.statistics import buckets_of, tensor_norms

NormPower: TypeAlias = Literal[1, 2]
"""What the learning rate is divided by: the norm, or its square."""

NamedParameters: TypeAlias = Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]

_FOLLOWS_GRADIENT = (SGD, ASGD)
_DIVIDES_GRADIENT = (Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop)


def effective_learning_rates(
    parameters: nn.Module | NamedParameters,
    optimizer: Optimizer,
    *,
    norm_power: NormPower | None = None,
) -> dict[str, float]:
    """Return the effective learning rate of each weight as it is now, by name [Lyle2024, arXiv 2407.01800].

    It is ``lr / ||w||^2`` under SGD and ``lr / ||w||`` under Adam and its relatives; infinite at norm zero.
    It says what a step does where only the direction of the weight matters: see :func:`scale_invariance`. Waits for the
    device, so call it where something is logged; ranks that shard call together.

    Args:
        parameters: A model, of which the hidden weights count, or parameters by name.
        optimizer: What trains them; weights that it does not train are left out.
        norm_power: 1 or 2, for an optimizer that is not torch's own.

    Raises:
        ConfigurationError: The optimizer is not known, and ``norm_power`` was not given.
    """
    inner = unwrap(optimizer)
    power = norm_power or norm_power_of(inner)
    rates = {id(p): group["lr"] for group in inner.param_groups for p in group["params"]}
    named = {name: p for name, p in named_parameters(parameters).items() if id(p) in rates}
    norms = norms_of(list(named.values()))
    return {
        name: float(rates[id(parameter)]) / norm**power if norm > 0.0 else float("inf")
        for (name, parameter), norm in zip(named.items(), norms, strict=True)
    }


def norm_power_of(optimizer: Optimizer) -> NormPower:
    """Return by which power of the norm an optimizer's learning rate is divided.

    Raises:
        ConfigurationError: It is not one of torch's.
    """
    if isinstance(optimizer, _FOLLOWS_GRADIENT):
        return 2
    if isinstance(optimizer, _DIVIDES_GRADIENT):
        return 1
    raise ConfigurationError(
        f"how the updates of {type(optimizer).__name__} scale with the gradient is not known; pass norm_power=2 if "
        "they are proportional to it, as in SGD, or norm_power=1 if its scale is divided out, as in Adam"
    )


def named_parameters(given: nn.Module | NamedParameters) -> dict[str, Tensor]:
    """Return parameters by name; of a model its hidden weights."""
    if isinstance(given, nn.Module):
        return {layer.name: layer.weight for layer in hidden_weights(given)}
    return dict(given)


@torch.no_grad()
def norms_of(parameters: Sequence[Tensor]) -> list[float]:
    """Return the l2 norm of each parameter, in their order. Waits for the device."""
    found: dict[int, float] = {}
    for bucket in buckets_of(parameters):
        norms = tensor_norms(bucket).tolist()
        found.update(zip(map(id, bucket.parameters), norms, strict=True))
    return [found[id(parameter)] for parameter in parameters]
