"""What else the optimizer is set to: weight decay by its timescale, Adam's beta2, and the warm-up."""

import math
from dataclasses import dataclass

from pacesetter_search.memory.kinds import Kind
from pacesetter_search.recommendation.kinds import is_loss
from pacesetter_search.recommendation.target import Asked, Target
from pacesetter_search.transfer.peak import Z90
from pacesetter_search.transfer.published import (
    LAWS,
    CompleteP,
    best_batch,
    weight_decay_of,
    weight_decay_timescale,
)

TIMESCALE_SD = 0.5
"""Octaves of the best timescale around its law: its bowl is flat. Judgement."""

WARMUP_SHARE, WARMUP_MOST = 0.02, 0.25
"""Of the steps."""

BETA2 = 0.95
"""What language models are trained with at their best batch; the laws of the peak were fitted at it."""

BETA2_LONGEST = 0.999
"""The optimizer's default, which no law goes beyond."""

APART = 4.0
"""Factor between a given memory of beta2 and the advised one from which on a warning says so."""


@dataclass(frozen=True, slots=True)
class WeightDecay:
    """A weight decay, with its interval.

    Attributes:
        timescale: Share of the run until a weight is forgotten.
        value: Of matrices at the base rate.
        interval: 90 %.
        hidden: Of hidden matrices under muP; None under the standard parametrisation.
    """

    timescale: float
    value: float
    interval: tuple[float, float]
    hidden: float | None


def weight_decay(target: Target, asked: Asked, batch: float, lr: float) -> WeightDecay | None:
    """Return the decay whose timescale is the published one; None where its law is not about the target."""
    law = LAWS["weight_decay_timescale"]
    about = law.concerns(target.regime, target.optimizer, target.parametrization)
    if not about or not is_loss(target.objective):
        return None
    timescale = weight_decay_timescale(asked.tokens_per_parameter)
    value = weight_decay_of(timescale, batch=batch, lr=lr, tokens=asked.tokens)
    spread = 2.0 ** (Z90 * TIMESCALE_SD)
    hidden = None
    if target.parametrization == "mup":
        hidden = value * CompleteP(target.width_ratio).hidden_weight_decay
    return WeightDecay(timescale, value, (value / spread, value * spread), hidden)


def beta2_of(target: Target, asked: Asked, batch: float) -> tuple[float | None, tuple[str, ...]]:
    """Return Adam's beta2 and what is to be said of it; None where no law is about the target.

    Below the best batch Adam's SDE rule holds, ``1 - beta2`` in proportion to the batch from .95 at the best one: small
    batches want a longer memory, as .95 to .99 in [Porian2024]. Above it the rule does not hold, and .95 stays.
    """
    if not Kind.of_target(target).of_language:
        return target.beta2, ()
    factor = min(1.0, batch / best_batch(asked.tokens))
    advised = 1.0 - max((1.0 - BETA2) * factor, 1.0 - BETA2_LONGEST)
    given = target.beta2
    if given is None:
        return advised, ()
    ratio = (1.0 - given) / (1.0 - advised)
    if max(ratio, 1.0 / ratio) < APART:
        return given, ()
    return given, (
        f"a beta2 of {given:g} remembers {1.0 / (1.0 - given):.0f} steps; at this batch Adam's SDE rule asks for "
        f"{advised:.3g}, {1.0 / (1.0 - advised):.0f} steps",
    )


def warmup_of(target: Target, steps: int, beta2: float | None) -> int:
    """Return the steps of the warm-up: what is fixed, else 2 % of all and twice what beta2 remembers."""
    if target.warmup_steps is not None:
        return target.warmup_steps
    memory = 0 if beta2 is None else math.ceil(2.0 / (1.0 - beta2) - 1e-9)
    return min(max(round(WARMUP_SHARE * steps), memory), int(WARMUP_MOST * steps))
