"""Everything that was worked out for a target, written down as one answer."""

import math
from dataclasses import dataclass

from pacesetter.protocol import Recommendation, Source

from pacesetter_search.recommendation import loss as losses
from pacesetter_search.recommendation import peak as peaks
from pacesetter_search.recommendation import schedules, stability
from pacesetter_search.recommendation.batch import Batch
from pacesetter_search.recommendation.gathering import Gathered
from pacesetter_search.recommendation.known import KnownLaw
from pacesetter_search.recommendation.loss import LossEstimate
from pacesetter_search.recommendation.optimizer import WeightDecay
from pacesetter_search.recommendation.peak import Peak
from pacesetter_search.recommendation.schedules import Plan
from pacesetter_search.recommendation.shapes import shape_octaves
from pacesetter_search.recommendation.target import Asked, Target
from pacesetter_search.transfer.published import LAWS


@dataclass(frozen=True, slots=True)
class Parts:
    """What an answer is put together from."""

    target: Target
    asked: Asked
    found: Gathered
    batch: Batch
    peak: Peak
    """Of a linear decay without momentum."""
    own: Peak
    """Of the schedule that is recommended, with the target's momentum."""
    log2_lr: float
    """To recommend."""
    limited: bool
    """Whether what runs have held keeps it below the best peak."""
    plan: Plan
    law: KnownLaw | None
    decay: WeightDecay | None
    beta2: float | None
    loss: LossEstimate
    warnings: tuple[str, ...]
    """Of the optimizer's settings."""


def written(parts: Parts) -> Recommendation:
    """Return the answer."""
    lr, decay = math.exp2(parts.log2_lr), parts.decay
    narrow, wide = parts.own.intervals()
    cost = losses.cost_of_octave(parts.target, parts.found)
    missing = None if cost is None else losses.loss_of_missing(cost, parts.own, parts.log2_lr)
    expected = parts.loss.expected
    rise = parts.plan.schedule.warmup
    linear = lr * 2.0 ** -shape_octaves(parts.plan.schedule)  # of use where each has its own
    return Recommendation(
        status="ok",
        target=parts.target.target(),
        lr=lr,
        lr_50=narrow,
        lr_90=wide,
        sd_octaves=parts.own.found.sd,
        dominant_uncertainty=peaks.dominant(parts.own.found),
        batch_tokens=parts.batch.tokens,
        batch_90=parts.batch.interval,
        critical_batch_tokens=parts.batch.critical,
        timescale=None if decay is None else decay.timescale,
        weight_decay=None if decay is None else decay.value,
        weight_decay_90=None if decay is None else decay.interval,
        weight_decay_hidden=None if decay is None else decay.hidden,
        beta2=parts.beta2,
        steps=parts.plan.schedule.length,
        warmup_steps=0 if rise is None else rise.length,
        schedule=schedules.at_peak(parts.plan.schedule, lr),
        schedule_name=parts.plan.name,
        schedule_rank=1 + parts.plan.order.index(parts.plan.name),
        loss=expected,
        relative_loss_of_missing=missing,
        loss_of_missing=None if expected is None or missing is None else missing * expected.mean,
        alternatives=schedules.alternatives(parts.plan, linear),
        evidence=_sources(parts),
        warnings=_warnings(parts),
    )


def _sources(parts: Parts) -> tuple[Source, ...]:
    weighed = (
        *peaks.sources(parts.target, parts.asked, parts.batch.tokens, parts.found, parts.peak),
        *parts.batch.sources,
        *_decay_source(parts),
        *parts.loss.sources,
        *schedules.sources(parts.law),
    )
    named = {one.id for one in weighed}
    held = stability.sources(parts.target, parts.found.runs)
    return (*weighed, *(one for one in held if one.id not in named))


def _decay_source(parts: Parts) -> tuple[Source, ...]:
    if parts.decay is None:
        return ()
    law = LAWS["weight_decay_timescale"]
    covers = law.covers(parts.asked.parameters, parts.asked.tokens)
    name = f"{law.name}: {law.source}"
    return (
        Source(
            kind="law",
            name=name,
            about="weight_decay",
            value=parts.decay.timescale,
            covers=covers,
            trust=law.trust,
            holds=law.holds,
        ),
    )


def _held_back(parts: Parts) -> str:
    lr, best = math.exp2(parts.log2_lr), math.exp2(parts.own.found.mean)
    stability = parts.found.stability
    if stability.lowest_lost is not None:
        why = f"a run of the family was lost at {stability.lowest_lost:.3g}"
    else:
        why = f"no run of the family was at more than {stability.highest:.3g}, and none was lost"
    return f"held back at {lr:.3g}, as {why}; the best peak may lie at {best:.3g}"


def _warnings(parts: Parts) -> tuple[str, ...]:
    said = peaks.warnings(parts.target, parts.asked, parts.batch.tokens, parts.found, parts.peak)
    if parts.limited:
        said.append(_held_back(parts))
    everything = (
        *said,
        *parts.found.warnings,
        *parts.batch.warnings,
        *parts.warnings,
        *parts.loss.warnings,
        *(
            f"the law of your curves: {one}"
            for one in (parts.law.law.warnings if parts.law else ())
        ),
    )
    return tuple(dict.fromkeys(everything))
