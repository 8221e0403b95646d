"""What the run should end with, and what missing its best peak is expected to cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from pacesetter.protocol import ExpectedLoss, Source

from pacesetter_search.laws.scaling import FinalLoss, SizeTokenLaw
from pacesetter_search.memory import RunRecord
from pacesetter_search.memory.kinds import Kind
from pacesetter_search.recommendation.finals import finals_of
from pacesetter_search.recommendation.gathering import Gathered
from pacesetter_search.recommendation.kinds import is_loss
from pacesetter_search.recommendation.known import FitLosses, FittedLosses, KnownLaw
from pacesetter_search.recommendation.peak import Peak, doublings_beyond
from pacesetter_search.recommendation.schedules import Plan
from pacesetter_search.recommendation.target import Asked, Target
from pacesetter_search.transfer.peak import Z50, Z90
from pacesetter_search.transfer.published import LAWS, chinchilla_loss, effective_tokens
from pacesetter_search.transfer.sweeps import cost_of_an_octave

OTHER_DATA_SD = 0.15
"""Relative sd of a final loss around the published law, of other data and another tokenizer: six of another code lie 8
to 14 % below it, a 124M model on SlimPajama 12 to 17 %, and 190M to 760M models on C4 12 to 24 % above it."""

OTHER_DATA = (
    "the expected loss is that of a published law of other data and another tokenizer: its level may be off by tens of "
    "per cent; final losses of your family set it right"
)

REPEATED_SD = 0.03
"""Relative sd that each doubling of the passes beyond four adds. Judgement."""


@dataclass(frozen=True, slots=True)
class LossEstimate:
    """An expected final loss.

    Attributes:
        expected: None where no law speaks of the objective.
        sources: What it rests on.
        warnings: What is to be minded.
    """

    expected: ExpectedLoss | None
    sources: tuple[Source, ...] = ()
    warnings: tuple[str, ...] = ()


def expected_loss(
    target: Target,
    found: Gathered,
    plan: Plan,
    law: KnownLaw | None,
    peak: Peak,
    log2_lr: float,
    fit: FitLosses | None,
) -> LossEstimate:
    """Return the final loss: by a law of this workload's curves, by the family's final losses, or as published.

    Args:
        target: What is asked for.
        found: What is known of it.
        plan: The schedule to run.
        law: Of this workload's curves; None: there is none.
        peak: The best one of that schedule.
        log2_lr: The rate to run.
        fit: Fits a law in size and tokens; None: the published one stands.
    """
    if not is_loss(target.objective):
        return LossEstimate(None, warnings=(_unspoken(target),))
    if law is not None and plan.name in plan.losses:
        return _by_curves(target, plan, law, peak, log2_lr)
    if not Kind.of_target(target).of_language:
        said = f"no law is about the final loss of {target.regime} with {target.optimizer}"
        return LossEstimate(None, warnings=(said,))
    asked = target.asked()
    worth = effective_tokens(asked.tokens, target.epochs or 1.0)
    if fit is None:
        return _published(target, asked, worth)
    finals = finals_of(target, found, peak.model)
    return _by_finals(target, asked, worth, finals, found.finals, fit)


def fit_size_and_tokens(finals: Sequence[FinalLoss]) -> FittedLosses:
    """Return the law in size and tokens after ``finals``; of none at all it is the published one."""
    return _fitted(tuple(finals))


@lru_cache(maxsize=256)
def _fitted(finals: tuple[FinalLoss, ...]) -> FittedLosses:
    return SizeTokenLaw().fit(finals)


def cost_of_octave(target: Target, found: Gathered) -> float | None:
    """Return the relative loss of a peak that is an octave off: by law, else as sweeps tell it; None if neither."""
    if Kind.of_target(target).of_language:
        return cost_of_an_octave(target.asked().tokens_per_parameter)
    return found.curvature


def loss_of_missing(cost: float, peak: Peak, log2_lr: float) -> float:
    """Return the expected relative loss of a rate, as the best one is known only so far: ``c E[(x - theta)^2]``."""
    return cost * (peak.found.sd**2 + (log2_lr - peak.found.mean) ** 2)


def _unspoken(target: Target) -> str:
    objective = target.objective
    return (
        f"the objective is {objective.name!r} ({objective.mode}): laws of the loss do not speak of it, so no final "
        "value is expected"
    )


def _by_curves(
    target: Target, plan: Plan, law: KnownLaw, peak: Peak, log2_lr: float
) -> LossEstimate:
    mean, sd = plan.losses[plan.name]
    cost, ran = cost_of_an_octave(target.asked().tokens_per_parameter), math.log2(law.peak)
    # The law speaks at its own peak. From there to x the loss moves by c ((x - theta)^2 - (p - theta)^2), and theta is
    # known only so far; where x is p it does not move.
    towards = (log2_lr - ran) * (log2_lr + ran - 2.0 * peak.found.mean)
    moved = mean * cost * math.hypot(towards, 2.0 * (log2_lr - ran) * peak.found.sd)
    said = []
    if law.longest < plan.schedule.length:
        said.append(
            f"the law's longest curve has {law.longest:,} steps and the target {plan.schedule.length:,}: it "
            "extrapolates"
        )
    return LossEstimate(_expected(mean, math.hypot(sd, moved), "curves"), (), tuple(said))


def _by_finals(
    target: Target,
    asked: Asked,
    worth: float,
    finals: Sequence[FinalLoss],
    runs: Sequence[RunRecord],
    fit: FitLosses,
) -> LossEstimate:
    fitted = fit(finals)
    found = fitted.predict(asked.parameters, worth)
    weights = fitted.influence(asked.parameters, worth)
    names = {one.id: one.name for one in runs}
    sources = [
        Source(
            kind="run",
            name=names.get(one.name, one.name),
            id=one.name,
            about="loss",
            loss_weight=weights.get(one.name, 0.0),
        )
        for one in finals
    ]
    rest = min(1.0, max(0.0, 1.0 - sum(weights.values())))
    mean, sd = _number(found.mean), _number(found.sd)
    sd = math.hypot(sd, mean * _repeated(target))
    published = _law_source(asked, rest)
    basis, said = ("finals", ()) if finals else ("published", (OTHER_DATA,))
    expected = _expected(mean, sd, basis)
    return LossEstimate(expected, (*sources, published), (*said, *fitted.warnings))


def _published(target: Target, asked: Asked, worth: float) -> LossEstimate:
    mean = chinchilla_loss(asked.parameters, worth)
    sd = mean * math.hypot(OTHER_DATA_SD, _repeated(target))
    expected = _expected(mean, sd, "published")
    return LossEstimate(expected, (_law_source(asked, 1.0),), (OTHER_DATA,))


def _expected(mean: float, sd: float, basis: str) -> ExpectedLoss:
    # A loss is above zero: intervals are those of its logarithm.
    log_sd = math.sqrt(math.log1p((sd / mean) ** 2))
    narrow, wide = math.exp(Z50 * log_sd), math.exp(Z90 * log_sd)
    return ExpectedLoss.model_validate(
        {
            "mean": mean,
            "interval_50": (mean / narrow, mean * narrow),
            "interval_90": (mean / wide, mean * wide),
            "basis": basis,
        }
    )


def _repeated(target: Target) -> float:
    return REPEATED_SD * doublings_beyond(target.epochs)


def _law_source(asked: Asked, weight: float) -> Source:
    law = LAWS["chinchilla"]
    return Source(
        kind="law",
        name=f"{law.name}: {law.source}",
        about="loss",
        value=chinchilla_loss(asked.parameters, asked.tokens),
        covers=law.covers(asked.parameters, asked.tokens),
        loss_weight=weight,
        trust=law.trust,
        holds=law.holds,
    )


def _number(value: ArrayLike) -> float:
    return float(np.asarray(value, dtype=np.float64).reshape(-1)[-1])
