"""Inner products over all parameters at once, of gradients with what the last step changed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pacesetter.run.statistics import aligned_gradient, buckets_of, local_part, summed_over_shards


class Displacement:
    """The weights of the step before, and how this step's gradient lies to what was changed since.

    Keeps one copy of the parameters. Sharded parameters count with their full value: local parts are multiplied, then
    summed over the mesh, so all ranks call together.

    Args:
        parameters: In the same order on every rank.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._buckets = buckets_of(list(dict.fromkeys(parameters)))
        self._before: list[list[Tensor]] | None = None

    @torch.no_grad()
    def measure(self) -> tuple[float, float, float] | None:
        """Return ``g . d``, ``g . g`` and ``d . d`` with ``d`` the weights before the last step less those now.

        ``d`` is the learning rate times the direction that was really applied: momentum, preconditioner, clipping and
        weight decay included. This waits for the device once. None before the first step.
        """
        if self._before is None:
            return None
        sums = [self._bucket_sums(index, before) for index, before in enumerate(self._before)]
        first = sums[0].device
        total = torch.stack([each.to(first, torch.float64) for each in sums]).sum(0)
        gd, gg, dd = total.tolist()
        return gd, gg, dd

    @torch.no_grad()
    def keep(self) -> None:
        """Keep the weights as they are, before the step that is about to be made."""
        now = [[local_part(p.detach()) for p in bucket.parameters] for bucket in self._buckets]
        if self._before is None:
            self._before = [[value.clone() for value in values] for values in now]
            return
        for kept, values in zip(self._before, now, strict=True):
            torch._foreach_copy_(kept, values)

    def forget(self) -> None:
        """Forget the weights; the memory is given back."""
        self._before = None

    def _bucket_sums(self, index: int, before: list[Tensor]) -> Tensor:
        bucket = self._buckets[index]
        wide = torch.float64 if bucket.dtype == torch.float64 else torch.float32
        sums = torch.zeros(3, dtype=wide, device=bucket.device)
        for parameter, kept in zip(bucket.parameters, before, strict=True):
            moved = (kept - local_part(parameter.detach())).flatten().to(wide)
            sums[2] += moved @ moved
            if parameter.grad is None:
                continue
            gradient = local_part(aligned_gradient(parameter)).flatten().to(wide)
            sums[0] += gradient @ moved
            sums[1] += gradient @ gradient
        return summed_over_shards(sums, bucket)
