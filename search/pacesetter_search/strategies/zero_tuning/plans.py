"""The segments of ``zero_tuning``, as they are sent: the range test, a rung, the main line."""

from collections.abc import Iterator

from pacesetter.judgement import check_segment
from pacesetter.protocol import (
    CURRENT,
    INITIAL,
    UNLIMITED,
    Measure,
    Reason,
    SegmentPlan,
    StopClause,
    StopIfAverageAbove,
    StopIfNonFinite,
)
from pacesetter.protocol.segments import DataSource, When
from pacesetter.schedules import Schedule, Warmup

from pacesetter_search.contract import JobFacts
from pacesetter_search.strategies.probing import data_source
from pacesetter_search.strategies.zero_tuning import range_test, shapes
from pacesetter_search.strategies.zero_tuning.knowledge import ORIGIN
from pacesetter_search.strategies.zero_tuning.memory import Memory

STOP_DECAY = 0.8
STOP_RATIO = 10.0
STOP_SPREADS = 10.0
"""A rung has diverged once its average loss (over about five steps) is ten times the untrained model's, and ten times
the noise of one batch above it. At three times (pilot) runs were ended whose decay would have made them good."""

MOST_WARMUP = 0.25
"""Longest warm-up of the main line, as a share of the budget, where ``max_change_per_step`` wants a slower rise."""

RANGE_ROWS = 400
"""Rows that a range test in steps reports."""


def range_plan(
    job: JobFacts, memory: Memory, length: int, highest: float, when: When
) -> SegmentPlan:
    """Return the range test: one frozen batch, the rate rising up to ``2^highest``."""
    base_lr, absolute = job.groups[0].base_lr, job.base.unit == "absolute"
    every = max(1, length // RANGE_ROWS) if job.budget.clock == "steps" else 1
    text = f"range test: one batch, learning rate from 2^{range_test.LOWEST:g} to 2^{highest:.3g}"
    return SegmentPlan(
        kind="probe",
        when=when,
        source=probe_source(job, memory),
        start=0,
        length=length,
        policy=range_test.policy(length, highest, base_lr, absolute=absolute),
        data="hold",
        stop_if=range_test.clauses(trusting=memory.trusting),
        measure=Measure(report_every=every),
        reason=Reason(text=text),
        origin=ORIGIN,
    )


def rung_plan(
    job: JobFacts, memory: Memory, length: int, log2_lr: float, when: When, reason: Reason
) -> SegmentPlan:
    """Return a complete short run at peak ``2^log2_lr``."""
    return SegmentPlan(
        kind="probe",
        when=when,
        source=probe_source(job, memory),
        start=0,
        length=length,
        policy=shapes.rung(job, length, log2_lr),
        data=data_source(job, length, may_rewind=memory.may_rewind),
        stop_if=_stop_clauses(memory),
        measure=Measure(validate_at_end=memory.may_validate and job.capabilities.validate_),
        reason=reason,
        origin=ORIGIN,
    )


def main_plans(
    job: JobFacts, memory: Memory, log2_lr: float | None, when: When, reason: Reason
) -> Iterator[SegmentPlan]:
    """Yield ways to run the main line, best first: those that this job's limits accept, and last its base schedule.

    Without a rate only the base schedule is left.
    """
    if log2_lr is not None:
        for policy in _policies(job, log2_lr):
            if starts_over(job, memory):
                plan = _main(job, policy, when, reason, start=0)
                data: DataSource = (
                    "rewind" if job.capabilities.rewind_batches == UNLIMITED else "continue"
                )
                yield from accepted(job, plan.model_copy(update={"source": INITIAL, "data": data}))
            yield from accepted(job, _main(job, policy, when, reason, start=memory.main_at))
    text = Reason(text="the base schedule to the end of the budget", numbers=reason.numbers)
    yield _main(job, job.base, when, text, start=memory.main_at)


def starts_over(job: JobFacts, memory: Memory) -> bool:
    """Whether the main line has moved and should start again: within the cap, its steps are spent like a probe's."""
    room = int(job.overhead_cap * job.budget.total) - memory.spent - memory.lost
    allowed = memory.may_start_over and job.limits.allow_rollback and not memory.goes_on
    return allowed and 0 < memory.main_at <= room


def probe_source(job: JobFacts, memory: Memory) -> str:
    """Return where probes start from: always the untrained model.

    The initial checkpoint is right even if the segment arrives when the main line has moved. A buffer cannot rewind to
    it, so there the main line serves as long as it stands at 0.
    """
    if not memory.may_start_over:
        return CURRENT
    unlimited = job.capabilities.rewind_batches == UNLIMITED
    return INITIAL if unlimited or memory.main_at > 0 else CURRENT


def _stop_clauses(memory: Memory) -> tuple[StopClause, ...]:
    if memory.start is None:
        return (StopIfNonFinite(),)
    risen = max((STOP_RATIO - 1.0) * abs(memory.start), STOP_SPREADS * memory.spread)
    if risen <= 0.0:
        return (StopIfNonFinite(),)
    return StopIfNonFinite(), StopIfAverageAbove(bound=memory.start + risen, decay=STOP_DECAY)


def _policies(job: JobFacts, log2_lr: float) -> Iterator[Schedule]:
    """Yield the main line's schedule, then with slower and slower warm-ups, then the user's base shape."""
    policy = shapes.main(job, log2_lr)
    yield policy
    if job.limits.max_change_per_step is not None:
        length = (
            policy.warmup.length if policy.warmup is not None else max(job.budget.total // 100, 1)
        )
        while length < MOST_WARMUP * job.budget.total:
            length *= 2
            start = policy.warmup.start if policy.warmup is not None else 0.01
            longest = min(length, int(MOST_WARMUP * job.budget.total))
            yield policy.model_copy(update={"warmup": Warmup(length=longest, start=start)})
    if shapes.is_default(job):
        yield job.base.model_copy(update={"peak": policy.peak})


def _main(
    job: JobFacts, policy: Schedule, when: When, reason: Reason, *, start: int
) -> SegmentPlan:
    return SegmentPlan(
        kind="main",
        when=when,
        start=start,
        length=job.budget.total - start,
        policy=policy,
        reason=reason,
        origin=ORIGIN,
    )


def accepted(job: JobFacts, plan: SegmentPlan) -> Iterator[SegmentPlan]:
    """Yield the plan if the client will accept it: better another schedule than a refusal and none."""
    refusal = check_segment(
        plan,
        job.limits,
        current_multiplier=None,
        budget_total=job.budget.total,
        clock=job.budget.clock,
        base_schedule=job.base,
        capabilities=job.capabilities,
        groups=job.groups,
    )
    if refusal is None:
        yield plan
