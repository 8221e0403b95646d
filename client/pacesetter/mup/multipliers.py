"""Multipliers in the forward pass: of what a readout reads, of what a residual branch adds.

They are hooks of the modules, of a class that pickles. No tensor and no module gets an attribute, no module is replaced
and no name changes, so ``deepcopy``, ``torch.compile``, ``torch.export``, ``functional_call``, checkpoints,
``fully_shard`` and whoever asks for an ``nn.Linear`` find what they found before. A parametrization of the weight would
change names in checkpoints and untie tied weights; a module of our own would be missed by quantisation and adapters.
Code that takes a weight past its module (``F.linear(x, head.weight)``, fused losses) is not reached by a hook.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pacesetter.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ScaleInput:
    """Multiplies the first input of a module, given by its place or by its name: a bias is left as it is."""

    factor: float
    name: str

    def __call__(
        self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with the first one scaled.

        Raises:
            ConfigurationError: It is not among them.
        """
        if arguments:
            return (arguments[0] * self.factor, *arguments[1:]), keywords
        if self.name not in keywords:
            raise ConfigurationError(
                f"a readout, a {type(module).__name__}, is called without its first argument {self.name!r}, which is "
                f"what is multiplied; give it first, or as {self.name}="
            )
        return arguments, {**keywords, self.name: keywords[self.name] * self.factor}


@dataclass(frozen=True, slots=True)
class ScaleOutput:
    """Multiplies what a module returns, its bias included; of attention what it attended to, and not its weights."""

    factor: float

    def __call__(self, module: nn.Module, _arguments: tuple[Any, ...], output: Any) -> Any:
        """Return the output, scaled.

        Raises:
            ConfigurationError: The module does not return one tensor.
        """
        if isinstance(module, nn.MultiheadAttention) and isinstance(output, tuple):
            return (output[0] * self.factor, *output[1:])
        if not isinstance(output, Tensor):
            raise ConfigurationError(
                f"a residual branch ends with a {type(module).__name__} that returns a {type(output).__name__}; name "
                "its last layer, which returns a tensor, such as 'blocks.*.attention.project'"
            )
        return output * self.factor


def install(
    modules: Mapping[str, nn.Module], inputs: Mapping[str, float], outputs: Mapping[str, float]
) -> None:
    """Make the multipliers of a model what they should be; ones of an earlier call are replaced.

    A multiplier of exactly 1 is no hook at all: the base model runs the code it ran before.

    Args:
        modules: Modules by their plain names.
        inputs: Factor of what a module reads, by its name.
        outputs: Factor of what a module returns.
    """
    for module in modules.values():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            ours = [
                key for key, hook in hooks.items() if isinstance(hook, ScaleInput | ScaleOutput)
            ]
            for key in ours:
                if isinstance(hooks.pop(key), ScaleInput):
                    module._forward_pre_hooks_with_kwargs.pop(key, None)
    _hook(modules, inputs, _scale_input)
    _hook(modules, outputs, lambda module, by: module.register_forward_hook(ScaleOutput(by)))


def _scale_input(module: nn.Module, factor: float) -> object:
    name = next(iter(inspect.signature(module.forward).parameters), "input")
    return module.register_forward_pre_hook(ScaleInput(factor, name), with_kwargs=True)


def _hook(
    modules: Mapping[str, nn.Module],
    factors: Mapping[str, float],
    register: Callable[[nn.Module, float], object],
) -> None:
    for name, factor in factors.items():
        if name not in modules:
            raise ConfigurationError(
                f"the model has no module {name!r} to multiply by {factor:g}; give the model that the parametrization "
                "was made for"
            )
        if factor != 1.0:
            register(modules[name], factor)


def attention_scale(head_dim: int, base_head_dim: int) -> float:
    """Return the factor of query-key products, ``sqrt(base_head_dim) / head_dim``: 1/d, and SP's 1/sqrt(d) at the base.

    For ``scaled_dot_product_attention(..., scale=)``, or a Hugging Face layer's ``scaling``. It makes no difference
    where wider models have more heads of the same size, which is the simpler way.

    Raises:
        ConfigurationError: A size is not above zero.
    """
    if head_dim < 1 or base_head_dim < 1:
        raise ConfigurationError(
            f"heads of {head_dim} and {base_head_dim} entries are none; expected sizes of 1 or more"
        )
    return float(base_head_dim**0.5 / head_dim)
