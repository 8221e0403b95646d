"""A piece of work with an address: what the pool computes and the cache keeps."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from benchmarks.quality import engine
from benchmarks.quality.address import address, describe
from benchmarks.quality.engine import Outcome, ShapeName
from benchmarks.quality.tasks.base import Task


class Work(ABC):
    """A frozen dataclass that says all that its result depends on."""

    @abstractmethod
    def run(self) -> dict[str, Any]:
        """Compute the result, as JSON values; called in a process of the pool."""

    @abstractmethod
    def document(self) -> dict[str, Any]:
        """Return what the result depends on besides code."""

    @abstractmethod
    def modules(self) -> tuple[str, ...]:
        """Return the modules whose code the result depends on; what they import is found."""

    @abstractmethod
    def about(self) -> str:
        """Return one line for people."""

    @cached_property
    def address(self) -> str:
        """Where the result is kept."""
        return address(self.document(), self.modules())


@dataclass(frozen=True)
class Training(Work):
    """One run of a task on a base shape."""

    task: Task
    shape: ShapeName
    lr: float
    steps: int
    seed: int

    def run(self) -> dict[str, Any]:
        """Train; the result is an :class:`Outcome`."""
        schedule = engine.shaped(self.shape, self.steps)
        return asdict(engine.train(self.task, schedule, self.lr, self.steps, self.seed))

    def document(self) -> dict[str, Any]:
        """Return recipe and arguments: renaming a task changes nothing."""
        arguments = {"shape": self.shape, "lr": self.lr, "steps": self.steps, "seed": self.seed}
        return {"recipe": describe(self.task.recipe), **arguments}

    def modules(self) -> tuple[str, ...]:
        """Return the loop's and the recipe's."""
        return engine.__name__, type(self.task.recipe).__module__

    def about(self) -> str:
        """Return task, shape, rate, steps and seed."""
        return f"{self.task.name} {self.shape} lr {self.lr:.3g} steps {self.steps} seed {self.seed}"


def outcome(result: dict[str, Any]) -> Outcome:
    """Return the outcome that a :class:`Training` left."""
    return Outcome(**{**result, "losses": tuple(result["losses"])})
