"""Holds weights at their initial norm: the second half of NaP."""

import logging
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pacesetter.errors import ConfigurationError, StateMismatch
from pacesetter.projection.applied import forget_rescaling, note_rescaling
from pacesetter.projection.effective import (
    NamedParameters,
    NormPower,
    effective_learning_rates,
    named_parameters,
    norms_of,
)
from pacesetter.projection.invariance import Forward, LayerScaling, scale_invariance
from pacesetter.run.rates import unwrap
from pacesetter.run.statistics import buckets_of, local_part, tensor_norms

logger = logging.getLogger("pacesetter")


class NormProjection:
    """Multiplies weights, after each optimizer step, so that each has the norm it had at the start.

    ``w <- w * ||w_0|| / ||w||`` (Frobenius) [Lyle2024, arXiv 2407.01800]. It happens in a step post-hook of the
    optimizer, in place and without waiting for the device; a step that a GradScaler skips is none. A weight whose
    norm is zero or not finite is left as it is. bfloat16 weights are held to about .4 %, as they round.

    It makes sense for weights of which only the direction matters: :meth:`of_model` finds them. Without the growth of
    the norm nothing decays the effective learning rate but the schedule, so give one that does.

    Args:
        parameters: What to project, by name: exactly these. DTensors count with their full norm.
        optimizer: What trains them; each optimizer has a projection of its own.
        every: Project after every so many steps; the paper found 1 and 1000 nearly alike.

    Raises:
        ConfigurationError: There is nothing to project, a weight is not in the optimizer, its norm is zero or not
            finite, or ``every`` is below 1.
    """

    def __init__(
        self, parameters: NamedParameters, optimizer: Optimizer, *, every: int = 1
    ) -> None:
        self._parameters = named_parameters(parameters)
        self._optimizer = unwrap(optimizer)
        _check(self._parameters, self._optimizer, every)
        self.every = every
        self.steps = 0
        self.last_factors: dict[int, Tensor] = {}
        self._buckets = buckets_of(list(dict.fromkeys(self._parameters.values())))
        self._initial = [tensor_norms(bucket) for bucket in self._buckets]
        self._hook = self._optimizer.register_step_post_hook(self._after_step)
        note_rescaling(self._optimizer, self)

    @classmethod
    def of_model(
        cls,
        model: nn.Module,
        optimizer: Optimizer,
        forward: Forward,
        *,
        every: int = 1,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        strict: bool = False,
    ) -> "NormProjection":
        """Project the hidden weights of which only the direction matters, as the normalisation check finds them.

        A layer that is not invariant, other than the output layer, is left alone with a warning that says what to do.

        Args:
            model: The plain model, before ``fully_shard``.
            optimizer: What trains it; of several, each gets its own projection.
            forward: Returns the model's output on one fixed batch, e.g. ``lambda: model(batch)``.
            every: As in the class.
            include: Names (``*`` matches) of parameters to project whatever the check says, embeddings too.
            exclude: Names to leave alone, without a warning.
            strict: Refuse instead of warning.

        Raises:
            ConfigurationError: No weight is invariant; with ``strict``, one is not; a name matches nothing; or
                ``forward`` cannot be tested with.
        """
        trained = {id(p) for group in unwrap(optimizer).param_groups for p in group["params"]}
        ours = {name: p for name, p in model.named_parameters() if id(p) in trained}
        asked, left = _matching(ours, include), _matching(ours, exclude)
        layers = [each for each in scale_invariance(model, forward) if each.name in ours]
        _tell([each for each in layers if each.name not in asked | left], strict=strict)
        chosen = asked | {each.name for each in layers if each.invariant}
        return cls(
            {name: p for name, p in ours.items() if name in chosen - left}, optimizer, every=every
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the weights that are projected."""
        return tuple(self._parameters)

    @torch.no_grad()
    def project(self) -> None:
        """Project now, whatever the count of steps says. Ranks that shard call together."""
        self.last_factors = {}
        for bucket, initial in zip(self._buckets, self._initial, strict=True):
            norms = tensor_norms(bucket)
            usable = norms.isfinite() & (norms > 0.0)
            factors = list(torch.where(usable, initial / norms, 1.0).unbind())
            torch._foreach_mul_([local_part(p.detach()) for p in bucket.parameters], factors)
            self.last_factors.update(zip(map(id, bucket.parameters), factors, strict=True))

    def norms(self) -> dict[str, float]:
        """Return the norm of each weight now. Waits for the device."""
        return dict(zip(self._parameters, norms_of(list(self._parameters.values())), strict=True))

    def effective_learning_rates(self, norm_power: NormPower | None = None) -> dict[str, float]:
        """Return :func:`effective_learning_rates` of the weights that are projected."""
        return effective_learning_rates(self._parameters, self._optimizer, norm_power=norm_power)

    def state_dict(self) -> dict[str, Any]:
        """Return the norms that are held (0-dim tensors) and the count of steps, for your own checkpoint."""
        norms = {id(p): norm for p, norm in self._pairs()}
        return {
            "steps": self.steps,
            "norms": {name: norms[id(parameter)] for name, parameter in self._parameters.items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`: needed where the projection was made after a checkpoint was loaded.

        Raises:
            StateMismatch: The state is of other weights.
        """
        saved = state["norms"]
        if saved.keys() != self._parameters.keys():
            differing = sorted(saved.keys() ^ self._parameters.keys())
            raise StateMismatch(
                f"the state of the projection is of other weights: {differing[:3]} are only in one of the two. Project "
                "the same weights as in the run that is resumed"
            )
        named = {id(parameter): name for name, parameter in self._parameters.items()}
        for parameter, norm in self._pairs():
            norm.copy_(torch.as_tensor(saved[named[id(parameter)]]))
        self.steps = int(state["steps"])

    def detach(self) -> None:
        """Take the hook off the optimizer: from here on norms are free."""
        self._hook.remove()
        forget_rescaling(self._optimizer, self)

    def _pairs(self) -> Iterable[tuple[Tensor, Tensor]]:
        for bucket, initial in zip(self._buckets, self._initial, strict=True):
            yield from zip(bucket.parameters, initial.unbind(), strict=True)

    def _after_step(self, optimizer: Optimizer, _args: object, _kwargs: object) -> None:
        self.last_factors = {}
        # Fused optimizers are called on an overflow too, and do nothing; GradScaler waits for the device in all others.
        overflow = getattr(optimizer, "found_inf", None)
        if isinstance(overflow, Tensor) and bool(overflow):
            return
        self.steps += 1
        if self.steps % self.every == 0:
            self.project()


def _check(parameters: Mapping[str, Tensor], optimizer: Optimizer, every: int) -> None:
    if every < 1:
        raise ConfigurationError(f"every is {every}; expected a number of steps, 1 or more")
    if not parameters:
        raise ConfigurationError(
            "there is nothing to project: no weight is scale invariant, or none was named. Put a normalisation layer "
            "before each nonlinearity (see scale_invariance), or pass the weights by name"
        )
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in parameters.items():
        if id(parameter) not in trained:
            raise ConfigurationError(
                f"{name} is not in the optimizer; expected weights that its steps change. Give each optimizer a "
                "projection of its own weights"
            )
    norms = norms_of(list(parameters.values()))
    for name, norm in zip(parameters, norms, strict=True):
        if not 0.0 < norm < float("inf"):
            raise ConfigurationError(
                f"the norm of {name} is {norm:g}, and it cannot be held there; expected a finite norm above 0. "
                "Initialise it, or leave it out"
            )


def _matching(parameters: Iterable[str], patterns: Iterable[str]) -> set[str]:
    if isinstance(patterns, str):
        patterns = (patterns,)
    names, found = list(parameters), set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            raise ConfigurationError(
                f"no parameter of this optimizer is called {pattern!r}; expected a name from model.named_parameters(), "
                "or a pattern such as 'blocks.*.weight'"
            )
        found |= matched
    return found


def _tell(layers: Iterable[LayerScaling], *, strict: bool) -> None:
    """Say of each layer that is not invariant why it is not."""
    complaints = [
        f"{each.name}: {each.reason}" for each in layers if not (each.invariant or each.is_output)
    ]
    if not complaints:
        return
    text = "; ".join(complaints)
    if strict:
        raise ConfigurationError(f"these layers are not scale invariant. {text}")
    logger.warning("not projected, as they are not scale invariant. %s", text)
