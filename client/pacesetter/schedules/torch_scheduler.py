"""Any schedule as a scheduler of torch's, for training code that the service does not steer.

Needs torch, which nothing else in this package does: import it from here. :class:`ScheduleLR` for a loop of one's own
and for Lightning, :func:`as_lambda` where a ``LambdaLR`` is expected, as in the Trainer of Hugging Face.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pacesetter.errors import ConfigurationError, LearningRateConflict
from pacesetter.schedules.base import Evaluator
from pacesetter.schedules.parse import parse_schedule
from pacesetter.schedules.schedule import Schedule


class ScheduleLR(LRScheduler):
    """Sets the learning rate of every parameter group to its base times the schedule's value, at each optimizer step.

    With ``unit="absolute"`` it is the value itself, in every group. ``last_epoch`` counts the optimizer steps made, and
    the position is ``last_epoch * units_per_step``; before the zero and after the end the schedule keeps its value. A
    learning rate that is a Tensor is filled in place.

    The value follows from the position alone, so it does not multiply with other schedulers: in a ``ChainedScheduler``
    it raises at the first step. ``SequentialLR`` works, and counts positions from its milestone; ``horizon.join``
    does the same in one schedule that can be saved, drawn and sent.

    Args:
        optimizer: Its learning rates at this moment are the bases, unless an ``initial_lr`` says otherwise.
        schedule: What to follow.
        units_per_step: Length of an optimizer step in the schedule's clock: 1, or the tokens of a batch.
        last_epoch: As in torch: -1 to begin. To resume, use ``load_state_dict``.

    Raises:
        ConfigurationError: ``units_per_step`` is not above 0.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        units_per_step: int = 1,
        last_epoch: int = -1,
    ) -> None:
        self.units_per_step = _checked(units_per_step)
        self.schedule = schedule
        self._before: list[float] = []
        super().__init__(optimizer, last_epoch)
        # Plain numbers go into any checkpoint, and a Tensor on a device would be read back at every step.
        self.base_lrs = [float(base) for base in self.base_lrs]

    @property
    def schedule(self) -> Schedule:
        """What it follows. Another one, such as an extended one, is followed from the next step on."""
        return self._schedule

    @schedule.setter
    def schedule(self, schedule: Schedule) -> None:
        self._schedule, self._evaluate = schedule, schedule.evaluator()

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the learning rate of every group at ``last_epoch``.

        Raises:
            LearningRateConflict: Somebody else moved a learning rate since the last step.
            ConfigurationError: The optimizer has another number of groups than at the start.
        """
        if len(self.optimizer.param_groups) != len(self.base_lrs):
            raise ConfigurationError(
                f"the optimizer has {len(self.optimizer.param_groups)} parameter groups and had "
                f"{len(self.base_lrs)}; add every group before the scheduler is made"
            )
        # At 0 a SequentialLR hands over, and whoever came before has moved the rates.
        if self.last_epoch > 0:
            self._check_unmoved()
        self._before = []
        value = self._evaluate(self.last_epoch * self.units_per_step)
        if self.schedule.unit == "absolute":
            return [value for _ in self.base_lrs]
        return [float(base) * value for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return bases, steps and the schedule, as plain data: ``torch.load(weights_only=True)`` reads it."""
        return {
            "schedule": self.schedule.model_dump(mode="json"),
            "units_per_step": self.units_per_step,
            "base_lrs": [float(base) for base in self.base_lrs],
            "last_epoch": self.last_epoch,
            "_step_count": self._step_count,
            "_last_lr": [float(lr) for lr in self._last_lr],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where a state was saved, in this or another process, with this or another optimizer.

        The schedule comes from the state, as other schedulers' parameters do; set :attr:`schedule` afterwards to follow
        another one. The optimizer's own state may be loaded before, after, or not at all: the next step runs at the
        learning rate of the step that was to come.

        Raises:
            ConfigurationError: The state is of another number of parameter groups.
            ScheduleError: It holds no schedule that this release can evaluate.
        """
        bases = state_dict["base_lrs"]
        groups = self.optimizer.param_groups
        if len(bases) != len(groups):
            raise ConfigurationError(
                f"the state is of {len(bases)} parameter groups, and the optimizer has {len(groups)}; "
                "build the optimizer as it was"
            )
        # What somebody else has set since, as an optimizer's state that was loaded first, is left alone.
        ours = all(_same(group["lr"], lr) for group, lr in zip(groups, self._last_lr, strict=True))
        self.schedule = parse_schedule(state_dict["schedule"])
        self.units_per_step = _checked(state_dict["units_per_step"])
        self.base_lrs = list(bases)
        self.last_epoch = state_dict["last_epoch"]
        self._step_count = state_dict["_step_count"]
        self._last_lr = list(state_dict["_last_lr"])
        for group, base, lr in zip(groups, bases, state_dict["_last_lr"], strict=True):
            _write(group, "initial_lr", base)
            # Below 0 a SequentialLR has not come to this one yet.
            if ours and self.last_epoch >= 0:
                _write(group, "lr", lr)
        self._before = [_on_host(group["lr"]) for group in groups]

    def _check_unmoved(self) -> None:
        for number, group in enumerate(self.optimizer.param_groups):
            known = [self._last_lr[number], *self._before[number : number + 1]]
            if not any(_same(group["lr"], lr) for lr in known):
                raise LearningRateConflict(
                    f"somebody moved the learning rate of parameter group {number} from {float(known[0]):g} to "
                    f"{float(group['lr']):g} since the last scheduler step; a schedule sets it outright: "
                    "drop the other scheduler, or join both into one schedule"
                )


class ScheduleLambda:
    """A schedule as the function of the step that ``LambdaLR`` takes; pickles, and goes into its ``state_dict``.

    Attributes:
        document: The schedule as JSON data.
        units_per_step: Length of an optimizer step in the schedule's clock.
        base_lr: What an absolute schedule is divided by; None for a relative one.
    """

    # LambdaLR saves and restores the __dict__ of its functions, and a closure in it could not be saved.
    __slots__ = ("__dict__", "_built", "_evaluate")

    document: dict[str, Any]
    units_per_step: int
    base_lr: float | None
    _built: dict[str, Any] | None
    _evaluate: Evaluator

    def __init__(self, schedule: Schedule, units_per_step: int, base_lr: float | None) -> None:
        self.document = schedule.model_dump(mode="json")
        self.units_per_step = units_per_step
        self.base_lr = base_lr
        self._built = None

    def __call__(self, step: int) -> float:
        """Return the multiplier of the base learning rate at an optimizer step."""
        if self._built is not self.document:
            self._evaluate = parse_schedule(self.document).evaluator()
            self._built = self.document
        value = self._evaluate(step * self.units_per_step)
        return value if self.base_lr is None else value / self.base_lr

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._built = None


def as_lambda(
    schedule: Schedule, *, units_per_step: int = 1, base_lr: float | None = None
) -> ScheduleLambda:
    """Return the schedule as the ``lr_lambda`` of ``torch.optim.lr_scheduler.LambdaLR``.

    Args:
        schedule: What to follow.
        units_per_step: Length of an optimizer step in the schedule's clock: 1, or the tokens of a batch.
        base_lr: Base learning rate of the parameter group; needed, one lambda a group, where the schedule is absolute.

    Raises:
        ConfigurationError: An absolute schedule without a base above 0, or a relative one with a base.
    """
    if (schedule.unit == "absolute") != (base_lr is not None):
        raise ConfigurationError(
            f"a schedule in {schedule.unit} values with base_lr={base_lr}; give base_lr, one lambda for every "
            "parameter group, where it is absolute, and only there"
        )
    if base_lr is not None and not base_lr > 0.0:
        raise ConfigurationError(f"base_lr={base_lr} cannot divide; give one above 0")
    return ScheduleLambda(schedule, _checked(units_per_step), base_lr)


def as_lightning(
    optimizer: Optimizer, schedule: Schedule, *, units_per_step: int = 1
) -> dict[str, Any]:
    """Return what a LightningModule's ``configure_optimizers`` returns: stepped at each optimizer step.

    Args:
        optimizer: With the base learning rates.
        schedule: What to follow.
        units_per_step: Length of an optimizer step in the schedule's clock: 1, or the tokens of a batch.
    """
    scheduler = ScheduleLR(optimizer, schedule, units_per_step=units_per_step)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1},
    }


def _checked(units_per_step: int) -> int:
    if units_per_step <= 0:
        raise ConfigurationError(
            f"units_per_step={units_per_step} never moves; give 1 for steps, or the tokens of a step"
        )
    return units_per_step


def _on_host(lr: float | torch.Tensor) -> float:
    """Return a learning rate without waiting for a device: NaN, which equals nothing, where it lies on one."""
    if isinstance(lr, torch.Tensor):
        return float(lr) if lr.is_cpu else float("nan")
    return float(lr)


def _same(lr: float | torch.Tensor, known: float | torch.Tensor) -> bool:
    """Return whether a learning rate is a known one; what lies on a device is not looked at and counts as such."""
    if isinstance(lr, torch.Tensor):
        return not lr.is_cpu or float(lr) == float(torch.as_tensor(known, dtype=lr.dtype))
    return float(lr) == float(known)


def _write(group: dict[str, Any], name: str, value: float) -> None:
    held = group.get(name)
    if isinstance(held, torch.Tensor):
        held.fill_(value)
    else:
        group[name] = value
