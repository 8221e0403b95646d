"""What a recommendation makes of a job: its base schedule, the base rate of every group, and the weight decay."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from pacesetter.errors import ConfigurationError
from pacesetter.fitting import check_batch, check_optimizer, schedule_for
from pacesetter.protocol import Budget, Recommendation, Target
from pacesetter.run.rates import group_name, read_lr, unwrap
from pacesetter.schedules import Schedule


def base_of(recommendation: Recommendation, budget: Budget, base: Schedule | None) -> Schedule:
    """Return the recommended schedule as the base of a job with ``budget``, in its clock.

    Raises:
        ConfigurationError: There is another base already, or the budget is not the one that was asked for.
    """
    if base is not None:
        raise ConfigurationError(
            "base and recommendation both say which schedule to follow; leave one of them out"
        )
    return schedule_for(recommendation, budget)


def target_of(recommendation: Recommendation, given: Target | None) -> Target:
    """Return what the job trains: as given, else as it was asked for, with the batch that was chosen.

    Raises:
        ConfigurationError: The batch that was given is another one.
    """
    asked = recommendation.target.model_copy(update={"batch_tokens": recommendation.batch_tokens})
    if given is None:
        return asked
    check_batch(recommendation, given.batch_tokens)
    return given


@dataclass(frozen=True, slots=True)
class Recommended:
    """What a recommendation sets in the optimizers of a job.

    Attributes:
        base_lrs: Base rate of every parameter group, by its name; empty without a recommendation.
        decays: Parameter groups whose weight decay is to be set, with it.
    """

    base_lrs: Mapping[str, float] = field(default_factory=dict)
    decays: Sequence[tuple[dict[str, Any], float]] = ()

    def set_weight_decays(self) -> None:
        """Write the decays into the optimizers."""
        for holder, decay in self.decays:
            holder["weight_decay"] = decay


def settings_of(settings: Mapping[str, Any], optimizers: Mapping[str, Any]) -> Recommended:
    """Return what the recommendation among ``settings`` sets in the optimizers; nothing without one.

    Where groups have an ``lr_scale`` (as muP's have) each runs at that times the recommended rate; else the first group
    runs at it, and the ratios between the groups stay. Where the decay was asked for, every group that decays gets it,
    divided by its ``lr_scale``, so that decay times rate is that of the others.

    Raises:
        ConfigurationError: The optimizer is of another kind than the one asked for, the first group's rate is 0, or
            there is no decay to set.
    """
    recommendation = settings.get("recommendation")
    if recommendation is None:
        return Recommended()
    inner = {label: unwrap(each) for label, each in optimizers.items()}
    check_optimizer(recommendation, type(next(iter(inner.values()))).__name__)
    decays = _decays(recommendation, inner) if settings.get("recommended_weight_decay") else ()
    return Recommended(_base_lrs(recommendation, inner), decays)


def _base_lrs(
    recommendation: Recommendation, optimizers: Mapping[str, Optimizer]
) -> dict[str, float]:
    groups = list(_groups(optimizers))
    lr = recommendation.lr
    assert lr is not None
    if any("lr_scale" in holder for _, holder in groups):
        return {name: lr * _scale(name, holder) for name, holder in groups}
    first = read_lr(groups[0][1]["lr"])
    if not 0.0 < first < math.inf:
        raise ConfigurationError(
            f"parameter group {groups[0][0]!r} has learning rate {first}, so the ratios between groups are lost; give "
            "every group a rate above 0"
        )
    return {name: lr * read_lr(holder["lr"]) / first for name, holder in groups}


def _decays(
    recommendation: Recommendation, optimizers: Mapping[str, Optimizer]
) -> list[tuple[dict[str, Any], float]]:
    decay, asked = recommendation.weight_decay, recommendation.target
    if decay is None:
        raise ConfigurationError(
            f"no weight decay was recommended for {asked.optimizer} in {asked.regime}; leave "
            "recommended_weight_decay out"
        )
    found = [
        (holder, decay / _scale(name, holder))
        for name, holder in _groups(optimizers)
        if holder.get("weight_decay")
    ]
    if not found:
        raise ConfigurationError(
            "no parameter group has a weight decay above 0 to replace; give those that shall decay any, and 0 to the "
            "others, such as biases and gains"
        )
    return found


def _groups(optimizers: Mapping[str, Optimizer]) -> Iterator[tuple[str, dict[str, Any]]]:
    for label, optimizer in optimizers.items():
        for index, holder in enumerate(optimizer.param_groups):
            yield group_name(label, index, holder), holder


def _scale(name: str, holder: Mapping[str, Any]) -> float:
    scale = float(holder.get("lr_scale", 1.0))
    if not 0.0 < scale < math.inf:
        raise ConfigurationError(
            f"parameter group {name!r} has lr_scale {scale}; expected a number above 0"
        )
    return scale
