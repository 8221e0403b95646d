"""The normalisation check: which layers feel nothing but the direction of their weight.

Asked of the model itself, not of its architecture: the weight is doubled, and the output has to stay. How much it moved
is told in units of what a random change of the same size does to it, so that a layer with little influence is not taken
for an invariant one.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pacesetter.errors import ConfigurationError
from pacesetter.projection.hidden import HiddenWeight, hidden_weights

Forward = Callable[[], Any]

FACTOR = 2.0
"""What a weight is multiplied by: a power of two, which rounds nothing."""

TOLERANCE = 0.01
"""Largest change, as a share of that of a random one. LayerNorm's epsilon of 1e-5 reaches it where the variance of what
it normalises is below 5e-4: there it does damp, and the layer is not invariant."""

UNREACHED = 1e-6
"""Relative change of the output below which a random change of the weight is taken not to reach it."""

SEED = 0


@dataclass(frozen=True, slots=True)
class LayerScaling:
    """What doubling one weight did to the output.

    Attributes:
        name: The parameter's name in the model.
        invariant: Whether only its direction matters, so that its norm may be held.
        change: Change of the output, over that under a random change of the same size; NaN where that is zero.
        is_output: Whether the layer was the last one to be called and is not invariant: the output layer.
        reason: Why it is not invariant, and what to do; empty where it is.
    """

    name: str
    invariant: bool
    change: float
    is_output: bool = False
    reason: str = ""


def scale_invariance(model: nn.Module, forward: Forward) -> tuple[LayerScaling, ...]:
    """Test each hidden weight of a model: double it, and see whether the output stays.

    Takes three forward passes a weight, in training mode (batch normalisation is invariant in no other) and without
    gradients. Biases are given values as a training would, since one that starts at zero hides that it breaks the
    invariance. Weights, biases, buffers, modes and random states are put back. Ranks call together.

    Args:
        model: The plain model, before ``fully_shard``.
        forward: Runs the model on one fixed batch and returns the output, e.g. ``lambda: model(batch)``.

    Raises:
        ConfigurationError: ``forward`` gives no tensor, NaN, or other values each time; or the model is sharded.
    """
    candidates = hidden_weights(model)
    _check_whole(candidates)
    with torch.no_grad(), _undisturbed(model, candidates):
        last = _last_called(model, forward)
        _give_biases(candidates)
        reference = _reference(forward)
        found = [_tested(each, forward, reference) for each in candidates]
    return tuple(
        _as_output(result) if layer.module is last else result
        for layer, result in zip(candidates, found, strict=True)
    )


def _tested(layer: HiddenWeight, forward: Forward, reference: Tensor) -> LayerScaling:
    if not bool(layer.weight.any()):
        reason = "it is zero: initialise it with a norm above 0, or leave it out"
        return LayerScaling(layer.name, False, float("nan"), reason=reason)
    sensitivity = _distance(forward, reference, {layer.weight: _turned(layer.weight)})
    if not sensitivity > UNREACHED * float(reference.norm()):
        reason = (
            "the output does not depend on it (a closed gate, a zero weight behind it, or an unused layer): "
            "check again after some steps, or leave it out"
        )
        return LayerScaling(layer.name, False, float("nan"), reason=reason)
    change = _distance(forward, reference, {layer.weight: FACTOR * layer.weight}) / sensitivity
    if change <= TOLERANCE:
        return LayerScaling(layer.name, True, change)
    reason = "no normalisation layer takes its scale away: put LayerNorm, RMSNorm or BatchNorm between it and the next"
    reason += " nonlinearity, or leave it out"
    bias = layer.bias
    if bias is not None:
        both = {layer.weight: FACTOR * layer.weight, bias: FACTOR * bias}
        if _distance(forward, reference, both) / sensitivity <= TOLERANCE:
            reason = "it is invariant only together with its bias: make the layer with bias=False"
    return LayerScaling(layer.name, False, change, reason=reason)


def _distance(forward: Forward, reference: Tensor, values: Mapping[nn.Parameter, Tensor]) -> float:
    """Return how far the output moves when parameters take other values for one forward pass."""
    kept = {parameter: parameter.clone() for parameter in values}
    try:
        for parameter, value in values.items():
            parameter.copy_(value)
        moved = _output(forward)
    finally:
        for parameter, value in kept.items():
            parameter.copy_(value)
    return float(torch.linalg.vector_norm(moved - reference))


def _turned(weight: Tensor) -> Tensor:
    """Return the weight plus a random one of the same norm."""
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn(weight.shape, generator=generator).to(weight)
    turned: Tensor = weight + noise * (weight.norm() / noise.norm())
    return turned


def _give_biases(layers: Sequence[HiddenWeight]) -> None:
    """Give every bias values as large as what its layer returns for inputs of size one."""
    for layer in layers:
        if layer.bias is None:
            continue
        generator = torch.Generator().manual_seed(SEED)
        noise = torch.randn(layer.bias.shape, generator=generator).to(layer.bias)
        layer.bias.copy_(noise * layer.weight.norm() / layer.bias.numel() ** 0.5)


def _reference(forward: Forward) -> Tensor:
    first, second = _output(forward), _output(forward)
    if first.numel() == 0 or not bool(first.isfinite().all()):
        raise ConfigurationError(
            f"forward() returned {first.numel()} numbers, not all of them finite; expected the model's output "
            "on one batch"
        )
    same = first.shape == second.shape and float((first - second).norm()) <= UNREACHED * float(
        first.norm()
    )
    if not same:
        raise ConfigurationError(
            "forward() returned other values when it was called again on the same weights; expected the output for "
            "one fixed batch: fetch the batch before, and return model(batch)"
        )
    return first


def _output(forward: Forward) -> Tensor:
    """Return everything that ``forward`` returns, as one vector; the same random numbers each time."""
    torch.manual_seed(SEED)
    flat = [each.detach().reshape(-1).to("cpu", torch.float64) for each in _tensors(forward())]
    return torch.cat(flat) if flat else torch.zeros(0)


def _tensors(returned: Any) -> Iterator[Tensor]:
    if isinstance(returned, Tensor):
        if returned.is_floating_point():
            yield returned
    elif isinstance(returned, Mapping):
        for value in returned.values():
            yield from _tensors(value)
    elif isinstance(returned, list | tuple):
        for value in returned:
            yield from _tensors(value)


def _last_called(model: nn.Module, forward: Forward) -> nn.Module | None:
    """Return the module with a weight matrix that one forward pass calls last, be it one shared with an embedding."""
    called: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, _inputs, _output: called.append(module))
        for module in model.modules()
        if any(parameter.ndim >= 2 for parameter in module.parameters(recurse=False))
    ]
    try:
        _output(forward)
    finally:
        for hook in hooks:
            hook.remove()
    return called[-1] if called else None


def _as_output(found: LayerScaling) -> LayerScaling:
    reason = "it is the output layer, whose scale is part of what the model says"
    return found if found.invariant else replace(found, is_output=True, reason=reason)


def _check_whole(layers: Sequence[HiddenWeight]) -> None:
    sharded = [layer.name for layer in layers if hasattr(layer.weight, "device_mesh")]
    if sharded:
        raise ConfigurationError(
            f"{sharded[0]} is a DTensor; the normalisation check needs the plain model. Check before fully_shard, and "
            "pass the names found to NormProjection afterwards"
        )


@contextmanager
def _undisturbed(model: nn.Module, layers: Sequence[HiddenWeight]) -> Iterator[None]:
    """Run the body in training mode, and put back what it changes."""
    modes = [(module, module.training) for module in model.modules()]
    # Weights are put back one by one: a second copy of all of them may not fit.
    touched = [*model.buffers(), *(each.bias for each in layers if each.bias is not None)]
    kept = [tensor.clone() for tensor in touched]
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            model.train()
            yield
    finally:
        for tensor, value in zip(touched, kept, strict=True):
            tensor.copy_(value)
        random.setstate(python)
        np.random.set_state(numpy)
        for module, training in modes:
            module.training = training
