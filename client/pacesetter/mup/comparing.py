"""Compares a model with its base: what grows, what reads out, what is added to the residual stream."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import nn

from pacesetter.errors import ConfigurationError
from pacesetter.mup.classes import (
    ParameterClass,
    Rule,
    classify,
    declared,
    first_dimension,
    matching,
    multiplies_input,
    owners,
    plain_name,
    rms,
)

Classes = Mapping[str, ParameterClass]
Shapes = dict[str, tuple[int, ...]]


def rules_by_shapes(
    make_model: Callable[[int], nn.Module], width: int, base_width: int, classes: Classes
) -> tuple[nn.Module, tuple[Rule, ...]]:
    """Return the target model on the meta device, and the rules that follow from shapes.

    Raises:
        ConfigurationError: As of ``Parametrization.by_shapes``.
    """
    target = _on_meta(make_model, width)
    # At the base width the target says nothing of what would grow; a model of another width does.
    other = _on_meta(make_model, width if width != base_width else 2 * base_width)
    base = _on_meta(make_model, base_width)
    shapes, base_shapes, other_shapes = (_shapes(each) for each in (target, base, other))
    if shapes.keys() != base_shapes.keys() or shapes.keys() != other_shapes.keys():
        raise ConfigurationError(
            f"models of widths {base_width} and {width} have other parameters: "
            f"{sorted(shapes.keys() ^ base_shapes.keys())[:3]}. make_model may change nothing but the width"
        )
    if shapes and base_shapes == other_shapes:
        raise ConfigurationError(
            f"models of two widths have the same shapes (base width {base_width}); make_model must use its argument"
        )
    ratios = {
        name: _ratios(shape, base_shapes[name], other_shapes[name])
        for name, shape in shapes.items()
    }
    rules = _rules(target, ratios, classes)
    if width != base_width:
        rules = _with_rms(rules, make_model, base_width)
    return target, rules


def rules_by_map(model: nn.Module, classes: Classes, width_ratio: float) -> tuple[Rule, ...]:
    """Return the rules that follow from a map alone.

    Raises:
        ConfigurationError: As of ``Parametrization.by_map``.
    """
    chosen = _chosen(_shapes(model), classes)
    if missing := [name for name in _shapes(model) if name not in chosen]:
        raise ConfigurationError(
            f"{missing[:3]} have no class; give one for every tensor, such as {{'*.bias': 'vector'}}"
        )
    ratios = {
        name: _ratios_of_class(name, shape, chosen[name], _firsts(model)[name], width_ratio)
        for name, shape in _shapes(model).items()
    }
    return _rules(model, ratios, classes)


def readouts(model: nn.Module, rules: tuple[Rule, ...]) -> dict[str, float]:
    """Return the ratio of fan-in of every module that reads out, by its name; a tied weight's linear layer counts.

    Raises:
        ConfigurationError: There is none, or it is no weight that multiplies what its module reads.
    """
    by_tensor = {id(p): rule for p, rule in _by_parameter(model, rules)}
    found = {}
    for path, module, leaf, parameter in owners(model):
        rule = by_tensor[id(parameter)]
        tied = rule.kind is ParameterClass.INPUT and rule.shape == tuple(parameter.shape)
        reads = first_dimension(module) == "out" and isinstance(module, nn.Linear)
        if rule.kind is ParameterClass.OUTPUT:
            if not multiplies_input(module, leaf):
                raise ConfigurationError(
                    f"{rule.name} is 'output', and it is not what multiplies the input of its module, a "
                    f"{type(module).__name__}, so that cannot be scaled; hold it in an nn.Linear of the model (one "
                    "that is shared with an embedding is 'input'). Code that takes the weight past its module, such as "
                    "F.linear(x, head.weight), multiplies x by form.readout_multiplier"
                )
            found[path] = rule.fan_in
        elif tied and reads and _shared_with_embedding(model, parameter):
            found[path] = rule.fan_out
    if not found:
        raise ConfigurationError(
            "no readout was found: no module's weight reads from the width and writes to something of fixed size. Name "
            "it, classes={'head.weight': 'output'}; a head that is not a module of the model has to become one"
        )
    return found


def branch_factors(
    model: nn.Module, rules: tuple[Rule, ...], depth_ratio: float, branches: Iterable[str]
) -> tuple[tuple[Rule, ...], dict[str, float]]:
    """Return the rules with ``in_block`` set, and ``1 / depth_ratio`` by the name of every branch's last module.

    A block is what stands above a branch down to the first number of its name: ``layers.3`` of ``layers.3.mlp.down``.

    Raises:
        ConfigurationError: The depth ratio is not 1, and no branch is named; or a name is not in the model; or it is a
            layer that is never called.
    """
    patterns = (branches,) if isinstance(branches, str) else tuple(branches)
    if depth_ratio != 1.0 and not patterns:
        raise ConfigurationError(
            f"the depth ratio is {depth_ratio:g}, and branches are not named; give the modules whose output is added "
            "to the residual stream, such as branches=('blocks.*.attention.project', 'blocks.*.perceptron')"
        )
    modules = {plain_name(name): module for name, module in model.named_modules()}
    names = [name for pattern in patterns for name in matching(modules, pattern)]
    for name in names:
        _check_called(modules, name)
    blocks = tuple({_block(name) for name in names})
    marked = tuple(replace(rule, in_block=rule.name.startswith(blocks)) for rule in rules)
    return marked, dict.fromkeys(names, 1.0 / depth_ratio)


def _check_called(modules: Mapping[str, nn.Module], name: str) -> None:
    """Refuse what is within torch's attention, which takes the weight of its last layer and never calls it."""
    above = name.rpartition(".")[0]
    if above and isinstance(modules[above], nn.MultiheadAttention):
        raise ConfigurationError(
            f"the branch {name!r} is within an nn.MultiheadAttention, which takes its weight and never calls it, so "
            f"its output cannot be scaled; name the attention, {above!r}, whose first output is"
        )


def _block(name: str) -> str:
    parts = name.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1] if numbers else parts) + "."


def _on_meta(make_model: Callable[[int], nn.Module], width: int) -> nn.Module:
    with torch.device("meta"):
        return make_model(width)


def _shapes(model: nn.Module) -> Shapes:
    return {plain_name(name): tuple(p.shape) for name, p in model.named_parameters()}


def _ratios(
    shape: tuple[int, ...], base: tuple[int, ...], other: tuple[int, ...]
) -> tuple[float, ...]:
    """Return target over base for each dimension that differs between two widths, NaN for others."""
    if not len(shape) == len(base) == len(other):
        raise ConfigurationError(
            f"a tensor has shapes {base} and {shape} at two widths; make_model may change nothing but the width"
        )
    return tuple(
        float("nan") if at_base == at_other else size / at_base
        for size, at_base, at_other in zip(shape, base, other, strict=True)
    )


def _ratios_of_class(
    name: str, shape: tuple[int, ...], kind: ParameterClass, first: str | None, ratio: float
) -> tuple[float, ...]:
    """Return ratios of dimensions as they follow from a class."""
    if kind is ParameterClass.FIXED:
        return (float("nan"),) * len(shape)
    if (len(shape) == 1) != (kind is ParameterClass.VECTOR):
        raise ConfigurationError(
            f"{name} of shape {shape} is declared {kind.value!r}; tensors of one dimension that grow are 'vector', and "
            "no others are"
        )
    reads, writes = (0, 1) if first == "in" else (1, 0)
    growing = {
        ParameterClass.HIDDEN: {reads, writes},
        ParameterClass.INPUT: {writes},
        ParameterClass.OUTPUT: {reads},
        ParameterClass.VECTOR: {0},
    }[kind]
    return tuple(ratio if place in growing else float("nan") for place in range(len(shape)))


def _rules(
    model: nn.Module, ratios: Mapping[str, tuple[float, ...]], classes: Classes
) -> tuple[Rule, ...]:
    shapes, firsts = _shapes(model), _firsts(model)
    chosen = _chosen(shapes, classes)
    return tuple(
        declared(name, shape, ratios[name], firsts[name], chosen[name])
        if name in chosen
        else classify(name, shape, ratios[name], firsts[name])
        for name, shape in shapes.items()
    )


def _chosen(names: Mapping[str, object], classes: Classes) -> dict[str, ParameterClass]:
    return {name: kind for pattern, kind in classes.items() for name in matching(names, pattern)}


def _firsts(model: nn.Module) -> dict[str, str | None]:
    """Return what the first dimension of each tensor is; an embedding that shares its weight has the say."""
    found: dict[int, str | None] = {}
    for _, module, _, parameter in owners(model):
        if id(parameter) not in found or isinstance(module, nn.Embedding):
            found[id(parameter)] = first_dimension(module)
    return {plain_name(name): found[id(p)] for name, p in model.named_parameters()}


def _by_parameter(model: nn.Module, rules: tuple[Rule, ...]) -> Iterable[tuple[nn.Parameter, Rule]]:
    known = {rule.name: rule for rule in rules}
    for name, parameter in model.named_parameters():
        yield parameter, known[plain_name(name)]


def _shared_with_embedding(model: nn.Module, parameter: nn.Parameter) -> bool:
    return any(
        module.weight is parameter for module in model.modules() if isinstance(module, nn.Embedding)
    )


def _with_rms(
    rules: tuple[Rule, ...], make_model: Callable[[int], nn.Module], base_width: int
) -> tuple[Rule, ...]:
    """Return the rules with what the base's tensors are initialised to."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        base = make_model(base_width)
    measured = {plain_name(name): rms(parameter) for name, parameter in base.named_parameters()}
    return tuple(replace(rule, base_rms=measured[rule.name]) for rule in rules)
