"""The main line of a job that may overfit, sent as pieces of one schedule; and what brings it back."""

from pacesetter.judgement import check_segment
from pacesetter.protocol import (
    CURRENT,
    Measure,
    Reason,
    SegmentPlan,
    StopIfLossSpikes,
    StopIfProgressLost,
)
from pacesetter.schedules import Linear, Schedule

from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.zero_tuning.knowledge import ORIGIN

FEWEST_EPOCHS = 1.5
"""Passes over the data below which nothing is learned by heart."""

FIRST_SHARE = 1 / 32
GROWTH = 1.3
LARGEST_SHARE = 1 / 14
FEWEST_UNITS = 16
"""Where validations lie: the first at a 32nd of the budget, then each .3 of what was trained later, at most a 14th of
the budget. A rate that is far too high overfits within the first tenth."""

COOLDOWN = 0.25
SHORTEST_COOLDOWN = 1 / 50
"""Length of the cooldown from the best state, over what was trained till there and over the budget. It goes on
overfitting while it cools: on four drawn tasks a quarter ended better than a half or the whole on three."""

TAIL_SHARE = 1 / 28
"""Share of the budget left behind the cooldown, in which the answer to its validation still reaches the job."""

FLOOR = 1e-5
"""Of the cooldown's first rate: what is left to train at is as good as nothing."""


_AFRESH = (StopIfLossSpikes(recent=10), StopIfProgressLost(decay=0.89))
"""What the guard watches for, begun anew: the best state's losses lie above those that were learned by heart. A clause
that differs in a number does not go on counting from the one before."""


def repeats(job: JobFacts) -> bool:
    """Whether the job sees its data more than once, or may: a job in tokens or without known data does not say."""
    epoch = job.capabilities.epoch_batches
    known = epoch is not None and job.budget.clock == "steps"
    return not known or job.budget.total > FEWEST_EPOCHS * (epoch or 1)


def can_go_back(job: JobFacts) -> bool:
    """Whether the job can validate, keep states, and take its main line back to one."""
    capabilities = job.capabilities
    able = capabilities.validate_ and capabilities.rollback != "none"
    knows = not capabilities.families or "linear" in capabilities.families
    return able and knows and job.limits.allow_rollback


def ends(total: int) -> list[int]:
    """Return the positions at which pieces end, the last one the budget."""
    found: list[int] = []
    place = max(total * FIRST_SHARE, FEWEST_UNITS)
    largest = max(total * LARGEST_SHARE, FEWEST_UNITS)
    while place < total - largest / 2:
        found.append(round(place))
        place += min(max((GROWTH - 1.0) * place, FEWEST_UNITS), largest)
    return [*found, total]


def end_after(start: int, total: int, shortest: int) -> int:
    """Return where a piece that begins at ``start`` ends: the first place at least ``shortest`` away."""
    later = [end for end in ends(total) if end >= start + max(shortest, FEWEST_UNITS)]
    return later[0] if later else total


def piece(
    whole: SegmentPlan, start: int, end: int, total: int, name: str, release: tuple[str, ...]
) -> SegmentPlan:
    """Return the piece of the main segment ``whole`` from ``start`` to ``end``."""
    first = start == whole.start
    update = {
        "when": whole.when if first else "end",
        "start": start,
        "length": end - start,
        "source": whole.source if first else CURRENT,
        "data": whole.data if first else "continue",
        "measure": Measure(validate_at_end=end < total),
        "save_end_as": name if end < total else None,
        "release": release,
    }
    return whole.model_copy(update=update)


def cooldown(
    job: JobFacts, main: Schedule, source: str, best_at: int, start: int, reason: Reason
) -> SegmentPlan | None:
    """Return the segment that cools the state kept at ``best_at`` down, in place; None if it cannot be sent.

    In place: the main line keeps its position, so nothing is trained twice and the budget is not exceeded. It begins at
    the rate that the state was trained at; where the limits forbid that jump, at the rate of ``start``.
    """
    total = job.budget.total
    longest = total - start - max(1, round(TAIL_SHARE * total))
    length = min(max(round(COOLDOWN * best_at), round(SHORTEST_COOLDOWN * total)), longest)
    if length < 1:
        return None
    before = main.at(start - 1)
    for place in (best_at, start):
        policy = _falling(job, main, start, length, main.at(place))
        plan = _from_state(job, source, start, length, policy, reason)
        plan = plan.model_copy(update={"measure": Measure(validate_at_end=True)})
        if policy.peak > 0.0 and _accepted(job, plan, before, main):
            # Judged from where it should begin. It is sent with its last step as start, and begins when it arrives:
            # a job that has gone on meanwhile is not taken back, which would exceed the cap.
            return plan.model_copy(update={"start": plan.end - 1, "length": 1})
    return None


def restore(job: JobFacts, policy: Schedule, source: str, at: int, reason: Reason) -> SegmentPlan:
    """Return the segment that brings the state ``source`` back for the rest of the budget, under ``policy``.

    Its start is the budget's last step, so that a job that has gone on meanwhile is not taken back to train again; it
    begins as soon as it arrives.
    """
    start = max(at, job.budget.total - 1)
    return _from_state(job, source, start, job.budget.total - start, policy, reason)


def stop(policy: Schedule, at: int, reason: Reason) -> SegmentPlan:
    """Return the segment that ends the job where it stands."""
    return SegmentPlan(
        kind="stop", start=at, length=0, policy=policy, reason=reason, origin=ORIGIN, when="end"
    )


def _falling(job: JobFacts, main: Schedule, start: int, length: int, rate: float) -> Schedule:
    unit = job.groups[0].base_lr if main.unit == "absolute" else 1.0
    lowest = min(1.0, job.limits.min_multiplier * (1.0 + 1e-9) * unit / rate) if rate > 0.0 else 1.0
    floor = max(FLOOR, lowest)
    return Schedule(
        zero=start, length=length, peak=rate, floor=floor, unit=main.unit, body=Linear()
    )


def _from_state(
    job: JobFacts,
    source: str,
    start: int,
    length: int,
    policy: Schedule,
    reason: Reason,
) -> SegmentPlan:
    return SegmentPlan(
        kind="main",
        source=source,
        start=start,
        length=length,
        policy=policy,
        stop_if=() if job.regime == "rl" else _AFRESH,
        reason=reason,
        origin=ORIGIN,
    )


def _accepted(job: JobFacts, plan: SegmentPlan, before: float, main: Schedule) -> bool:
    unit = job.groups[0].base_lr if main.unit == "absolute" else 1.0
    return (
        check_segment(
            plan,
            job.limits,
            current_multiplier=before / unit,
            budget_total=job.budget.total,
            clock=job.budget.clock,
            base_schedule=job.base,
            capabilities=job.capabilities,
            groups=job.groups,
        )
        is None
    )
