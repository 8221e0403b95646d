"""What is asked: a target, what is fixed of it already, and what was measured for its family."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pacesetter.protocol import Objective, Parametrization, Question, Regime
from pacesetter.protocol.base import Message, Name
from pacesetter.protocol.recommendations import check_batch
from pacesetter.protocol.workloads import Count, Family, Ratio, StepCount
from pydantic import Field, ValidationError, model_validator

from pacesetter_search.recommendation.bodies import HORIZON_BOUND, WARMS_UP_ITSELF, by_name
from pacesetter_search.recommendation.shapes import shape_octaves
from pacesetter_search.recommendation.sweeps import check_sweep

AGREE = 0.02
"""Relative difference up to which a batch and the one that steps and tokens imply count as one."""


class ImpossibleTarget(ValueError):
    """What is asked for contradicts itself once the batch and the steps are known; the message says where."""


class Query(Message):
    """A target as flat parameters of an address: what ``GET`` takes."""

    parameters: Count
    """Without embeddings."""
    tokens: Count | None = None
    """Of the whole budget, all epochs; None: ``steps`` times ``batch_tokens``."""
    family: Family = ""
    batch_tokens: Count | None = None
    """Tokens of an optimizer step; None: to be chosen."""
    steps: Annotated[StepCount, Field(gt=0)] | None = None
    max_batch_tokens: Count | None = None
    optimizer: Name = "adamw"
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    beta2: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    regime: Regime = "pretrain"
    parametrization: Parametrization = "standard"
    width_ratio: Ratio = 1.0
    depth_ratio: Ratio = 1.0
    epochs: Annotated[float, Field(gt=0.0, le=1e9, allow_inf_nan=False)] | None = None
    objective: Name = "loss"
    mode: Literal["min", "max"] = "min"
    extendable: bool = False
    warmup_steps: Annotated[StepCount, Field(ge=0)] | None = None
    schedule_family: Name | None = None
    floor: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    borrow: bool = False

    def target(self) -> "Target":
        """Return it as ``POST`` takes it.

        Raises:
            ValidationError: Its parts contradict each other.
        """
        objective = Objective(name=self.objective, mode=self.mode)
        return Target.model_validate(
            {**self.model_dump(exclude={"objective", "mode"}), "objective": objective}
        )

    @model_validator(mode="after")
    def _makes_a_target(self) -> Self:
        # What contradicts itself is an error of the address, told with the others.
        try:
            self.target()
        except ValidationError as error:
            raise ValueError("; ".join(one["msg"] for one in error.errors())) from None
        return self


class Target(Question):
    """A question that can be answered: with a size, a budget, and parts that agree."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.parameters is None:
            raise ValueError("parameters are missing: give the number of them, without embeddings")
        self.asked()
        return self

    @model_validator(mode="after")
    def _schedule_is_possible(self) -> Self:
        family = self.schedule_family
        if isinstance(family, str):
            by_name(family)
        name = family if isinstance(family, str) or family is None else family.family
        if name in WARMS_UP_ITSELF and self.warmup_steps:
            raise ValueError(f"{name} rises by itself; leave out warmup_steps")
        if self.extendable and name in HORIZON_BOUND:
            raise ValueError(
                f"{name} is bound to its horizon and cannot be extended; take wsd, wsd_s, infinite or inverse_sqrt, or "
                "leave out extendable"
            )
        return self

    @model_validator(mode="after")
    def _measurements_say_something(self) -> Self:
        for measured in (*self.evidence, *self.sweeps):
            if measured.schedule is not None:
                shape_octaves(measured.schedule)
        for one in self.sweeps:
            check_sweep(one, self.objective)
        return self

    def asked(self) -> "Asked":
        """Return its size, budget and batch as plain numbers.

        Raises:
            ValueError: The budget is missing, or parts contradict each other.
        """
        assert self.parameters is not None
        tokens, batch = self.tokens, self.batch_tokens
        if tokens is None:
            if self.steps is None or batch is None:
                raise ValueError(
                    "tokens are missing: give the whole budget, or steps and batch_tokens"
                )
            tokens = self.steps * batch
        elif self.steps is not None:
            batch = _agreeing(tokens, self.steps, batch)
        _check(self, tokens, batch)
        return Asked(self.parameters, tokens, batch, self.steps)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for in numbers.

    Attributes:
        parameters: Without embeddings.
        tokens: Of the whole budget.
        batch: Tokens of a step; None: to be chosen.
        steps: None: they follow from the batch.
    """

    parameters: float
    tokens: float
    batch: float | None
    steps: int | None

    @property
    def tokens_per_parameter(self) -> float:
        """Tokens of the budget over parameters."""
        return self.tokens / self.parameters

    def steps_at(self, batch: float) -> int:
        """Return the steps of the whole budget."""
        return self.steps or max(1, round(self.tokens / batch))


def _agreeing(tokens: float, steps: int, batch: float | None) -> float:
    implied = tokens / steps
    if implied < 1.0:
        raise ValueError(
            f"{steps} steps leave less than a token of {tokens:g} to each; one of the two is in another unit"
        )
    if batch is not None and not math.isclose(batch, implied, rel_tol=AGREE):
        raise ValueError(
            f"{tokens:g} tokens in {steps} steps are {implied:g} a step, and batch_tokens is {batch:g}; leave one of "
            "the three out, or correct its unit"
        )
    return implied if batch is None else batch


def _check(target: Question, tokens: float, batch: float | None) -> None:
    if batch is None:
        return
    check_batch(batch, tokens)
    most = target.max_batch_tokens
    if most is not None and batch > most * (1.0 + AGREE):
        raise ValueError(
            f"a batch of {batch:g} tokens is more than the {most:g} that the hardware takes; lower it, take more "
            "steps, or accumulate gradients and raise max_batch_tokens"
        )
    steps, warmup = round(tokens / batch), target.warmup_steps
    if warmup is not None and warmup >= max(steps, 1):
        raise ValueError(f"a warm-up of {warmup} leaves nothing of {steps} steps; shorten it")
