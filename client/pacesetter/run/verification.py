"""Derives the learning rate that an optimizer step really applied from what it did to the weights.

SGD, Adam and AdamW have a closed form: the change of a weight is ``-lr * direction``, and the direction follows from
the optimizer's own state after the step. So the learning rate is the ratio of the two, whatever ``group["lr"]`` says: a
step that was captured, compiled or wrapped with an old value shows.

The ratio is taken over the elements whose weights are smallest beside their update, because rounding of the weight is
what hides it: an element ``w`` carries an error of up to half an ulp, so the relative error is at most
``sum(eps |w|) / sum(|dw|)`` over the elements used. That is a bound, not an estimate, and every verdict rests on it.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.utils.hooks import RemovableHandle

from pacesetter.projection.applied import last_factors
from pacesetter.run.statistics import local_part

logger = logging.getLogger("pacesetter")

Status = Literal["verified", "unverifiable", "mismatch", "exempt"]

MINIMUM_ELEMENTS = 1000
"""Smallest local tensor that is looked at."""

WATCHED_TENSORS = 3
"""Tensors watched in one group: one alone may have no gradient in this step."""

SAMPLE = 16_384
"""Elements kept of each watched tensor."""

USED = 256
"""Elements that the ratio is taken over: the best of all samples."""

VERIFIED_BELOW = 0.01
"""A rounding bound above this proves nothing worth saying."""

MISMATCH_BEYOND = 3.0
"""Times the rounding bound; a difference beyond it is not rounding."""

ADAM_ROUNDINGS = 3
"""Roundings of the denominator in the state's own type (root, correction, epsilon); fused kernels have fewer."""

ARITHMETIC = 4.0 * 2.0**-24
"""A few roundings in float32, in which kernels multiply and hold the learning rate and the bias corrections."""

_Group: TypeAlias = Mapping[str, Any]


class Resolution(NamedTuple):
    """What a step showed: the learning rate it applied, the verdict, and the relative error that rounding allows it."""

    lr_applied: float | None
    status: Status
    rounding_bound: float | None


class PendingVerification:
    """A result still on its way from the device. :meth:`resolve` waits for it: call that off the hot path."""

    def __init__(self, evidence: Tensor | None, *, step_seen: bool) -> None:
        self._evidence = evidence
        self._step_seen = step_seen

    def resolve(self, announced_lr: float) -> Resolution:
        """Return what the step showed beside ``announced_lr``, the learning rate that it should have applied.

        ``exempt``: zero was announced, or the step was skipped. ``mismatch``: further off than three times the rounding
        bound. ``verified``: within that, and the bound is below 1 %. Anything else is ``unverifiable``.
        """
        announced_lr = float(announced_lr)
        if announced_lr == 0.0:
            return Resolution(None, "exempt", None)
        if self._evidence is None:
            return Resolution(None, "unverifiable", None)
        applied, absolute, relative, residual, moved, overflowed = self._evidence.tolist()
        if overflowed > 0.0 or (moved == 0.0 and not self._step_seen):
            return Resolution(None, "exempt", None)
        bound = absolute / abs(announced_lr) + relative
        # A change that no single learning rate explains is another rule at work: a subclass, a projection, a hook.
        explained = residual <= MISMATCH_BEYOND * (absolute + relative * abs(applied))
        if not explained or not math.isfinite(bound):
            return Resolution(None, "unverifiable", None)
        if abs(applied - announced_lr) > MISMATCH_BEYOND * bound * abs(announced_lr):
            return Resolution(applied, "mismatch", bound)
        return Resolution(applied, "verified" if bound < VERIFIED_BELOW else "unverifiable", bound)


@dataclass(slots=True)
class _Watched:
    """One tensor, as it was before the step."""

    parameter: Tensor
    before: Tensor
    gradient: Tensor | None


@dataclass(frozen=True, slots=True)
class _Direction:
    """What the weights moved along (per unit of learning rate), and the relative error it may carry."""

    values: Tensor
    relative_error: Tensor | float
    decayed_in_place: bool


class Verifier:
    """Verifies one parameter group of one optimizer, a step at a time.

    Call :meth:`arm` before the step, after unscaling and clipping, and :meth:`collect` after it. Neither raises, and
    neither waits for the device. Steps that are not bracketed cost nothing.

    Args:
        optimizer: SGD, Adam, AdamW or a subclass; every other one is ``unverifiable``.
        group_index: Which of its parameter groups to watch.
    """

    def __init__(self, optimizer: Optimizer, group_index: int = 0) -> None:
        self._optimizer = optimizer
        self._group_index = group_index
        self._direction = _closed_form(optimizer)
        self._watched: list[_Watched] = []
        self._overflow: Tensor | None = None
        self._step_seen = False
        self._hook: RemovableHandle | None = None

    def arm(self) -> None:
        """Keep what the next step's verification needs: a sample of the weights and, for SGD, of the gradient."""
        self._disarm()
        if self._direction is None:
            return
        try:
            self._watch()
        except (
            Exception
        ):  # a subclass keeps what it likes in its groups and state; training goes on
            logger.debug("cannot watch the weights of this step", exc_info=True)
            self._watched = []

    def collect(self) -> PendingVerification:
        """Return the pending result of the step since :meth:`arm`."""
        evidence = None
        try:
            evidence = self._evidence()
        except (
            Exception
        ):  # a subclass keeps what it likes in its groups and state; training goes on
            logger.debug("cannot derive the learning rate of this step", exc_info=True)
        pending = PendingVerification(evidence, step_seen=self._step_seen)
        self._disarm()
        return pending

    @torch.no_grad()
    def _watch(self) -> None:
        group = self._optimizer.param_groups[self._group_index]
        self._watched = [
            _Watched(p, _sample(p), _gradient_sample(p)) for p in _candidates(group["params"])
        ]
        self._hook = self._optimizer.register_step_pre_hook(self._at_step)

    @torch.no_grad()
    def _at_step(self, optimizer: Optimizer, _args: object, _kwargs: object) -> None:
        """Take the gradients as the step sees them: a GradScaler unscales between ``arm`` and here, or inside."""
        self._step_seen = True
        scale = getattr(optimizer, "grad_scale", None)
        self._overflow = getattr(optimizer, "found_inf", None)
        for watched in self._watched:
            gradient = _gradient_sample(watched.parameter)
            if gradient is not None and scale is not None:
                gradient /= scale.to(gradient.device)
            watched.gradient = gradient

    @torch.no_grad()
    def _evidence(self) -> Tensor | None:
        if self._direction is None:
            return None
        group = self._optimizer.param_groups[self._group_index]
        changes, directions, noises = [], [], []
        relative: Tensor | float = 0.0
        # A projection in the optimizer's post-hook is no part of the step: it is taken out again.
        factors = last_factors(self._optimizer) if self._step_seen else {}
        for watched in self._watched:
            direction = self._direction(self._optimizer.state[watched.parameter], group, watched)
            if direction is None or direction.values.shape != watched.before.shape:
                continue
            after = _sample(watched.parameter)
            factor = factors.get(id(watched.parameter))
            if factor is not None:
                after /= factor.to(after)
            changes.append(after - watched.before)
            directions.append(direction.values)
            noises.append(
                _rounding(
                    watched,
                    after,
                    decayed=direction.decayed_in_place,
                    rescaled=factor is not None,
                )
            )
            relative = direction.relative_error
        if not changes:
            return None
        return _ratio(
            torch.cat(changes), torch.cat(directions), torch.cat(noises), relative, self._overflow
        )

    def _disarm(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = None
        self._watched = []
        self._overflow = None
        self._step_seen = False


_ClosedForm: TypeAlias = Callable[[Mapping[str, Any], _Group, _Watched], _Direction | None]


def _closed_form(optimizer: Optimizer) -> _ClosedForm | None:
    if isinstance(optimizer, Adam | AdamW):
        # AdamW became a subclass of Adam, with a key that says which, only in later releases of torch.
        decoupled = isinstance(optimizer, AdamW)
        return lambda state, group, watched: _adam_direction(state, group, watched, decoupled)
    return _sgd_direction if isinstance(optimizer, SGD) else None


def _adam_direction(
    state: Mapping[str, Any], group: _Group, watched: _Watched, is_adamw: bool
) -> _Direction | None:
    """Return m / c1 / (sqrt(v / c2) + eps), plus decay x w where decay is decoupled [Kingma2015, Loshchilov2019]."""
    square_name = "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"
    if not {"step", "exp_avg", square_name} <= state.keys():
        return None
    device = watched.before.device
    step = torch.as_tensor(state["step"], dtype=_wide(device)).to(device, non_blocking=True)
    beta1, beta2 = group["betas"]
    correction1, correction2 = 1.0 - beta1**step, 1.0 - beta2**step
    first, second = _sample(state["exp_avg"]), _sample(state[square_name])
    values = (first / correction1) / ((second / correction2).sqrt() + group["eps"])
    decoupled = bool(group.get("decoupled_weight_decay", is_adamw)) and group["weight_decay"] != 0
    if decoupled:
        values = values + group["weight_decay"] * watched.before
    # 1 - beta^t cancels early in training, where the kernel's float32 power shows most.
    rounding = ADAM_ROUNDINGS * _unit_roundoff(state["exp_avg"]) + ARITHMETIC
    return _Direction(values, rounding + ARITHMETIC / correction2, decoupled)


def _sgd_direction(state: Mapping[str, Any], group: _Group, watched: _Watched) -> _Direction | None:
    """Return the momentum buffer, or the gradient with decay where there is none; Nesterov adds the two."""
    momentum, decay, nesterov = group["momentum"], group["weight_decay"], group["nesterov"]
    buffer = state.get("momentum_buffer") if momentum != 0 else None
    if momentum != 0 and buffer is None:
        return None
    # One for the stored buffer (fused kernels use it unrounded), one for each sum that eager kernels write out.
    roundings = 1 + int(decay != 0) + int(nesterov)
    kept = watched.parameter if buffer is None else buffer
    error = roundings * _unit_roundoff(kept) + ARITHMETIC
    if buffer is not None and not nesterov:
        return _Direction(_sample(buffer), error, decayed_in_place=False)
    if watched.gradient is None:
        return None
    values = -watched.gradient if group["maximize"] else watched.gradient
    if decay != 0:
        values = values + decay * watched.before
    if buffer is not None:
        values = values + momentum * _sample(buffer)
    return _Direction(values, error, decayed_in_place=False)


def _ratio(
    change: Tensor,
    direction: Tensor,
    noise: Tensor,
    relative_error: Tensor | float,
    overflow: Tensor | None,
) -> Tensor:
    """Return (lr, its absolute rounding bound, relative error, residual, total change, overflow) as one tensor [6]."""
    score = direction.abs() / noise
    best = torch.topk(score, min(USED, score.numel()), sorted=False).indices
    chosen, noise_used = direction[best], noise[best]
    length = chosen.abs().sum()
    lr = -(change[best] * chosen.sign()).sum() / length
    residual = (change[best] + lr * chosen).abs().sum() / length
    zero = torch.zeros_like(length)
    inf = zero if overflow is None else overflow.to(zero).reshape(())
    relative = zero + relative_error
    return torch.stack([lr, noise_used.sum() / length, relative, residual, change.abs().sum(), inf])


def _rounding(watched: _Watched, after: Tensor, *, decayed: bool, rescaled: bool) -> Tensor:
    """Return the largest error of each element's change: half an ulp after every write to the weight.

    Rescaling writes once more, by a factor that the kernel may have rounded to the weight's type.
    """
    limits = torch.finfo(_real_dtype(watched.parameter))
    writes = (3.0 if rescaled else 1.0) * after.abs() + (
        2.0 * watched.before.abs() if decayed else 0.0
    )
    return 0.5 * limits.eps * writes + limits.tiny * limits.eps


def _candidates(parameters: list[Tensor]) -> list[Tensor]:
    """Return the tensors to watch: matrices first (norm weights sit at 1, far above any update), smaller ones first."""
    eligible = [
        p
        for p in parameters
        if p.grad is not None
        and not p.grad.is_sparse
        and (p.is_floating_point() or p.is_complex())
        and local_part(p.detach()).numel() >= MINIMUM_ELEMENTS
    ]
    eligible.sort(key=lambda p: (p.ndim < 2, p.numel()))
    return [p for p in eligible if p.device == eligible[0].device][:WATCHED_TENSORS]


def _sample(tensor: Tensor) -> Tensor:
    """Return up to ``SAMPLE`` elements of this rank's part, spread evenly, as a copy in the widest real type."""
    local = local_part(tensor.detach())
    flat = (torch.view_as_real(local) if local.is_complex() else local).reshape(-1)
    stride = max(1, flat.numel() // SAMPLE)
    return flat[::stride][:SAMPLE].to(_wide(flat.device), copy=True)


def _gradient_sample(parameter: Tensor) -> Tensor | None:
    gradient = parameter.grad
    return None if gradient is None or gradient.is_sparse else _sample(gradient)


def _real_dtype(tensor: Tensor) -> torch.dtype:
    return tensor.dtype.to_real() if tensor.is_complex() else tensor.dtype


def _unit_roundoff(tensor: Tensor) -> float:
    return 0.5 * float(torch.finfo(_real_dtype(tensor)).eps)


def _wide(device: torch.device) -> torch.dtype:
    """Return float64, which the metal backend lacks."""
    return torch.float32 if device.type == "mps" else torch.float64
