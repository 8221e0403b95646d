"""The segments of ``refinement``: two short runs from the untrained model, and the main line."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pacesetter.protocol import (
    CURRENT,
    INITIAL,
    UNLIMITED,
    Measure,
    Reason,
    SegmentPlan,
    StopIfNonFinite,
)
from pacesetter.schedules import Refined, Schedule, Warmup
from pydantic import ValidationError

from pacesetter_search.contract import JobFacts

ORIGIN = "refinement"

SHORTEST = 40
"""Steps of a short run below which its last part has too few losses to compare."""

MOST_REPORTED = 500
"""Rows that a short run in steps reports, about."""

SAME = 0.02
"""Mean distance from the base schedule, as a share of its peak, up to which a short copy has its shape."""

Kind = Literal["l2_squared", "l1"]


def short_copy(base: Schedule, length: int) -> Schedule | None:
    """Return the base schedule laid over ``length``; None where its family cannot be: a table, a law in positions."""
    warmup = base.warmup
    if warmup is not None:
        scaled = max(1, round(warmup.length * length / base.length))
        warmup = Warmup(length=min(scaled, length - 1), start=warmup.start)
    document = {**base.model_dump(), "zero": 0, "length": length}
    document["warmup"] = None if warmup is None else warmup.model_dump()
    try:
        copy = Schedule.model_validate(document)
    except ValidationError:
        return None
    # The first steps are left out: a warm-up cannot be shorter than a step.
    shares = np.linspace(0.1, 1.0, 91)
    there = base.over(base.zero + shares * base.length)
    apart = float(np.abs(there - copy.over(shares * length)).mean())
    return copy if apart <= SAME * base.peak else None


def refined_schedule(job: JobFacts, shape: Sequence[float], kind: Kind, length: int) -> Schedule:
    """Return the refined shape over ``length`` at the base schedule's peak, with no warm-up: it has its own."""
    base = job.base
    body = Refined(values=tuple(shape), norm=kind, tau=0.1)
    unit = job.groups[0].base_lr if base.unit == "absolute" else 1.0
    lowest = job.limits.min_multiplier * (1.0 + 1e-9) * unit / base.peak if base.peak > 0.0 else 0.0
    floor = min(1.0, max(base.floor, lowest))
    return Schedule(length=length, peak=base.peak, floor=floor, unit=base.unit, body=body)


def short_run(job: JobFacts, policy: Schedule, reason: Reason, *, validates: bool) -> SegmentPlan:
    """Return a complete short run from the untrained model, on its first batches."""
    unlimited = job.capabilities.rewind_batches == UNLIMITED
    every = max(1, policy.length // MOST_REPORTED) if job.budget.clock == "steps" else 1
    return SegmentPlan(
        kind="probe",
        when="now",
        source=INITIAL if unlimited else CURRENT,
        start=0,
        length=policy.length,
        policy=policy,
        data="rewind",
        stop_if=(StopIfNonFinite(),),
        measure=Measure(
            report_every=every, validate_at_end=validates and job.capabilities.validate_
        ),
        reason=reason,
        origin=ORIGIN,
    )
