"""One optimizer step: unscale, measure, clip, step, and clear the gradients.

Whether a step was really made is seen from the optimizer's own step pre-hook: a GradScaler that found an overflow does
not call the optimizer at all. Fused optimizers are called and told of the overflow on the device (``found_inf``);
reading that waits for the device once a step, which torch's scaler does itself in every other case.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from pacesetter.noise import BackwardPasses
from pacesetter.run.rates import LearningRates, unwrap
from pacesetter.run.rows import Scalar
from pacesetter.run.statistics import GradientStatistics

Statistic = str
GRADIENT_L2, GRADIENT_L1, PARAMETER_L2 = "grad_norm", "grad_norm_l1", "parameter_norm"
GRADIENT_NOISE = "gradient_noise"
STATISTICS = (GRADIENT_L2, GRADIENT_L1, PARAMETER_L2, GRADIENT_NOISE)

MICRO_SQUARE, BATCH_SQUARE, MICRO_BATCHES = "micro_square", "batch_square", "micro_batches"
"""Columns of the statistic ``gradient_noise``: the mean squared norm of a micro-batch's gradient, the squared norm of
the whole batch's, both as if losses were divided by the number of micro-batches, and that number."""


StepHook = Callable[[Optimizer, tuple[Any, ...], dict[str, Any]], None]

Measured = dict[str, Scalar]
"""What was seen on the way of one step, by column name."""


class OptimizerSteps:
    """Makes the optimizer steps of a job.

    Args:
        optimizers: Optimizers by name, as the training code passed them (wrappers included).
        rates: Watches the learning rates; None leaves them alone.
        scaler: A ``GradScaler``, or None.
        statistics: Names out of ``STATISTICS`` to measure at every step.
        world_size: Ranks whose gradients are averaged in each step.

    Raises:
        ConfigurationError: ``gradient_noise`` is wanted, and cannot be measured on these parameters.
    """

    def __init__(
        self,
        optimizers: Mapping[str, Any],
        rates: LearningRates | None,
        *,
        scaler: Any = None,
        statistics: Iterable[Statistic] = (),
        world_size: int = 1,
    ) -> None:
        self._outer = tuple(optimizers.values())
        self._inner = {label: unwrap(optimizer) for label, optimizer in optimizers.items()}
        self._rates = rates
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._wanted = frozenset(statistics)
        self._wants_noise = GRADIENT_NOISE in self._wanted
        self._wants_norms = bool(self._wanted - {GRADIENT_NOISE})
        self._statistics: GradientStatistics | None = None
        self._world_size = world_size
        self._passes: BackwardPasses | None = None
        if self._wants_noise:
            self.watch_passes()
        self._fired = False
        self._hooks = [
            hook
            for label, optimizer in self._inner.items()
            for hook in self._watch(label, optimizer)
        ]

    def step(self, grad_norm: Scalar, max_grad_norm: float | None) -> Measured | None:
        """Make one step; return what was seen on the way, or None if an overflow made the scaler skip it.

        Args:
            grad_norm: The norm that the training code already has, or None.
            max_grad_norm: Clip to this norm; None leaves the gradients as they are.

        Raises:
            LearningRateConflict: Somebody else moved a learning rate; nothing was stepped by that optimizer.
        """
        columns: Measured = {}
        if self._wants_noise:
            columns.update(self._noise())
        if self._wants_norms or max_grad_norm is not None:
            self._measure(columns, grad_norm, max_grad_norm)
        if grad_norm is not None:
            columns[GRADIENT_L2] = grad_norm
        self._fired = False
        if self._scaler is None:
            for optimizer in self._outer:
                optimizer.step()
        else:
            for optimizer in self._outer:
                self._scaler.step(optimizer)
            self._scaler.update()
        for optimizer in self._outer:
            optimizer.zero_grad(set_to_none=True)
        if self._passes is not None:
            self._passes.clear()
        return columns if self._fired else None

    def learning_rates(self) -> dict[str, float]:
        """Return what every group shows now."""
        return {
            f"{label}/{group.get('name') or f'group{index}'}": float(group["lr"])
            for label, optimizer in self._inner.items()
            for index, group in enumerate(optimizer.param_groups)
        }

    def watch_passes(self) -> None:
        """See the gradient of every backward pass from now on; what each one brings is summed on the device.

        Raises:
            ConfigurationError: No parameter takes a gradient, or they are split over ranks.
        """
        if self._passes is None:
            self._passes = BackwardPasses(self._parameters())

    def leave_passes(self) -> None:
        """See the backward passes no longer, unless the statistic ``gradient_noise`` needs them: they cost at each."""
        if self._passes is not None and not self._wants_noise:
            self._passes.remove()
            self._passes = None

    def pass_squares(self) -> tuple[Tensor, Tensor, int] | None:
        """Return this rank's mean squared norm over micro-batches, that of the whole batch, and their number.

        Both are 0-dim tensors, unscaled, as if losses were divided by the number of backward passes. Call it after
        :meth:`unscale`. None where the step had a single micro-batch, or where the passes were not watched.
        """
        if self._passes is None:
            return None
        passes = self._passes.passes
        count = passes * self._world_size
        if count < 2:
            return None
        scale = 1.0 if self._scaler is None else float(self._scaler.get_scale())
        # Each pass brought 1 / passes of its mean gradient; ranks are averaged, not summed.
        small = self._passes.squares() * (passes / scale**2)
        return small, self._passes.total(), count

    @property
    def attached(self) -> bool:
        """Whether the hooks are on the optimizers."""
        return bool(self._hooks)

    def detach(self) -> None:
        """Take the hooks off the optimizers."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if self._passes is not None:
            self._passes.remove()
            self._passes = None

    def _noise(self) -> Measured:
        self.unscale()
        found = self.pass_squares()
        if found is None:
            return {}
        small, big, count = found
        return {MICRO_SQUARE: small, BATCH_SQUARE: big, MICRO_BATCHES: float(count)}

    def _measure(self, columns: Measured, grad_norm: Scalar, max_grad_norm: float | None) -> None:
        """Measure on unscaled gradients before clipping, then clip."""
        self.unscale()
        statistics = self._statistics or self._open_statistics()
        norms = statistics.measure()
        if GRADIENT_L1 in self._wanted:
            columns[GRADIENT_L1] = norms.gradient_l1
        if PARAMETER_L2 in self._wanted:
            columns[PARAMETER_L2] = norms.parameter_l2
        if norms.gradient_l2 is not None and grad_norm is None:
            columns[GRADIENT_L2] = norms.gradient_l2
        if max_grad_norm is not None:
            if norms.gradient_l2 is None:  # asked to clip for the first time in the middle of a run
                statistics.l2 = True
                norms = statistics.measure()
            assert norms.gradient_l2 is not None
            columns["clipped"] = statistics.clip_(max_grad_norm, norms.gradient_l2)

    def _open_statistics(self) -> GradientStatistics:
        self._statistics = GradientStatistics(
            self._parameters(),
            l2=GRADIENT_L2 in self._wanted,
            l1=GRADIENT_L1 in self._wanted,
            parameter_norm=PARAMETER_L2 in self._wanted,
        )
        return self._statistics

    def _parameters(self) -> list[Tensor]:
        return [
            parameter
            for optimizer in self._inner.values()
            for group in optimizer.param_groups
            for parameter in group["params"]
        ]

    def unscale(self) -> None:
        """Let the GradScaler, if there is one, unscale the gradients, unless that was done for this step."""
        if self._scaler is None:
            return
        for outer, inner in zip(self._outer, self._inner.values(), strict=True):
            if not _is_unscaled(self._scaler, outer) and not _is_unscaled(self._scaler, inner):
                self._scaler.unscale_(outer)

    def _watch(self, label: str, optimizer: Optimizer) -> Iterator[RemovableHandle]:
        yield optimizer.register_step_pre_hook(self._before_step(label))
        rates = self._rates
        if rates is not None:
            yield optimizer.register_load_state_dict_post_hook(lambda _: rates.rewrite(label))

    def _before_step(self, label: str) -> StepHook:
        rates = self._rates
        if rates is None:
            return self._step_begins
        driven = rates.by_optimizer[label]

        def check(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # The usual case is that every group still holds the very object that was written.
            for holder, held in zip(optimizer.param_groups, driven.held, strict=False):
                if holder["lr"] is not held:
                    rates.check(label)
                    break
            if self._scaler is None:
                self._fired = True
            else:
                self._step_begins(optimizer, args, kwargs)

        return check

    def _step_begins(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        del args, kwargs
        if self._scaler is not None:
            found = getattr(optimizer, "found_inf", None)
            if isinstance(found, Tensor) and bool(found):
                return
        self._fired = True


def _is_unscaled(scaler: Any, optimizer: Any) -> bool:
    """Whether the training code already unscaled: torch refuses to do it twice, and has no public way to ask."""
    states = getattr(scaler, "_per_optimizer_states", {})
    if id(optimizer) not in states:
        return False
    return getattr(states[id(optimizer)]["stage"], "name", "READY") == "UNSCALED"
