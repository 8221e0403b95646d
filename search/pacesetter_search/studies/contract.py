"""The contract of strategies of experiments: pure functions from ended trials to the next ones.

``plan(spec, finished, pending, most, seed) -> plans``. A strategy has no clock, no HTTP, no database, no state and no
hidden randomness: the same trials and seed give the same plans, in whatever order the trials ended.

Obligations of a strategy, which :class:`StudyStrategy` keeps for all of them where it can:

* At most ``most`` plans at once, ``max_trials`` of them in all, and none once ``max_flops`` are spent.
* A plan has a value of the space for every name of the space, and none besides. A strategy that ``searches_inside`` of
  its trial tells that one the space instead.
* A diverged trial is a result (``loss`` None); a failed one says nothing, counts as a trial, and is not repeated.
* No plan while something is pending means: wait for that. No plan with nothing pending: the experiment is over.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pacesetter.protocol import Cost, ExperimentSpec, TrialPlan, Value
from pacesetter.schedules import Tier

from pacesetter_search.contract import Parameters
from pacesetter_search.losses import is_loss
from pacesetter_search.studies.space import Key, Space


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial that ended.

    Attributes:
        number: 1, 2, ... in its experiment.
        parameters: At least those of the space; usually the fixed ones with them.
        loss: The objective, lower is better; None: it diverged, or failed.
        cost: What it took.
        status: ``failed``: no result, whatever the reason.
    """

    number: int
    parameters: dict[str, Value]
    loss: float | None
    cost: Cost
    status: Literal["done", "failed"] = "done"

    @property
    def score(self) -> float | None:
        """The loss where it is one; None where the trial diverged or failed."""
        return self.loss if self.status == "done" and is_loss(self.loss) else None


@dataclass(frozen=True)
class Progress:
    """Where an experiment stands.

    Attributes:
        spec: What is searched.
        finished: By number, with the fixed parameters.
        pending: Planned and not ended, in the order they were planned.
        seed: Of the experiment.
    """

    spec: ExperimentSpec
    finished: tuple[Finished, ...]
    pending: tuple[TrialPlan, ...]
    seed: int

    @cached_property
    def space(self) -> Space:
        """The space of the experiment."""
        return Space.of(self.spec.space)

    @property
    def planned(self) -> int:
        """How many trials were planned so far."""
        return len(self.finished) + len(self.pending)

    @property
    def done(self) -> tuple[Finished, ...]:
        """Trials with a result, diverged ones among them."""
        return tuple(one for one in self.finished if one.status == "done")

    @cached_property
    def tried(self) -> frozenset[Key]:
        """Points that were planned, whatever became of them."""
        ended = {self.space.key(one.parameters) for one in self.finished}
        return frozenset(ended | {self.space.key(one.parameters) for one in self.pending})

    def whole(self, parameters: dict[str, Value]) -> dict[str, Value]:
        """Return parameters with the fixed ones."""
        return {**self.spec.fixed, **parameters}

    def spent(self) -> float:
        """Return the FLOPs of ended trials, and as many for each pending one as those took on average."""
        ended = [one.cost.flops for one in self.finished]
        average = math.fsum(ended) / len(ended) if ended else 0.0
        return math.fsum(ended) + average * len(self.pending)

    def generator(self) -> np.random.Generator:
        """Return the random numbers of this place: of the experiment's seed and of how much was planned."""
        return np.random.default_rng((self.seed, self.planned))


class StudyStrategy(ABC):
    """Decides which trials an experiment runs next. See the module's docstring for what it owes.

    Attributes:
        name: The word users write.
        slow: True if a plan may take more than a few milliseconds, or depends on what ended: then it is made outside of
            any transaction, and no further ahead than there are workers.
        searches_inside: True if its trial is a search of its own: there is no point of the space that it was run at.
        tier: How well proven it is.
        needs: What an experiment has to have for it, in a few words.
    """

    name: ClassVar[str]
    tier: ClassVar[Tier] = "experimental"
    needs: ClassVar[str] = "nothing"
    slow: ClassVar[bool] = False
    searches_inside: ClassVar[bool] = False
    parameters_type: ClassVar[type[Parameters]] = Parameters

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    @classmethod
    def from_document(cls, parameters: dict[str, Any]) -> "StudyStrategy":
        """Return the strategy with validated parameters.

        Raises:
            pydantic.ValidationError: A parameter is unknown or out of range.
        """
        return cls(cls.parameters_type.model_validate(parameters))

    @classmethod
    def about(cls) -> str:
        """Return what it does, in one line."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @classmethod
    def parameters_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of its parameters."""
        return cls.parameters_type.model_json_schema()

    def obstacles(self, spec: ExperimentSpec) -> Iterator[str]:
        """Yield why this strategy cannot plan the experiment and what to change, one sentence each."""
        del spec
        yield from ()

    def plan(
        self,
        spec: ExperimentSpec,
        finished: Sequence[Finished],
        pending: Sequence[TrialPlan],
        most: int,
        seed: int,
    ) -> Sequence[TrialPlan]:
        """Return the next trials; none with nothing pending: the experiment is over.

        Args:
            spec: One that :meth:`obstacles` has nothing against.
            finished: Every trial that ended, in any order.
            pending: Every other one that was planned, oldest first.
            most: How many are wanted.
            seed: Of the experiment: the same at every call.
        """
        ordered = ended_in(spec, finished)
        progress = Progress(spec, ordered, tuple(pending), seed)
        room = min(most, spec.max_trials - progress.planned)
        if room <= 0 or (spec.max_flops is not None and progress.spent() >= spec.max_flops):
            return ()
        return tuple(self.propose(progress, room))

    @abstractmethod
    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        """Return up to ``most`` next trials, 1 or more; budgets are looked after."""


def ended_in(spec: ExperimentSpec, finished: Sequence[Finished]) -> tuple[Finished, ...]:
    """Return trials by number, each with the fixed parameters of its experiment."""
    whole = (replace(one, parameters={**spec.fixed, **one.parameters}) for one in finished)
    return tuple(sorted(whole, key=lambda one: one.number))
