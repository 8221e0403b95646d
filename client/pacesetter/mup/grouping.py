"""Parameter groups: how learning rate, weight decay and epsilon of each tensor go with width and depth."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from pacesetter.errors import ConfigurationError
from pacesetter.mup.classes import ParameterClass, Rule

if TYPE_CHECKING:
    from pacesetter.mup.parametrization import Parametrization

Kind = Literal["adamw", "sgd"]
Decay = Literal["scaled", "unscaled"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What the optimizer is told of one tensor."""

    name: str
    lr: float
    lr_scale: float
    weight_decay: float
    eps: float | None


def settings(
    form: "Parametrization",
    lr: float,
    weight_decay: float,
    eps: float | None,
    optimizer: Kind,
    decay: Decay,
) -> dict[str, Setting]:
    """Return what AdamW or SGD is told, by tensor [Yang2022, table 8; Dey2025 for epsilon].

    Raises:
        ConfigurationError: A number cannot be, or a word is unknown.
    """
    _check(lr, weight_decay, eps, decay)
    if optimizer not in ("adamw", "sgd"):
        raise ConfigurationError(f"there are no rules for {optimizer!r}; expected 'adamw' or 'sgd'")
    scales = {
        rule.name: adam_scale(rule) if optimizer == "adamw" else sgd_scale(rule, form.depth_ratio)
        for rule in form.rules
    }
    return {
        rule.name: Setting(
            _label(rule),
            lr * scales[rule.name],
            scales[rule.name],
            _decay(rule, weight_decay, scales[rule.name], decay),
            _epsilon(rule, eps, form) if optimizer == "adamw" else None,
        )
        for rule in form.rules
    }


def muon_settings(
    form: "Parametrization", lr: float, weight_decay: float, adjust: str | None, decay: Decay
) -> dict[str, Setting]:
    """Return what Muon is told of the hidden matrices, by name.

    An orthogonal update times ``sqrt(fan_out / fan_in)`` has an operator norm (root mean square to root mean square) of
    1 at every width. ``"match_rms_adamw"`` multiplies by ``.2 sqrt(max(rows, columns))`` instead.

    Raises:
        ConfigurationError: A number cannot be, or a word is unknown.
    """
    _check(lr, weight_decay, None, decay)
    if adjust not in (None, "original", "match_rms_adamw"):
        raise ConfigurationError(
            f"adjust is {adjust!r}; expected None, 'original' or 'match_rms_adamw', as torch.optim.Muon's adjust_lr_fn"
        )
    chosen = [r for r in form.rules if r.kind is ParameterClass.HIDDEN and len(r.shape) == 2]
    scales = {
        rule.name: max(rule.fan_in, rule.fan_out) ** -0.5 if adjust == "match_rms_adamw" else 1.0
        for rule in chosen
    }
    return {
        rule.name: Setting(
            _label(rule),
            lr * scales[rule.name],
            scales[rule.name],
            _decay(rule, weight_decay, scales[rule.name], decay),
            None,
        )
        for rule in chosen
    }


def adam_scale(rule: Rule) -> float:
    """Return the learning rate of Adam over the base rate: ``1 / fan_in`` of hidden matrices, 1 of all else."""
    return 1.0 / rule.fan_in if rule.kind is ParameterClass.HIDDEN else 1.0


def sgd_scale(rule: Rule, depth_ratio: float) -> float:
    """Return the learning rate of SGD over the base rate: ``fan_out / fan_in``; ``fan_in`` of readouts.

    What a readout reads is scaled by ``1 / fan_in``, and so is its gradient. In the blocks it is times m_L: branches
    are scaled by 1/m_L, and so are their gradients, which Adam does not see.
    """
    by_width = rule.fan_in if rule.kind is ParameterClass.OUTPUT else rule.fan_out / rule.fan_in
    return by_width * (depth_ratio if rule.in_block else 1.0)


def grouped(
    found: Mapping[str, Setting], pairs: Iterable[tuple[Rule, Tensor]]
) -> list[dict[str, Any]]:
    """Return the groups, one for each setting that differs: matrices at the base rate first, else as in the model.

    A job's rate and decay are read off its first group, by people and by the service's memory. Tensors of one class
    that differ in their ratios get groups ``hidden``, ``hidden_2`` and so on.
    """
    members: dict[Setting, list[Tensor]] = {}
    for rule, parameter in pairs:
        if parameter.requires_grad:
            members.setdefault(found[rule.name], []).append(parameter)
    counts: dict[str, int] = {}
    result = []
    for setting, parameters in members.items():
        counts[setting.name] = number = counts.get(setting.name, 0) + 1
        group: dict[str, Any] = {
            "params": parameters,
            "name": setting.name if number == 1 else f"{setting.name}_{number}",
            "lr": setting.lr,
            "lr_scale": setting.lr_scale,
            "weight_decay": setting.weight_decay,
        }
        result.append(group if setting.eps is None else {**group, "eps": setting.eps})
    return sorted(result, key=lambda group: (group["lr_scale"] != 1.0, "vector" in group["name"]))


def _label(rule: Rule) -> str:
    fixed_vector = rule.kind is ParameterClass.FIXED and not rule.matrix
    return "fixed_vector" if fixed_vector else rule.kind.value


def _decay(rule: Rule, weight_decay: float, scale: float, decay: Decay) -> float:
    """Return the weight decay of a matrix; what acts is learning rate times decay."""
    if not rule.matrix:
        return 0.0
    return weight_decay / scale if decay == "scaled" else weight_decay


def _epsilon(rule: Rule, eps: float | None, form: "Parametrization") -> float | None:
    """Return epsilon, which must shrink as gradients do: by 1/m, and in the blocks by 1/m_L too."""
    if eps is None:
        return None
    return eps / (form.width_ratio * (form.depth_ratio if rule.in_block else 1.0))


def _check(lr: float, weight_decay: float, eps: float | None, decay: str) -> None:
    if not 0.0 < lr < float("inf"):
        raise ConfigurationError(f"the base learning rate is {lr}; expected a number above 0")
    for name, value in (("weight decay", weight_decay), ("eps", eps or 0.0)):
        if not 0.0 <= value < float("inf"):
            raise ConfigurationError(f"{name} is {value}; expected a number of 0 or more")
    if decay not in ("scaled", "unscaled"):
        raise ConfigurationError(f"decay is {decay!r}; expected 'scaled' or 'unscaled'")
