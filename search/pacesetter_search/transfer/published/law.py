"""What is known of a published law beside its formula."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Range = tuple[float, float]
ANY: Range = (0.0, math.inf)
"""A range that was not stated, or does not matter to the law."""

Trust = Literal["measured", "first_hand", "second_hand", "memory"]
"""Fitted by this project to published runs; read in the paper or its code; read elsewhere and in agreement with the
abstract; quoted from memory. Of a law with several numbers it is the weakest."""

ADAM = frozenset({"adam", "adamw"})


@dataclass(frozen=True, slots=True)
class Change:
    """From one run to another, as ratios of the new one to the old one.

    Attributes:
        parameters: Of the model.
        tokens: Of the whole budget.
        batch: Tokens of an optimizer step.
    """

    parameters: float = 1.0
    tokens: float = 1.0
    batch: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLaw:
    """A law, what it counts, and where it was fitted. Formulas take and return plain units: parameters and tokens.

    Attributes:
        name: Stable word.
        source: Paper.
        trust: How it was read.
        units: What its own publication counts in, where that is a trap.
        holds: What else has to be as it was there.
        parameters: Range that it was fitted on, without embeddings.
        tokens: Range of tokens.
        parametrization: ``standard``, ``mup`` (a rate is that of the base width) or ``any``.
        optimizers: Classes that it is about, in small letters.
        regimes: Kinds of training that it is about.
        peak: From parameters, tokens and batch (tokens of a step) to a learning rate.
        batch: From parameters and tokens to the best batch in tokens of a step.
        critical_batch: From parameters and tokens to the batch in tokens above which steps are hardly saved.
        batch_at_loss: From a loss in nats to a batch in tokens.
        timescale: From tokens a parameter to the timescale of weight decay, as a share of the run.
        loss: From parameters and tokens to a final loss in nats a token.
        effective_tokens: From tokens and epochs to the new tokens that they are worth.
        carry: From a peak and a change of the run to the peak after it.
        carry_batch: From a change of the run to the ratio of its best batch to the old one.
    """

    name: str
    source: str
    trust: Trust
    units: str
    holds: str
    parameters: Range = ANY
    tokens: Range = ANY
    parametrization: Literal["standard", "mup", "any"] = "standard"
    optimizers: frozenset[str] = ADAM
    regimes: frozenset[str] = frozenset({"pretrain"})
    peak: Callable[[float, float, float], float] | None = None
    batch: Callable[[float, float], float] | None = None
    critical_batch: Callable[[float, float], float] | None = None
    batch_at_loss: Callable[[float], float] | None = None
    timescale: Callable[[float], float] | None = None
    loss: Callable[[float, float], float] | None = None
    effective_tokens: Callable[[float, float], float] | None = None
    carry: Callable[[float, Change], float] | None = None
    carry_batch: Callable[[Change], float] | None = None

    def covers(self, parameters: float, tokens: float) -> bool:
        """Return whether a target lies inside of what was fitted."""
        return (
            self.parameters[0] <= parameters <= self.parameters[1]
            and self.tokens[0] <= tokens <= self.tokens[1]
        )

    def concerns(self, regime: str, optimizer: str, parametrization: str) -> bool:
        """Return whether the law is about such trainings at all, whatever their size."""
        return (
            regime in self.regimes
            and optimizer.lower() in self.optimizers
            and self.parametrization in ("any", parametrization)
        )
