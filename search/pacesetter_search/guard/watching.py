"""What a strategy's segments get from the guard: stop clauses, rolling snapshots, and the cuts made so far."""

from collections.abc import Iterator

from pacesetter.judgement import check_segment
from pacesetter.protocol import (
    Reason,
    SegmentPlan,
    StopClause,
    StopIfGradientSpikes,
    StopIfLossSpikes,
    StopIfNonFinite,
    StopIfProgressLost,
)

from pacesetter_search.contract import JobFacts
from pacesetter_search.guard.lowering import lowered
from pacesetter_search.guard.memory import GuardMemory
from pacesetter_search.guard.parameters import GuardParameters

SHARE_OF_BUDGET = 50
"""Snapshots a job [the breaker of the zero-tuning pilot keeps one each T/50]."""

SHORTEST_STEPS = 64
"""Steps between two snapshots, where they are no more than a twentieth of the budget: trouble is noticed up to some
30 steps late on an accelerator and several ranks, and a snapshot must be older than that to be good."""

LARGEST_SHARE = 20


def interval(job: JobFacts, parameters: GuardParameters) -> int:
    """Return the clock units between two rolling snapshots."""
    if parameters.snapshots is not None:
        return parameters.snapshots
    total = job.budget.total
    if job.budget.clock == "tokens":
        return max(1, total // SHARE_OF_BUDGET)
    return max(1, total // SHARE_OF_BUDGET, min(SHORTEST_STEPS, total // LARGEST_SHARE))


def may_go_back(job: JobFacts) -> bool:
    """Whether the job can, and allows, a main segment from an earlier state."""
    return job.capabilities.rollback != "none" and job.limits.allow_rollback


def clauses(job: JobFacts, parameters: GuardParameters) -> Iterator[StopClause]:
    """Yield what stops a main segment of ``job``."""
    yield StopIfNonFinite()
    # Under reinforcement learning a loss may rise for the better, and has no scale.
    if parameters.loss_spikes and job.regime != "rl":
        yield StopIfLossSpikes()
        yield StopIfProgressLost()
    if parameters.gradient_spikes:
        yield StopIfGradientSpikes()


def watched(
    plan: SegmentPlan, job: JobFacts, memory: GuardMemory, parameters: GuardParameters
) -> SegmentPlan:
    """Return the plan as it is sent: lower by the cuts so far, and watched if it is of the main line."""
    plan = _cut(plan, job, memory.factor)
    if plan.kind != "main" or memory.sealed:
        return plan
    rules = {clause.rule for clause in plan.stop_if}
    more = tuple(each for each in clauses(job, parameters) if each.rule not in rules)
    every = plan.save_every
    if every is None and may_go_back(job):
        every = interval(job, parameters)
    return plan.model_copy(update={"stop_if": plan.stop_if + more, "save_every": every})


def _cut(plan: SegmentPlan, job: JobFacts, factor: float) -> SegmentPlan:
    """Return the plan times ``factor``, where the limits allow that; probes too, so that they try what would run."""
    if factor == 1.0 or plan.kind == "stop":
        return plan
    text = f"{plan.reason.text} (times {factor:g} by the guard)"[:2000]
    reason = Reason(text=text, numbers={**plan.reason.numbers, "guard_factor": factor})
    cut = plan.model_copy(update={"policy": lowered(plan.policy, factor), "reason": reason})
    return plan if refused(cut, job) and not refused(plan, job) else cut


def refused(plan: SegmentPlan, job: JobFacts) -> str | None:
    """Return the code with which the client would refuse the plan; None if it would run."""
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
    return None if refusal is None else refusal.code
