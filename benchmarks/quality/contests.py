"""Contests: one contender, one task, one seed; as pieces of work with an address."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.quality import steered
from benchmarks.quality.address import describe, tree_hash
from benchmarks.quality.baselines import families
from benchmarks.quality.contenders import (
    Baseline,
    Contender,
    FamilyRun,
    Steered,
    main_steps,
    start_lr,
    steering,
)
from benchmarks.quality.steered import Steering
from benchmarks.quality.tasks.base import Task
from benchmarks.quality.tuned import Reference
from benchmarks.quality.work import Work

SEARCH = "search/pacesetter_search"
"""What decides. The client and the controller carry it out and are not part of an address."""


class Contest(Work):
    """One contender on one task and seed; its result is a :class:`Score`."""

    seed: int


@dataclass(frozen=True)
class BaselineContest(Contest):
    """A baseline on one seed."""

    task: Task
    baseline: Baseline
    steps: int
    total: int
    seed: int

    def run(self) -> dict[str, Any]:
        """Train."""
        return asdict(self.baseline.run(self.task, self.steps, self.total, self.seed))

    def document(self) -> dict[str, Any]:
        """Return the function's name and its arguments, the task's default rate among them."""
        return {
            "baseline": self.baseline.run.__qualname__,
            "recipe": describe(self.task.recipe),
            "default_lr": self.task.default_lr,
            "steps": self.steps,
            "total": self.total,
            "seed": self.seed,
        }

    def modules(self) -> tuple[str, ...]:
        """Return the baseline's and the recipe's."""
        return self.baseline.run.__module__, type(self.task.recipe).__module__

    def about(self) -> str:
        """Return who, where and on which seed."""
        return f"{self.task.name} {self.baseline.name} steps {self.steps} seed {self.seed}"


@dataclass(frozen=True)
class FamilyContest(Contest):
    """A family of schedules on one seed."""

    task: Task
    name: str
    form: families.Form | None
    linear_lr: float
    steps: int
    seed: int

    def run(self) -> dict[str, Any]:
        """Train."""
        arguments = (self.linear_lr, self.steps, self.seed)
        if self.form is None:
            return asdict(families.run_refined(self.task, *arguments))
        return asdict(families.run_form(self.task, self.form, *arguments))

    def document(self) -> dict[str, Any]:
        """Return the schedule as it is sent anywhere, and the rate that is transferred."""
        body = None if self.form is None else self.form.body(self.task, self.steps)
        return {
            "family": None if body is None else body.model_dump(mode="json"),
            "linear_lr": self.linear_lr,
            "recipe": describe(self.task.recipe),
            "steps": self.steps,
            "seed": self.seed,
        }

    def modules(self) -> tuple[str, ...]:
        """Return the runner's and the recipe's."""
        return families.__name__, type(self.task.recipe).__module__

    def about(self) -> str:
        """Return who, where and on which seed."""
        return f"{self.task.name} {self.name} steps {self.steps} seed {self.seed}"


@dataclass(frozen=True)
class SteeredContest(Contest):
    """A strategy on one seed, through the client and the controller."""

    task: Task
    name: str
    steering: Steering
    lr: float
    steps: int
    seed: int

    def run(self) -> dict[str, Any]:
        """Train as a job."""
        return asdict(steered.run_steered(self.task, self.steering, self.lr, self.steps, self.seed))

    def document(self) -> dict[str, Any]:
        """Return how the job is attached, and the code of everything that can decide."""
        how = self.steering
        return {
            "strategy": how.strategy,
            "parameters": dict(how.parameters),
            "cap": how.cap,
            "limits": how.limits.model_dump(mode="json"),
            "statistics": how.statistics,
            "parts": how.parts,
            "workers": how.workers,
            "search": tree_hash(SEARCH),
            "recipe": describe(self.task.recipe),
            "regime": self.task.kind == "policy",
            "lr": self.lr,
            "steps": self.steps,
            "seed": self.seed,
        }

    def modules(self) -> tuple[str, ...]:
        """Return the job's loop and the recipe's."""
        return steered.__name__, type(self.task.recipe).__module__

    def about(self) -> str:
        """Return who, where and on which seed."""
        return f"{self.task.name} {self.name} steps {self.steps} seed {self.seed}"


def contests(
    contender: Contender, reference: Reference, seeds: Sequence[int], cap: float
) -> list[Contest]:
    """Return one contest a seed, where ``cap`` more steps than the budget may be used; none where it does not fit."""
    task, steps = reference.task, reference.steps
    total = math.floor(steps * (1.0 + cap) + 1e-9)
    if isinstance(contender, Baseline):
        if not contender.fits(task):
            return []
        return [BaselineContest(task, contender, steps, total, seed) for seed in seeds]
    if isinstance(contender, FamilyRun):
        if not contender.fits(task):
            return []
        lr, form = reference.right_lr, contender.form
        return [FamilyContest(task, contender.name, form, lr, steps, seed) for seed in seeds]
    return _steered(contender, reference, seeds, total, cap) if contender.fits(task) else []


def _steered(
    contender: Steered, reference: Reference, seeds: Sequence[int], total: int, cap: float
) -> list[Contest]:
    task = reference.task
    lr = start_lr(contender.start, task, reference.right_lr)
    length = main_steps(contender, reference.steps, total)
    how = steering(contender, cap)
    return [SteeredContest(task, contender.name, how, lr, length, seed) for seed in seeds]
