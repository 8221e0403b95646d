"""The learning rates of all parameter groups: evaluated, written, read back, and watched for other hands."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from pacesetter.errors import ConfigurationError, LearningRateConflict, StateMismatch
from pacesetter.protocol import ParameterGroup
from pacesetter.run.conflicts import likely_schedulers
from pacesetter.schedules import Schedule

TOLERANCE = 1e-6
"""Relative difference between a written and a read-back learning rate above which it counts as not applied."""


@dataclass(slots=True)
class Group:
    """One parameter group of one optimizer.

    The optimizer's ``param_groups`` are looked up afresh each time: ``load_state_dict`` replaces the dicts.
    """

    name: str
    label: str
    """Name of the optimizer."""
    optimizer: Optimizer
    index: int
    base_lr: float
    control: str
    announced: float = field(init=False)
    """What was meant to be written."""
    read_back: float = field(init=False)
    """What the optimizer showed after writing."""
    held: object = field(init=False, default=None)
    """The very object that was written; None for a Tensor, which others may fill in place."""
    _tensor: torch.Tensor | None = field(init=False, default=None)
    _version: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Take what the optimizer shows now as written."""
        self.announced = self.read_back = read_lr(self.optimizer.param_groups[self.index]["lr"])

    def write(self, lr: float) -> None:
        """Set the learning rate; a Tensor is filled in place, so captured and compiled steps see it."""
        self.announced = lr
        holder = self.optimizer.param_groups[self.index]
        current = holder["lr"]
        if isinstance(current, torch.Tensor):
            with torch.no_grad():
                current.fill_(lr)
            # Reading a Tensor on an accelerator waits for it, so there its identity and version stand for its value.
            self._tensor, self._version = current, current._version
            self.read_back = float(current) if current.device.type == "cpu" else lr
            self.held = None
        else:
            holder["lr"] = self.held = lr
            self._tensor = None
            self.read_back = holder["lr"]

    def moved(self) -> float | None:
        """Return the learning rate that somebody else set since the last write, or None."""
        current = self.optimizer.param_groups[self.index]["lr"]
        if not isinstance(current, torch.Tensor):
            return None if current == self.read_back else float(current)
        if current.device.type == "cpu":
            value = float(current)
            return None if value == self.read_back else value
        same = self._tensor is None or (
            current is self._tensor and current._version == self._version
        )
        return None if same else float(current)

    @property
    def applied(self) -> bool:
        """Whether what was read back is what was written."""
        return abs(self.read_back - self.announced) <= TOLERANCE * abs(self.announced)

    def describe(self) -> ParameterGroup:
        """Return the group as the service sees it."""
        holder = self.optimizer.param_groups[self.index]
        return ParameterGroup(
            name=self.name,
            base_lr=self.base_lr,
            weight_decay=float(holder.get("weight_decay", 0.0) or 0.0),
            parameters=sum(parameter.numel() for parameter in holder["params"]),
            control=self.control,
            optimizer=type(self.optimizer).__name__,
        )


@dataclass(frozen=True, slots=True)
class _Lane:
    """The groups that one policy drives."""

    evaluate: Callable[[float], float]
    absolute: bool
    groups: tuple[Group, ...]


class LearningRates:
    """Drives every parameter group by a policy.

    Args:
        optimizers: Optimizers by name.
        controls: Control set of a group by its name; ``"all"`` where it has none.
        base_lrs: Bases that are known already, by group; others are what the optimizers show.

    Raises:
        ConfigurationError: A group's learning rate is not above zero, or two groups share a name.
    """

    def __init__(
        self,
        optimizers: Mapping[str, Optimizer],
        controls: Mapping[str, str] | None = None,
        base_lrs: Mapping[str, float] | None = None,
    ) -> None:
        self.groups = tuple(_groups(optimizers, controls or {}, base_lrs or {}))
        self.by_optimizer = {
            label: tuple(group for group in self.groups if group.label == label)
            for label in optimizers
        }
        self._main: dict[str, Schedule] = {}
        self._lanes: tuple[_Lane, ...] = ()

    @property
    def base_lrs(self) -> dict[str, float]:
        """Base learning rate of each group."""
        return {group.name: group.base_lr for group in self.groups}

    def restore_base_lrs(self, base_lrs: Mapping[str, float]) -> None:
        """Take the base learning rates of an earlier session.

        After ``optimizer.load_state_dict`` a group shows its scheduled learning rate, which is not its base.

        Raises:
            StateMismatch: The groups are not those of the earlier session.
        """
        if set(base_lrs) != {group.name for group in self.groups}:
            raise StateMismatch(
                f"the state is of groups {sorted(base_lrs)}, this job has "
                f"{sorted(self.base_lrs)}; resume with the same optimizers, or start a new external_id"
            )
        for group in self.groups:
            group.base_lr = float(base_lrs[group.name])

    def follow(
        self, policy: Schedule, controls: Literal["all"] | tuple[str, ...], *, main: bool
    ) -> None:
        """Drive the groups of ``controls`` by ``policy``; others keep to the main line's policies.

        Args:
            policy: The schedule to evaluate.
            controls: Control sets that it drives.
            main: Whether it becomes the main line's.
        """
        names = {group.control for group in self.groups} if controls == "all" else set(controls)
        policies = self._main | dict.fromkeys(names, policy)
        if main:
            self._main = policies
        driven = [group for group in self.groups if group.control in policies]
        self._lanes = tuple(
            _Lane(policy.evaluator(), policy.unit == "absolute", tuple(lane))
            for policy, lane in (
                (policies[control], list(lane))
                for control, lane in groupby(
                    sorted(driven, key=lambda group: group.control), lambda group: group.control
                )
            )
        )

    def write(self, position: int) -> None:
        """Write the learning rates of the optimizer step at ``position``."""
        for lane in self._lanes:
            value = lane.evaluate(position)
            for group in lane.groups:
                group.write(value if lane.absolute else value * group.base_lr)

    def check(self, label: str) -> None:
        """Compare the groups of one optimizer with what was written.

        Raises:
            LearningRateConflict: Somebody else moved one since.
        """
        for group in self.by_optimizer[label]:
            if group.optimizer.param_groups[group.index]["lr"] is group.held:
                continue  # the usual case, at every step
            moved = group.moved()
            if moved is not None:
                raise _conflict(group, moved)

    def rewrite(self, label: str) -> None:
        """Write once more what one optimizer should show: the training code loaded a state into it."""
        for group in self.by_optimizer[label]:
            group.write(group.announced)

    def multipliers_at(self, position: float) -> list[float]:
        """Return the multiplier of each group at another position under what drives it now."""
        values = {group.name: group.announced / group.base_lr for group in self.groups}
        for lane in self._lanes:
            value = lane.evaluate(position)
            for group in lane.groups:
                values[group.name] = value / group.base_lr if lane.absolute else value
        return [values[group.name] for group in self.groups]

    def multipliers(self) -> list[float]:
        """Return the multiplier of each group as last written."""
        return [group.announced / group.base_lr for group in self.groups]


def read_lr(lr: Any) -> float:
    """Return a learning rate that may be a float or a Tensor as a float (this waits for the device)."""
    return float(lr)


def unwrap(optimizer: Any) -> Optimizer:
    """Return the torch optimizer inside wrappers such as Accelerate's.

    Raises:
        ConfigurationError: There is none.
    """
    while not isinstance(optimizer, Optimizer) or isinstance(
        getattr(optimizer, "optimizer", None), Optimizer
    ):
        inner = getattr(optimizer, "optimizer", None)
        if inner is None:
            raise ConfigurationError(
                f"expected a torch.optim.Optimizer, got {type(optimizer).__name__}; pass the optimizer itself, a list "
                "or a dict of optimizers"
            )
        optimizer = inner
    return optimizer


def _groups(
    optimizers: Mapping[str, Optimizer], controls: Mapping[str, str], base_lrs: Mapping[str, float]
) -> Iterator[Group]:
    seen: set[str] = set()
    for label, optimizer in optimizers.items():
        for index, holder in enumerate(optimizer.param_groups):
            own = holder.get("name")
            name = f"{label}/{own}" if own else f"{label}/group{index}"
            if name in seen:
                raise ConfigurationError(
                    f"two parameter groups are called {name!r}; give each its own name"
                )
            seen.add(name)
            lr = read_lr(base_lrs.get(name, holder["lr"]))
            if not 0.0 < lr < float("inf"):
                raise ConfigurationError(
                    f"parameter group {name!r} has learning rate {lr}; expected its base above 0. A scheduler with a "
                    "warm-up sets 0 when it is made: attach before it, or rather without it"
                )
            yield Group(name, label, optimizer, index, lr, controls.get(name, "all"))
    if unknown := set(controls) - seen:
        raise ConfigurationError(
            f"controls name {sorted(unknown)}, which are no parameter groups; known are {sorted(seen)}"
        )


def _conflict(group: Group, moved: float) -> LearningRateConflict:
    suspects = likely_schedulers(group.optimizer)
    who = f"likely {' or '.join(suspects)}" if suspects else "something that no search found"
    return LearningRateConflict(
        f"the learning rate of {group.name!r} was set to {moved:.6g} after Pacesetter had written "
        f"{group.read_back:.6g} ({who}); one of the two must drive it: remove the scheduler, or attach with "
        "mode='disabled'"
    )
