"""The learning rates of all parameter groups: evaluated, written, read back, and watched for other hands."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from pacesetter.errors import ConfigurationError, LearningRateConflict, StateMismatch
from pacesetter.protocol import ParameterGroup
from pacesetter.run.conflicts import likely_schedulers
from pacesetter.schedules import Schedule

TOLERANCE = 1e-6
"""Relative difference between a written and a read-back learning rate above which it counts as not applied."""

PLANNED_VALUES = 64
"""Learning rates evaluated at a time, at most: some 50 us, once in as many steps."""


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
            momentum=_momentum(holder),
            parameters=sum(parameter.numel() for parameter in holder["params"]),
            control=self.control,
            optimizer=type(self.optimizer).__name__,
        )


def _momentum(holder: Mapping[str, Any]) -> float:
    """Return SGD's momentum; 0 where there is none, or what has that name is something else."""
    value = holder.get("momentum", 0.0)
    return float(value) if isinstance(value, int | float) and 0.0 <= value < 1.0 else 0.0


@dataclass(slots=True)
class _Lane:
    """What one policy says: a learning rate, or a multiple of each group's base."""

    evaluate: Callable[[float], float]
    absolute: bool
    regulated: bool = False
    """Whether a feedback rule multiplies it."""
    value: float = 0.0
    """At the position that is being planned."""


class Driven:
    """One optimizer and what its groups should show.

    Attributes:
        lanes: What drives each group, in the order of the groups.
        held: The very objects that were written, in the order of the groups; None for a Tensor.
        plain: Whether all learning rates are floats, so that writing them is all there is to do.
        seen: Groups of the optimizer when it was last looked for new ones.
    """

    __slots__ = ("groups", "held", "lanes", "optimizer", "plain", "seen")

    def __init__(self, optimizer: Optimizer, groups: tuple[Group, ...]) -> None:
        self.optimizer = optimizer
        self.groups = groups
        self.lanes: tuple[_Lane, ...] = ()
        self.held: tuple[object, ...] = tuple(group.held for group in groups)
        self.seen = len(groups)
        self.look()

    def look(self) -> None:
        """See afresh what kind of learning rates the groups hold."""
        holders = self.optimizer.param_groups
        self.plain = not any(isinstance(holder["lr"], torch.Tensor) for holder in holders)

    def write(self, lrs: tuple[float, ...]) -> None:
        """Write group by group, Tensors in place."""
        for group, lr in zip(self.groups, lrs, strict=True):
            group.write(lr)
        self.held = tuple(group.held for group in self.groups)

    def settle(self) -> None:
        """Let the groups know what was written past them."""
        if self.plain:
            for group, lr in zip(self.groups, self.held, strict=True):
                if isinstance(lr, float):
                    group.announced = group.read_back = lr
                    group.held = lr


Rows = tuple[tuple[float, ...], ...]
"""Learning rates of one step: of each optimizer, of each of its groups."""


class LearningRates:
    """Drives every parameter group by a policy.

    Learning rates are evaluated some steps ahead, many at a time: after a long step the caches are cold, and what an
    ordinary step then touches is its cost.

    Args:
        optimizers: Optimizers by name.
        controls: Control set of a group by its name; ``"all"`` where it has none.
        base_lrs: Bases that are known already, by group; others are what the optimizers show.

    Attributes:
        shown: What the first group showed after writing.
        multiplier: What was written into it, as a multiple of its base.

    Raises:
        ConfigurationError: A group's learning rate is not above zero, or two groups share a name.
    """

    def __init__(
        self,
        optimizers: Mapping[str, Optimizer],
        controls: Mapping[str, str] | None = None,
        base_lrs: Mapping[str, float] | None = None,
    ) -> None:
        self._groups = tuple(_groups(optimizers, controls or {}, base_lrs or {}))
        self.by_optimizer = {
            label: Driven(optimizer, tuple(group for group in self._groups if group.label == label))
            for label, optimizer in optimizers.items()
        }
        self._driven = tuple(self.by_optimizer.values())
        self._main: dict[str, Schedule] = {}
        self._lanes: tuple[_Lane, ...] = ()
        self._plan: dict[int, Rows] = {}
        self._stride = self._ahead = 1
        self._factor = 1.0
        self.shown, self.multiplier = self._groups[0].read_back, 1.0

    @property
    def groups(self) -> tuple[Group, ...]:
        """All groups, which know what was last written into them."""
        for driven in self._driven:
            driven.settle()
        return self._groups

    @property
    def base_lrs(self) -> dict[str, float]:
        """Base learning rate of each group."""
        return {group.name: group.base_lr for group in self._groups}

    def restore_base_lrs(self, base_lrs: Mapping[str, float]) -> None:
        """Take the base learning rates of an earlier session.

        After ``optimizer.load_state_dict`` a group shows its scheduled learning rate, which is not its base.

        Raises:
            StateMismatch: The groups are not those of the earlier session.
        """
        if set(base_lrs) != {group.name for group in self._groups}:
            raise StateMismatch(
                f"the state is of groups {sorted(base_lrs)}, this job has "
                f"{sorted(self.base_lrs)}; resume with the same optimizers, or start a new external_id"
            )
        for group in self._groups:
            group.base_lr = float(base_lrs[group.name])
        self._plan = {}

    def follow(
        self,
        policy: Schedule,
        controls: Literal["all"] | tuple[str, ...],
        *,
        main: bool,
        factor: float | None = None,
    ) -> None:
        """Drive the groups of ``controls`` by ``policy``; others keep to the main line's policies.

        Args:
            policy: The schedule to evaluate.
            controls: Control sets that it drives.
            main: Whether it becomes the main line's.
            factor: What a feedback rule multiplies it by for now (:meth:`regulate`); None without one.
        """
        names = {group.control for group in self._groups} if controls == "all" else set(controls)
        policies = self._main | dict.fromkeys(names, policy)
        if main:
            self._main = policies
        self._factor = 1.0 if factor is None else factor
        lanes = {
            control: _Lane(
                each.evaluator(), each.unit == "absolute", factor is not None and control in names
            )
            for control, each in policies.items()
        }
        for driven in self._driven:
            driven.lanes = tuple(lanes.get(each.control) or _keep(each) for each in driven.groups)
        self._lanes = tuple({id(e): e for d in self._driven for e in d.lanes}.values())
        self._plan, self._ahead = {}, 1

    def write(self, position: int, stride: int = 1) -> None:
        """Write the learning rates of the optimizer step at ``position``.

        Args:
            position: In the job's clock.
            stride: What a step consumes: where the steps after this one are likely to be.
        """
        rows = self._plan.get(position) or self._look_ahead(position, stride)
        for driven, row in zip(self._driven, rows, strict=True):
            if driven.plain:
                driven.held = row
                # The dicts are looked up afresh each time: load_state_dict replaces them.
                for holder, lr in zip(driven.optimizer.param_groups, row, strict=False):
                    holder["lr"] = lr
            else:
                driven.write(row)
        self.shown = rows[0][0]
        self.multiplier = self.shown / self._groups[0].base_lr
        if not self._driven[0].plain:
            self.shown = self._groups[0].read_back

    def regulate(self, factor: float, position: int) -> None:
        """Multiply what a feedback rule regulates by ``factor``, from the step at ``position`` on: the next one.

        Raises:
            LearningRateConflict: Somebody else moved a learning rate since it was written.
        """
        if factor == self._factor:
            return
        for label in self.by_optimizer:
            self.check(label)  # what is written now would hide it
        self._factor = factor
        self._plan, self._ahead = {}, 1
        self.write(position, self._stride)

    @property
    def regulated(self) -> list[torch.Tensor]:
        """Parameters of the groups that a feedback rule regulates, in a fixed order."""
        return [
            parameter
            for driven in self._driven
            for group, lane in zip(driven.groups, driven.lanes, strict=True)
            if lane.regulated
            for parameter in driven.optimizer.param_groups[group.index]["params"]
        ]

    @property
    def regulated_lr(self) -> float:
        """Base learning rate of the first group that a feedback rule regulates."""
        bases = (
            group.base_lr
            for driven in self._driven
            for group, lane in zip(driven.groups, driven.lanes, strict=True)
            if lane.regulated
        )
        return next(bases, self._groups[0].base_lr)

    def check(self, label: str) -> None:
        """Compare the groups of one optimizer with what was written.

        Raises:
            LearningRateConflict: Somebody else moved one since.
        """
        driven = self.by_optimizer[label]
        driven.settle()
        for group in driven.groups:
            moved = group.moved()
            if moved is not None:
                raise _conflict(group, moved)
        driven.look()

    def newcomers(self) -> list[str]:
        """Return the groups that ``add_param_group`` gave an optimizer since the last call: nothing drives them."""
        found = []
        for label, driven in self.by_optimizer.items():
            holders = driven.optimizer.param_groups
            new = range(driven.seen, len(holders))
            found += [group_name(label, index, holders[index]) for index in new]
            driven.seen = len(holders)
        return found

    def rewrite(self, label: str) -> None:
        """Write once more what one optimizer should show: the training code loaded a state into it."""
        driven = self.by_optimizer[label]
        driven.settle()
        driven.write(tuple(group.announced for group in driven.groups))
        driven.look()

    def multipliers_at(self, position: float) -> list[float]:
        """Return the multiplier of each group at another position under what drives it now."""
        values = []
        for driven in self._driven:
            for group, lane in zip(driven.groups, driven.lanes, strict=True):
                value = lane.evaluate(position) * (self._factor if lane.regulated else 1.0)
                values.append(value / group.base_lr if lane.absolute else value)
        return values

    def multipliers(self) -> list[float]:
        """Return the multiplier of each group as last written."""
        return [group.announced / group.base_lr for group in self.groups]

    def _look_ahead(self, position: int, stride: int) -> Rows:
        """Plan the steps from ``position`` on: twice as many as last time while they come as foreseen."""
        if stride != self._stride:
            self._stride, self._ahead = stride, 1
        end = position + self._ahead * max(1, stride)
        self._plan = {each: self._rows_at(each) for each in range(position, end, max(1, stride))}
        self._ahead = min(2 * self._ahead, max(1, PLANNED_VALUES // len(self._groups)))
        return self._plan[position]

    def _rows_at(self, position: int) -> Rows:
        for lane in self._lanes:
            lane.value = lane.evaluate(position) * (self._factor if lane.regulated else 1.0)
        return tuple(
            tuple(
                lane.value if lane.absolute else lane.value * group.base_lr
                for group, lane in zip(driven.groups, driven.lanes, strict=True)
            )
            for driven in self._driven
        )


def _keep(group: Group) -> _Lane:
    """Return what leaves a group, which no policy drives, as it is."""
    return _Lane(lambda _: group.announced, absolute=True)


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
            name = group_name(label, index, holder)
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


def group_name(label: str, index: int, holder: Mapping[str, Any]) -> str:
    """Return the name of a parameter group: its optimizer's, and its own or its place."""
    own = holder.get("name")
    return f"{label}/{own}" if own else f"{label}/group{index}"


def _conflict(group: Group, moved: float) -> LearningRateConflict:
    suspects = likely_schedulers(group.optimizer)
    who = f"likely {' or '.join(suspects)}" if suspects else "something that no search found"
    return LearningRateConflict(
        f"the learning rate of {group.name!r} was set to {moved:.6g} after Pacesetter had written "
        f"{group.read_back:.6g} ({who}); one of the two must drive it: remove the scheduler, or attach with "
        "mode='disabled'"
    )
