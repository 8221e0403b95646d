"""The last gate: what a job cannot execute is never sent, whichever strategy wrote it.

Strategies keep to these rules by contract. The client enforces the training code's limits once more, on the whole
policy.
"""

from collections.abc import Collection

from pacesetter.protocol import CURRENT, INITIAL, ROLLING, UNLIMITED, SegmentPlan

from pacesetter_service.planning.messages import Facts


def _state_obstacle(plan: SegmentPlan, facts: Facts) -> str | None:
    """What the job's checkpoints and data cannot do."""
    capabilities = facts.capabilities
    needs_states = (
        plan.kind in ("probe", "branch")
        or plan.source != CURRENT
        or plan.save_as
        or plan.save_end_as
        or plan.save_every
    )
    if needs_states and capabilities.rollback == "none":
        return f"a {plan.kind} that needs kept states, and the job cannot roll back"
    if plan.data == "rewind" and capabilities.rewind_batches != UNLIMITED:
        if capabilities.rewind_batches == 0:
            return "it rewinds the data, and the job's data cannot be rewound"
        if facts.budget.clock == "steps" and plan.length > capabilities.rewind_batches:
            return (
                f"it rewinds {plan.length} batches, and the job's data can be rewound by "
                f"{capabilities.rewind_batches}"
            )
    if plan.measure.validate_at_end and not capabilities.validate_:
        return "it validates at its end, and the job cannot validate"
    return None


def _limit_obstacle(plan: SegmentPlan, facts: Facts) -> str | None:
    """What the training code does not allow."""
    limits = facts.limits
    if plan.kind == "probe" and not limits.allow_probes:
        return "a probe, and the training code does not allow any"
    if (
        plan.kind == "probe"
        and limits.max_probe_length is not None
        and plan.length > limits.max_probe_length
    ):
        return f"a probe of {plan.length}, and the training code allows {limits.max_probe_length}"
    if plan.kind == "main" and plan.source != CURRENT and not limits.allow_rollback:
        return "a main segment from a checkpoint, and the training code does not allow rollback"
    if plan.kind == "stop" and not limits.allow_shorter_main:
        return "a stop, and the training code does not allow a shorter main line"
    return None


def _shape_obstacle(plan: SegmentPlan, facts: Facts) -> str | None:
    """What does not fit the job's groups, families or budget."""
    if plan.controls != "all":
        known = {group.control for group in facts.groups}
        unknown = sorted(set(plan.controls) - known)
        if unknown:
            return f"it controls {', '.join(unknown)}, and the job has {', '.join(sorted(known))}"
    families = facts.capabilities.families
    missing = sorted(plan.policy.body.families_used() - set(families)) if families else []
    if missing:
        return f"its schedule family {missing[0]!r} is unknown to the job's client"
    total = facts.budget.total
    if plan.kind == "main" and plan.start >= total:
        return f"a main segment at {plan.start}, and the budget ends at {total}"
    if plan.kind == "main" and plan.end > total:
        return f"a main segment that ends at {plan.end}, and the budget ends at {total}"
    if plan.budget not in (None, total):
        return f"it sets the budget to {plan.budget}, which is for people and for the training code"
    return None


def obstacle(
    plan: SegmentPlan, facts: Facts, checkpoints: Collection[str], planned_probe: int
) -> str | None:
    """Return why ``plan`` must not be sent, or None.

    Args:
        plan: The segment.
        facts: The job's facts.
        checkpoints: Names that the job keeps or kept, ``save_as`` of this decision's earlier segments included.
        planned_probe: Clock units of the probes already sent on the kept branch.
    """
    found = (
        _state_obstacle(plan, facts) or _limit_obstacle(plan, facts) or _shape_obstacle(plan, facts)
    )
    if found:
        return found
    kept_by_itself = plan.source in (CURRENT, INITIAL) or plan.source.startswith(ROLLING)
    if not kept_by_itself and plan.source not in checkpoints:
        return f"it starts from checkpoint {plan.source!r}, which the job does not keep"
    for name in (plan.save_as, plan.save_end_as):
        if name is not None and (name in checkpoints or name in (CURRENT, INITIAL)):
            return f"it saves a checkpoint {name!r}, and that name is taken"
    allowed = facts.overhead_cap * facts.budget.total
    if plan.kind == "probe" and planned_probe + plan.length > allowed:
        return (
            f"a probe of {plan.length} after {planned_probe}, and the overhead cap "
            f"{facts.overhead_cap:g} allows {allowed:g} in all"
        )
    return None
