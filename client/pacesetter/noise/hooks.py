"""Squared norms of micro-batch gradients, taken on the way: under gradient accumulation, and under data parallelism."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pacesetter.errors import ConfigurationError
from pacesetter.noise.scale import NoiseScale


class BackwardPasses:
    """Adds up the squared norms of the gradients that the backward passes of a step bring, on the device.

    Under ``DistributedDataParallel`` they are this rank's own, before they are averaged.

    Args:
        parameters: Whose gradients count.

    Attributes:
        passes: Backward passes since the last :meth:`clear`.

    Raises:
        ConfigurationError: No parameter takes a gradient, or one is split over ranks: its parts are no gradient of a
            micro-batch.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = [each for each in parameters if each.requires_grad]
        if not self.parameters:
            raise ConfigurationError("no parameter takes a gradient: there is no noise to measure")
        if any(hasattr(each, "device_mesh") for each in self.parameters):
            raise ConfigurationError(
                "the noise scale is not measured where parameters are split over ranks (FSDP, tensor parallelism); "
                "measure it on a replicated copy"
            )
        self.passes = 0
        self._seen: set[int] = set()
        device = self.parameters[0].device
        self._wide = torch.float32 if device.type == "mps" else torch.float64  # all that MPS has
        self._squares = torch.zeros((), dtype=self._wide, device=device)
        self._handles: list[RemovableHandle] = [
            each.register_hook(self._hook_of(each))  # type: ignore[no-untyped-call]  # torch's
            for each in self.parameters
        ]

    def squares(self) -> Tensor:
        """Return the sum over passes of the squared norm of what each one brought (0-dim)."""
        return self._squares.clone()

    @torch.no_grad()
    def total(self) -> Tensor:
        """Return the squared norm of the gradient that the passes left (0-dim)."""
        return sum(
            (
                each.grad.to(self._wide).square().sum().to(self._squares)
                for each in self.parameters
                if each.grad is not None
            ),
            torch.zeros_like(self._squares),
        )

    def clear(self) -> None:
        """Begin a new step."""
        self.passes = 0
        self._seen.clear()
        self._squares.zero_()

    def remove(self) -> None:
        """Take the hooks off the parameters."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook_of(self, parameter: Tensor) -> Any:
        own = id(parameter)

        def hook(gradient: Tensor) -> None:
            # A pass has begun where a parameter is met again, or where none was met: no pass has to use all of them.
            if own in self._seen or not self._seen:
                self.passes += 1
                self._seen.clear()
            self._seen.add(own)
            self._squares.add_(
                gradient.detach().to(self._wide).square().sum().to(self._squares.device)
            )

        return hook


class AccumulationNoise:
    """Feeds a noise scale from the backward passes of gradient accumulation.

    Each backward pass brings the gradient of one micro-batch to the parameters; its squared norm is added up on the
    device. Call :meth:`collect` once per optimizer step, before the gradients are unscaled, clipped or cleared; it
    waits for the device once. A step of a single backward pass, such as the last one of an epoch, is left out and
    counted in ``noise.skipped``.

    Args:
        parameters: Whose gradients count.
        noise: What is fed.
        micro_batch: Samples of one backward pass.
        divided: Whether each loss was divided by the number of backward passes of a step, as is usual.
        scale: Returns what a GradScaler multiplied the losses by, such as ``scaler.get_scale``; None without one. The
            gradients are taken to be still multiplied by it.

    Raises:
        ConfigurationError: As of :class:`BackwardPasses`.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        noise: NoiseScale,
        *,
        micro_batch: float,
        divided: bool = True,
        scale: Any = None,
    ) -> None:
        self.noise = noise
        self._seen = BackwardPasses(parameters)
        self._micro_batch, self._divided, self._scale = micro_batch, divided, scale

    def collect(self) -> None:
        """Feed the step whose gradients are complete."""
        passes, squares = self._seen.passes, float(self._seen.squares())
        self._seen.clear()
        if passes < 2:
            self.noise.skipped += 1
            return
        scale = 1.0 if self._scale is None else float(self._scale())
        # With divided losses a pass brings 1 / passes of its mean gradient, and their sum is the mean of the batch.
        small = squares / passes * (passes**2 if self._divided else 1.0) / scale**2
        big = float(self._seen.total()) * (1.0 if self._divided else 1.0 / passes**2) / scale**2
        self.noise.update(small, big, self._micro_batch, passes * self._micro_batch)

    def remove(self) -> None:
        """Take the hooks off the parameters."""
        self._seen.remove()


class DataParallelNoise:
    """Feeds a noise scale from the gradients of ``DistributedDataParallel``, before and after they are averaged.

    Registers a communication hook, so none of your own may be there. Call :meth:`collect` on all ranks once per
    optimizer step, after the backward pass.

    Args:
        model: The wrapped model.
        noise: What is fed, the same on every rank.
        micro_batch: Samples of one rank.

    One synchronised backward pass a step (accumulate under ``no_sync``), and no GradScaler: its scale changes.
    Drop the model and call ``dist.destroy_process_group()`` before the script ends: gloo's threads that outlive the
    interpreter may abort a process whose work is done (pytorch/pytorch#190489).
    """

    def __init__(
        self, model: nn.parallel.DistributedDataParallel, noise: NoiseScale, *, micro_batch: float
    ) -> None:
        self.noise = noise
        self._group = model.process_group
        self._world = dist.get_world_size(self._group)
        self._micro_batch = micro_batch
        self._local: list[Tensor] = []
        self._mean: list[Tensor] = []
        model.register_comm_hook(state=None, hook=self._hook)

    def collect(self) -> None:
        """Feed the step whose gradients are complete; every rank waits here for all others.

        Raises:
            ConfigurationError: There was no backward pass, or there is one rank only.
        """
        local, mean, self._local, self._mean = self._local, self._mean, [], []
        if not local or self._world < 2:
            raise ConfigurationError(
                "nothing was averaged over two or more ranks since the last step: the noise cannot be told"
            )
        sums = torch.stack([torch.stack(local).sum(), torch.stack(mean).sum()])
        dist.all_reduce(sums, group=self._group)
        small, big = (sums / self._world).tolist()
        self.noise.update(small, big, self._micro_batch, self._world * self._micro_batch)

    # torch looks at these annotations: they have to be there at run time, and are not in its stubs.
    def _hook(
        self,
        state: object,
        bucket: dist.GradBucket,  # type: ignore[name-defined]
    ) -> torch.futures.Future[Tensor]:
        del state
        buffer = bucket.buffer()
        # The sum is taken before the buffer is reduced in place.
        self._local.append(buffer.double().square().sum())
        buffer.div_(self._world)
        work = dist.all_reduce(buffer, group=self._group, async_op=True)
        assert work is not None

        def keep(future: "torch.futures.Future[list[Tensor]]") -> Tensor:
            reduced = future.value()[0]
            self._mean.append(reduced.double().square().sum())
            return reduced

        found: torch.futures.Future[Tensor] = work.get_future().then(keep)
        return found
