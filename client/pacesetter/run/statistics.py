"""Norms of the gradient and of the parameters, measured on the device once per optimizer step.

Nothing here waits for the device: every result is a 0-dim tensor that whoever reports it copies later. Gradients are
those of the whole optimizer step, so measure after unscaling and before clipping.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

if TYPE_CHECKING:  # importing it takes a second, and whoever shards has imported it already
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

CLIP_EPSILON = 1e-6
"""Added to the norm before dividing, as ``torch.nn.utils.clip_grad_norm_`` does."""


@dataclass(frozen=True, slots=True)
class Norms:
    """What was measured at one step: 0-dim tensors on the device of the first parameter; None if not asked for."""

    gradient_l2: Tensor | None = None
    gradient_l1: Tensor | None = None
    parameter_l2: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """Parameters whose norms one fused call measures and one collective (or none) reduces."""

    parameters: list[Tensor]
    device: torch.device
    dtype: torch.dtype
    mesh: "DeviceMesh | None"
    sharded: tuple[bool, ...]
    """For each mesh dimension whether the parameters are split along it."""


class GradientStatistics:
    """Measures the norms of a fixed set of parameters and of their gradients.

    DTensors (FSDP2, tensor parallelism) count with their full value: local shards are measured, then summed over the
    mesh dimensions along which they are split, in one collective a mesh. All ranks must therefore call together.
    Non-finite values pass through. 16-bit values are accumulated in float32, so nothing overflows on the way.

    Args:
        parameters: The parameters to watch, in the same order on every rank; duplicates count once.
        l2: Whether to measure the l2 norm of the gradient.
        l1: Whether to measure its l1 norm (the sum of absolute values).
        parameter_norm: Whether to measure the l2 norm of the parameters.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        l2: bool = True,
        l1: bool = False,
        parameter_norm: bool = False,
    ) -> None:
        self.l2 = l2
        self.l1 = l1
        self.parameter_norm = parameter_norm
        self._parameters = list(dict.fromkeys(parameters))
        self._buckets = buckets_of(self._parameters)

    @torch.no_grad()
    def measure(self) -> Norms:
        """Return the norms that were asked for; a parameter without a gradient counts as zero."""
        gradients = None
        if self.l2 or self.l1:
            gradients = [_gradients(bucket.parameters) for bucket in self._buckets]
        return Norms(
            gradient_l2=self._norm(gradients, 2) if gradients is not None and self.l2 else None,
            gradient_l1=self._norm(gradients, 1) if gradients is not None and self.l1 else None,
            parameter_l2=self._norm([_values(b.parameters) for b in self._buckets], 2)
            if self.parameter_norm
            else None,
        )

    @torch.no_grad()
    def clip_(self, max_norm: float, norm: Tensor) -> Tensor:
        """Scale all gradients in place so that their l2 norm is at most ``max_norm``.

        Args:
            max_norm: The bound, above 0.
            norm: The l2 norm as :meth:`measure` returned it (0-dim).

        Returns:
            A 0-dim bool tensor on the device: whether this step was clipped.

        Raises:
            ValueError: ``max_norm`` is not above 0.
        """
        if not max_norm > 0.0:
            raise ValueError(f"max_norm is {max_norm}; clip to a norm above 0, or do not clip")
        # Multiplying by a clamped factor, also where nothing is to be clipped, is what spares the wait.
        factor = torch.clamp(max_norm / (norm + CLIP_EPSILON), max=1.0)
        for bucket in self._buckets:
            gradients = [local_part(p.grad) for p in bucket.parameters if p.grad is not None]
            if gradients:
                local_factor = factor.to(bucket.device, non_blocking=True)
                torch._foreach_mul_(
                    [g._values() if g.is_sparse else g for g in gradients], local_factor
                )
        return norm > max_norm

    def _norm(self, tensors: Sequence[list[Tensor]], order: int) -> Tensor:
        parts = [
            _bucket_norm(bucket, values, order)
            for bucket, values in zip(self._buckets, tensors, strict=True)
        ]
        if not parts:
            return torch.zeros(())
        if len(parts) == 1:
            return parts[0]
        first = parts[0].device
        stacked = torch.stack([part.to(first, non_blocking=True) for part in parts])
        norm: Tensor = torch.linalg.vector_norm(stacked, order)
        return norm


@torch.no_grad()
def tensor_norms(bucket: Bucket) -> Tensor:
    """Return the l2 norm of each parameter of a bucket, as one vector [len(bucket.parameters)] on its device.

    A DTensor counts with its full value, so all ranks must call together.
    """
    wide = _wide(bucket)
    values = _values(bucket.parameters)
    narrow = any(value.dtype != wide for value in values)
    norms = torch.stack(list(torch._foreach_norm(values, 2, dtype=wide if narrow else None)))
    if bucket.mesh is None or not any(bucket.sharded):
        return norms
    return _reduced(norms.square(), bucket.mesh, bucket.sharded).sqrt()


def _bucket_norm(bucket: Bucket, values: list[Tensor], order: int) -> Tensor:
    """Return the norm of one bucket, reduced over its mesh; every rank takes part, with or without gradients."""
    wide = _wide(bucket)
    if values:
        narrow = any(value.dtype != wide for value in values)
        norms = torch._foreach_norm(values, order, dtype=wide if narrow else None)
        total: Tensor = torch.linalg.vector_norm(torch.stack(list(norms)), order)
    else:
        total = torch.zeros((), dtype=wide, device=bucket.device)
    if bucket.mesh is None or not any(bucket.sharded):
        return total
    return summed_over_shards(total**order, bucket) ** (1.0 / order)


def _wide(bucket: Bucket) -> torch.dtype:
    return torch.float64 if bucket.dtype in (torch.float64, torch.complex128) else torch.float32


def summed_over_shards(value: Tensor, bucket: Bucket) -> Tensor:
    """Return the sum over all ranks that hold other parts of the bucket; every rank calls."""
    if bucket.mesh is None or not any(bucket.sharded):
        return value
    return _reduced(value, bucket.mesh, bucket.sharded)


def _reduced(value: Tensor, mesh: "DeviceMesh", sharded: tuple[bool, ...]) -> Tensor:
    """Return the sum of ``value`` over the mesh dimensions that are split, in one collective."""
    from torch.distributed.tensor import DTensor, Partial, Placement, Replicate

    placements: list[Placement] = [Partial("sum") if split else Replicate() for split in sharded]
    return DTensor.from_local(value, mesh, placements, run_check=False).full_tensor()


def buckets_of(parameters: Sequence[Tensor]) -> list[Bucket]:
    """Return the parameters by device, precision and layout over a mesh, in the order of their first ones."""
    found: dict[object, Bucket] = {}
    for parameter in parameters:
        mesh, sharded = _layout(parameter)
        key = (parameter.device, parameter.dtype, mesh, sharded)
        bucket = found.setdefault(key, Bucket([], parameter.device, parameter.dtype, mesh, sharded))
        bucket.parameters.append(parameter)
    return list(found.values())


def _layout(parameter: Tensor) -> tuple["DeviceMesh | None", tuple[bool, ...]]:
    if not _is_distributed(parameter):
        return None, ()
    return parameter.device_mesh, tuple(not p.is_replicate() for p in parameter.placements)


def _is_distributed(tensor: Tensor) -> "TypeGuard[DTensor]":
    return hasattr(tensor, "device_mesh")


def local_part(tensor: Tensor) -> Tensor:
    """Return this rank's part of a tensor, sharing its memory."""
    return tensor.to_local() if _is_distributed(tensor) else tensor


def aligned_gradient(parameter: Tensor) -> Tensor:
    """Return the gradient of a parameter that has one, dense and with the parameter's placements."""
    assert parameter.grad is not None
    gradient = _laid_out_like(parameter.grad, parameter)
    return gradient.to_dense() if gradient.is_sparse else gradient


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return _values([_laid_out_like(p.grad, p) for p in parameters if p.grad is not None])


def _laid_out_like(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return the gradient with its parameter's placements: tensor parallelism leaves some as unreduced sums."""
    if not (_is_distributed(gradient) and _is_distributed(parameter)):
        return gradient
    if gradient.placements == parameter.placements:
        return gradient
    return gradient.redistribute(placements=parameter.placements)


def _values(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return local, dense, real tensors with the same norms."""
    local = (local_part(tensor.detach()) for tensor in tensors)
    dense = (t.coalesce().values() if t.is_sparse else t for t in local)
    return [t.abs() if t.is_complex() else t for t in dense]
