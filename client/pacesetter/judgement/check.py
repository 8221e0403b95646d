"""The one question: may this segment run?"""

from collections.abc import Sequence

from pacesetter.judgement.case import Case, Refusal, Rule
from pacesetter.judgement.multipliers import within_bounds
from pacesetter.judgement.permissions import able, allowed, changed_budget, known, whole_budget
from pacesetter.limits import Limits
from pacesetter.protocol import Capabilities, Clock, ParameterGroup, SegmentPlan
from pacesetter.schedules import Schedule

RULES: tuple[Rule, ...] = (known, able, allowed, changed_budget, whole_budget, within_bounds)
"""Cheapest first; the first refusal is the answer."""


def check_segment(
    segment: SegmentPlan,
    limits: Limits,
    *,
    current_multiplier: float | Sequence[float] | None,
    budget_total: int,
    clock: Clock,
    base_schedule: Schedule,
    capabilities: Capabilities,
    groups: Sequence[ParameterGroup] = (),
    position: int | None = None,
    units_per_step: float = 1.0,
    registered_total: int | None = None,
) -> Refusal | None:
    """Return why ``segment`` must be refused, or None if it may run.

    A main segment is judged over its whole policy, from its start to the end of the budget, the new one where it
    changes that: it is what the job follows if nobody says anything more. A probe or a branch is judged over its own
    length.

    Args:
        segment: The segment, numbered or not.
        limits: What the training code allows.
        current_multiplier: Multiplier of the last main-line step before the segment takes over: one for all groups, or
            one per group in the order of ``groups``. None where there was no such step; then no jump is judged.
        budget_total: End of the main line as it is, in the job's clock.
        clock: The job's clock.
        base_schedule: The job's base schedule. Where a policy repeats its warm-up it is exempt from ``min_multiplier``
            and ``max_change_per_step``.
        capabilities: What the job can do.
        groups: The job's parameter groups. Their base learning rates divide a policy in absolute learning rates, which
            is refused without them.
        position: Main-line position at which the segment would be taken up, where that is later than its start.
        units_per_step: Clock units of one optimizer step: 1 in steps; in tokens, those of the largest recent step.
        registered_total: The budget as the training code gave it, which bounds what others may make of it; None: it
            is ``budget_total``.
    """
    case = Case(
        plan=segment,
        limits=limits,
        current=_per_group(current_multiplier, len(groups)),
        first=segment.start if position is None else max(segment.start, position),
        budget_total=budget_total,
        registered_total=budget_total if registered_total is None else registered_total,
        clock=clock,
        base=base_schedule,
        capabilities=capabilities,
        groups=tuple(groups),
        # Before its first step a job in tokens has not seen one, and counts nothing.
        step=max(units_per_step, 1.0),
    )
    return next(filter(None, (rule(case) for rule in RULES)), None)


def _per_group(multiplier: float | Sequence[float] | None, groups: int) -> tuple[float, ...] | None:
    if multiplier is None:
        return None
    if isinstance(multiplier, Sequence):
        return tuple(multiplier)
    return (float(multiplier),) * max(groups, 1)
