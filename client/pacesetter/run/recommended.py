"""What a recommendation makes of a job: its base schedule, the base rate of every group, and the weight decay."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from pacesetter.errors import ConfigurationError
from pacesetter.protocol import Budget, Recommendation, Target
from pacesetter.run.rates import group_name, read_lr, unwrap
from pacesetter.schedules import Schedule, Warmup

AGREE = 0.02
"""Relative difference up to which budgets and batches that were recommended and given count as one."""


def check_recommendation(recommendation: Any) -> Recommendation:
    """Return a recommendation that can be run.

    Raises:
        ConfigurationError: It is none, or says that nothing is known.
    """
    if not isinstance(recommendation, Recommendation):
        raise ConfigurationError(
            f"recommendation is {recommendation!r:.200}; expected what pacesetter.recommend(...) returned"
        )
    if recommendation.status != "ok" or recommendation.lr is None:
        study = recommendation.study.text if recommendation.study else "measure a best peak first"
        raise ConfigurationError(
            f"nothing was recommended, so there is nothing to run: {'; '.join(recommendation.warnings)}; {study}"
        )
    return recommendation


def base_of(recommendation: Recommendation, budget: Budget, base: Schedule | None) -> Schedule:
    """Return the recommended schedule as the base of a job with ``budget``, in its clock.

    Raises:
        ConfigurationError: There is another base already, or the budget is not the one that was asked for.
    """
    schedule, steps = recommendation.schedule, recommendation.steps
    batch = recommendation.batch_tokens
    if schedule is None or steps is None or batch is None:
        raise ConfigurationError("the recommendation has no schedule; ask the service anew")
    if base is not None:
        raise ConfigurationError(
            "base and recommendation both say which schedule to follow; leave one of them out"
        )
    if budget.clock == "steps":
        if budget.total != steps:
            raise ConfigurationError(
                f"the budget is {budget.total} steps and the recommendation is for {steps} of {batch:g} tokens; give "
                f"pacesetter.Steps({steps}), or ask for steps={budget.total}"
            )
        return schedule
    if not math.isclose(budget.total, steps * batch, rel_tol=AGREE):
        raise ConfigurationError(
            f"the budget is {budget.total} tokens and the recommendation is for {steps * batch:.6g}; give the one that "
            "you asked for, or ask for the one that you have"
        )
    return _in_tokens(schedule, budget.total, batch)


def target_of(recommendation: Recommendation, given: Target | None) -> Target:
    """Return what the job trains: as given, else as it was asked for, with the batch that was chosen.

    Raises:
        ConfigurationError: The batch that was given is another one.
    """
    asked = recommendation.target.model_copy(update={"batch_tokens": recommendation.batch_tokens})
    if given is None:
        return asked
    batch = recommendation.batch_tokens
    if given.batch_tokens and batch and not math.isclose(given.batch_tokens, batch, rel_tol=AGREE):
        raise ConfigurationError(
            f"target says {given.batch_tokens:g} tokens a step and the recommendation is for {batch:g}: its rate is "
            f"that of its batch; ask with batch_tokens={given.batch_tokens:g}"
        )
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
    _check_optimizer(recommendation, next(iter(inner.values())))
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


def _check_optimizer(recommendation: Recommendation, optimizer: Optimizer) -> None:
    """Refuse a rate that belongs to another kind of optimizer: it is off by orders of magnitude."""
    asked, real = recommendation.target.optimizer.lower(), type(optimizer).__name__.lower()
    alike = asked in real or real in asked or ("adam" in asked and "adam" in real)
    if not alike:
        raise ConfigurationError(
            f"the recommendation is for {recommendation.target.optimizer} and the first optimizer is "
            f"{type(optimizer).__name__}: its rates are others; ask with optimizer={real!r}"
        )


def _in_tokens(schedule: Schedule, total: int, batch: float) -> Schedule:
    """Return a schedule in steps as one over a budget of tokens."""
    if schedule.body.required_clock() is not None:
        raise ConfigurationError(
            f"the recommended schedule ({schedule.body.family}) counts steps; give the budget in pacesetter.Steps"
        )
    rise = None
    if schedule.warmup is not None:
        length = min(round(schedule.warmup.length * batch), total - 1)
        rise = Warmup(length=length, start=schedule.warmup.start) if length else None
    parts = schedule.model_dump(exclude={"length", "warmup"})
    return Schedule.model_validate({**parts, "length": total, "warmup": rise})
