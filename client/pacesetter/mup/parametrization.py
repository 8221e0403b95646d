"""The parametrization of one model: a rule for every tensor, a factor for some modules, nothing else."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

from pacesetter.errors import ConfigurationError
from pacesetter.mup import grouping, initialising, multipliers
from pacesetter.mup.classes import ParameterClass, Rule, plain_names
from pacesetter.mup.comparing import branch_factors, readouts, rules_by_map, rules_by_shapes

MakeModel = Callable[[int], nn.Module]
"""Makes the model of a width, everything else being equal."""


@dataclass(frozen=True)
class Parametrization:
    """muP in the form of table 8 [Yang2022], with CompleteP for depth [Dey2025, arXiv 2505.01618, alpha = 1].

    What it does is relative to a base model, at whose width and depth it changes nothing, bit for bit. It is a value:
    models keep no trace of it but forward hooks, and :meth:`document` goes into a checkpoint or a trial.

    Attributes:
        rules: What holds for each tensor.
        width_ratio: m, width over base width.
        depth_ratio: m_L, depth over base depth.
        inputs: Factor of what a module reads, by its name: 1/m of the readouts.
        outputs: Factor of what a module returns: 1/m_L of the residual branches.
    """

    rules: tuple[Rule, ...]
    width_ratio: float
    depth_ratio: float = 1.0
    inputs: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def by_shapes(
        cls,
        make_model: MakeModel,
        width: int,
        *,
        base_width: int,
        classes: Mapping[str, ParameterClass | str] | None = None,
        depth_ratio: float = 1.0,
        branches: Iterable[str] = (),
        output_multiplier: float = 1.0,
    ) -> "Parametrization":
        """Compare the shapes of the model at two widths, on the meta device: what differs grows.

        Args:
            make_model: Makes the model of a width. It is called for the base too, on the CPU, to see how that is
                initialised; the global random state stays as it is.
            width: Of the model to train.
            base_width: Where muP is the plain parametrization: the width of the small model that was tuned.
            classes: What tensors are, by name or pattern, where their shapes do not say it.
            depth_ratio: Layers over the base's layers. ``make_model`` makes the depth of the target at every width.
            branches: Names or patterns of the modules whose output is added to the residual stream; needed where the
                depth ratio is not 1.
            output_multiplier: A factor of what the readouts read, for every width: a hyperparameter of its own.

        Raises:
            ConfigurationError: A width or ratio is not above zero, nothing differs between the widths, a tensor's class
                is not clear, no readout was found, or branches are missing.
        """
        _check(width, base_width, depth_ratio)
        target, rules = rules_by_shapes(make_model, width, base_width, _classes(classes))
        return cls._finish(
            target, rules, width / base_width, depth_ratio, branches, output_multiplier
        )

    @classmethod
    def by_map(
        cls,
        model: nn.Module,
        classes: Mapping[str, ParameterClass | str],
        *,
        width_ratio: float,
        depth_ratio: float = 1.0,
        branches: Iterable[str] = (),
        output_multiplier: float = 1.0,
    ) -> "Parametrization":
        """Take the class of every tensor from a map; all that grows does so by one ratio.

        The base is never made, so :meth:`initialise_` is refused: initialise the model yourself, each tensor with
        ``std_scale`` times the standard deviation of the base's.

        Args:
            model: The model to train, on any device.
            classes: Class by name or pattern; the last pattern that matches holds, and every tensor needs one.
            width_ratio: m.
            depth_ratio: As in :meth:`by_shapes`, like the rest.
            branches: See there.
            output_multiplier: See there.

        Raises:
            ConfigurationError: A tensor has no class, or a shape contradicts its class.
        """
        _check(width_ratio, 1.0, depth_ratio)
        rules = rules_by_map(model, _classes(classes), width_ratio)
        return cls._finish(model, rules, width_ratio, depth_ratio, branches, output_multiplier)

    @classmethod
    def _finish(
        cls,
        model: nn.Module,
        rules: tuple[Rule, ...],
        width_ratio: float,
        depth_ratio: float,
        branches: Iterable[str],
        output_multiplier: float,
    ) -> "Parametrization":
        inputs = {name: output_multiplier / ratio for name, ratio in readouts(model, rules).items()}
        rules, outputs = branch_factors(model, rules, depth_ratio, branches)
        return cls(rules, width_ratio, depth_ratio, inputs, outputs)

    def rule(self, name: str) -> Rule:
        """Return the rule of a tensor by its name.

        Raises:
            ConfigurationError: There is none of that name.
        """
        for each in self.rules:
            if each.name == name:
                return each
        raise ConfigurationError(f"there is no rule for {name!r}; expected a parameter's name")

    @property
    def readout_multiplier(self) -> float:
        """Factor of what the (first) readout reads, for code that takes its weight past the module; 1 without one."""
        return next(iter(self.inputs.values()), 1.0)

    def apply_(self, model: nn.Module, *, zero_readout: bool = False) -> nn.Module:
        """Initialise a new model, install its multipliers, and return it. Before ``compile`` and ``fully_shard``."""
        self.initialise_(model, zero_readout=zero_readout)
        return self.install(model)

    def initialise_(self, model: nn.Module, *, zero_readout: bool = False) -> nn.Module:
        """Scale the tensors of a model, as it initialised itself, to what muP asks for, in place, and return it.

        Each gets the root mean square of the base's tensor, times ``1/sqrt(m)`` if it is hidden. How the model's own
        initialisation goes with the width is measured: constant and ``1/sqrt(fan_in)`` are told from each other, and
        the factor is then exact. Call it once, on a model that was just made.

        Args:
            model: The model.
            zero_readout: Let readouts start at zero, at the base width too: wide models then lose the start that
                vanishes with the width, and agree with narrow ones from the first step on.

        Raises:
            ConfigurationError: The model is another one, the parametrization was made from a map, or the readout that
                shall be zero is tied to an embedding.
        """
        pairs = self._pairs(model)
        if zero_readout and all(rule.kind is not ParameterClass.OUTPUT for rule, _ in pairs):
            raise ConfigurationError(
                "the readout is tied to an embedding, which cannot be zero; leave zero_readout out, or untie them"
            )
        for rule, parameter in pairs:
            if zero_readout and rule.kind is ParameterClass.OUTPUT:
                nn.init.zeros_(parameter)
            else:
                initialising.rescale_(rule, parameter, self.width_ratio)
        return model

    def install(self, model: nn.Module) -> nn.Module:
        """Install the multipliers, and return the model. A model that is loaded from a checkpoint needs them, too.

        Raises:
            ConfigurationError: The model has no module of such a name.
        """
        multipliers.install(plain_names(model.named_modules()), self.inputs, self.outputs)
        return model

    def groups(
        self,
        model: nn.Module,
        lr: float,
        *,
        weight_decay: float = 0.0,
        eps: float | None = 1e-8,
        optimizer: grouping.Kind = "adamw",
        decay: grouping.Decay = "scaled",
    ) -> list[dict[str, Any]]:
        """Return parameter groups for AdamW or SGD, each with its name, ``lr`` and ``lr_scale``.

        Args:
            model: The model, wrapped or sharded or not; tensors without a gradient are left out.
            lr: The base learning rate: what the small model was tuned to.
            weight_decay: Of matrices at the base; biases and gains get none.
            eps: Adam's epsilon at the base, scaled by 1/m; None for an optimizer that has none.
            optimizer: Whose rules: ``"adamw"`` (of Adam and its relatives) or ``"sgd"``.
            decay: ``"scaled"`` keeps ``lr x weight_decay`` what it is at the base, so that weights forget over as many
                steps at every width; ``"unscaled"`` keeps the decay.

        Raises:
            ConfigurationError: The model is another one, or a number cannot be.
        """
        found = grouping.settings(self, lr, weight_decay, eps, optimizer, decay)
        return grouping.grouped(found, self._pairs(model))

    def muon_groups(
        self,
        model: nn.Module,
        lr: float,
        *,
        adam_lr: float,
        weight_decay: float = 0.0,
        adjust: str | None = None,
        eps: float | None = 1e-8,
        decay: grouping.Decay = "scaled",
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return groups for ``torch.optim.Muon`` (hidden matrices) and for AdamW (the rest).

        Args:
            model: As in :meth:`groups`.
            lr: Base rate of the matrices.
            adam_lr: Base rate of the rest.
            weight_decay: Of matrices, for both.
            adjust: Muon's ``adjust_lr_fn``. With the scale ``sqrt(max(1, fan_out / fan_in))`` of ``None`` and
                ``"original"`` the rate is free of the width; ``"match_rms_adamw"`` grows with its root, which
                ``lr_scale`` takes away.
            eps: Of AdamW.
            decay: As in :meth:`groups`.

        Raises:
            ConfigurationError: As there; or ``adjust`` is unknown.
        """
        matrices = grouping.muon_settings(self, lr, weight_decay, adjust, decay)
        rest = grouping.settings(self, adam_lr, weight_decay, eps, "adamw", decay)
        pairs = self._pairs(model)
        return (
            grouping.grouped(matrices, [pair for pair in pairs if pair[0].name in matrices]),
            grouping.grouped(rest, [pair for pair in pairs if pair[0].name not in matrices]),
        )

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document, to be kept with a checkpoint or a trial."""
        return asdict(self) | {"rules": [asdict(rule) for rule in self.rules]}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Parametrization":
        """Return what :meth:`document` kept.

        Raises:
            ConfigurationError: It is no such document.
        """
        try:
            rules = tuple(
                Rule(
                    **{**each, "kind": ParameterClass(each["kind"]), "shape": tuple(each["shape"])}
                )
                for each in document["rules"]
            )
            return cls(**{**document, "rules": rules})
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"this is no document of a parametrization ({error}); pass what document() returned"
            ) from error

    def _pairs(self, model: nn.Module) -> list[tuple[Rule, Tensor]]:
        """Return each rule with its tensor of a model."""
        found = plain_names(model.named_parameters())
        known = {rule.name: rule for rule in self.rules}
        if differing := sorted(found.keys() ^ known.keys()):
            raise ConfigurationError(
                f"the model is not the one of this parametrization: {differing[:3]} are only in one of the two. Give "
                "the model that make_model makes at this width"
            )
        for name, parameter in found.items():
            if tuple(parameter.shape) != known[name].shape:
                raise ConfigurationError(
                    f"{name} has shape {tuple(parameter.shape)}, and {known[name].shape} at the width of this "
                    "parametrization; make one for this width"
                )
        return [(known[name], parameter) for name, parameter in found.items()]


def _classes(
    given: Mapping[str, ParameterClass | str] | None,
) -> dict[str, ParameterClass]:
    try:
        return {pattern: ParameterClass(kind) for pattern, kind in (given or {}).items()}
    except ValueError as error:
        raise ConfigurationError(
            f"{error}; expected one of {[each.value for each in ParameterClass]}"
        ) from None


def _check(width: float, base_width: float, depth_ratio: float) -> None:
    for name, value in (("width", width), ("base width", base_width), ("depth ratio", depth_ratio)):
        if not 0.0 < value < float("inf"):
            raise ConfigurationError(f"{name} is {value}; expected a number above 0")
