"""Shapes of rungs and of the main line, and how the best peak of one carries over to another."""

import math

import numpy as np
from pacesetter.schedules import Schedule, Warmup
from pacesetter.schedules.wsd import WSD

from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.zero_tuning.prior import RUNG_WARMUP, SHAPE_COOLDOWN
from pacesetter_search.transfer.shape import POINTS
from pacesetter_search.transfer.shape import relative_peak as of_weights


def relative_peak(shape: Schedule) -> float:
    """Return the best peak of a shape by the convex bound, of which only ratios are used."""
    places = shape.zero + np.arange(POINTS) / POINTS * float(shape.length)
    return of_weights(shape.over(places))


def octaves_from_rungs(shape: Schedule) -> float:
    """Return how many octaves the best peak of ``shape`` lies above that of the rungs' shape.

    Warm-ups are left out on both sides: the bound knows no instability, which is what they are for.
    """
    bare = shape.model_copy(update={"warmup": None})
    return math.log2(relative_peak(bare) / relative_peak(_bare_rung()))


def is_default(job: JobFacts) -> bool:
    """Whether nobody chose the job's base schedule, so that the strategy may."""
    return job.base == Schedule.default_base(job.budget.total, clock=job.budget.clock)


def main_shape(job: JobFacts) -> Schedule:
    """Return the shape of the main line at its base peak: the user's own, or the rungs' where nobody chose one."""
    families = job.capabilities.families
    if is_default(job) and (not families or "wsd" in families):
        return job.base.model_copy(update={"body": WSD(cooldown=SHAPE_COOLDOWN)})
    return job.base


def rung(job: JobFacts, length: int, log2_lr: float) -> Schedule:
    """Return the whole schedule of a rung: warm-up, constant, decay to zero."""
    warmup = max(1, round(RUNG_WARMUP * length))
    return Schedule(
        length=length,
        peak=peak(job, log2_lr),
        unit=job.base.unit,
        warmup=Warmup(length=warmup),
        body=WSD(cooldown=SHAPE_COOLDOWN),
    )


def main(job: JobFacts, log2_lr: float) -> Schedule:
    """Return the main line's schedule with its peak at ``log2_lr`` of the first group, within ``min_multiplier``."""
    shape, value = main_shape(job), peak(job, log2_lr)
    share = min(job.limits.min_multiplier * (1.0 + 1e-9) / multiplier(job, log2_lr), 1.0)
    warmup = shape.warmup
    if warmup is not None:
        warmup = Warmup(length=warmup.length, start=max(warmup.start, share))
    floor = max(shape.floor, share)
    return shape.model_copy(update={"peak": value, "floor": floor, "warmup": warmup})


def peak(job: JobFacts, log2_lr: float) -> float:
    """Return what a schedule in the base's unit has as peak, so that the first group runs at ``2^log2_lr``."""
    return math.exp2(log2_lr) if job.base.unit == "absolute" else multiplier(job, log2_lr)


def multiplier(job: JobFacts, log2_lr: float) -> float:
    """Return ``2^log2_lr`` as a multiple of the first group's base rate."""
    return math.exp2(log2_lr) / job.groups[0].base_lr


def given(job: JobFacts) -> float:
    """Return ``log2`` of the first group's rate at the peak of the base schedule."""
    base = job.base.peak if job.base.unit == "absolute" else job.base.peak * job.groups[0].base_lr
    return math.log2(max(base, 1e-30))


def _bare_rung() -> Schedule:
    return Schedule(length=POINTS, body=WSD(cooldown=SHAPE_COOLDOWN))
