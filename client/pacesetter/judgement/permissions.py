"""Rules about what the job can do, what the training code permits, and the length of the main line."""

from pacesetter.judgement.case import Case, Refusal
from pacesetter.limits import Limits
from pacesetter.protocol import CURRENT, INITIAL, PERSON, ROLLING, Clock


def known(case: Case) -> Refusal | None:
    """Refuse names that the job does not know: a family, a set of groups, a checkpoint name of its own."""
    plan, families = case.plan, case.capabilities.families
    missing = sorted(plan.policy.body.families_used() - set(families)) if families else []
    if missing:
        return Refusal(
            "UNKNOWN_POLICY",
            f"this client cannot evaluate {missing[0]!r}; it knows {', '.join(families)}",
        )
    rule = None if plan.feedback is None else plan.feedback.rule
    if rule is not None and rule not in case.capabilities.feedback:
        rules = ", ".join(case.capabilities.feedback) or "none"
        return Refusal(
            "UNKNOWN_FEEDBACK",
            f"this client cannot run the feedback rule {rule!r}; it knows {rules}",
        )
    required = plan.policy.body.required_clock()
    if required not in (None, case.clock):
        return Refusal(
            "UNKNOWN_POLICY",
            f"its {plan.policy.body.family} counts {required}, and the job's clock is {case.clock}; "
            "send one in the job's clock",
        )
    if plan.policy.unit == "absolute" and not case.groups:
        return Refusal(
            "UNKNOWN_POLICY",
            "a policy in absolute learning rates is divided by the groups' base, which is not known here; "
            "send a relative one",
        )
    controls = {group.control for group in case.groups}
    unknown = [] if plan.controls == "all" else sorted(set(plan.controls) - controls)
    if case.groups and unknown:
        return Refusal(
            "UNKNOWN_CONTROL",
            f"no parameter group belongs to {unknown}; the job has {sorted(controls)}",
        )
    for name in (plan.save_as, plan.save_end_as):
        if name is not None and (name in (CURRENT, INITIAL) or name.startswith(ROLLING)):
            return Refusal(
                "RESERVED_NAME", f"the name {name!r} is the job's own; save under another one"
            )
    return None


def able(case: Case) -> Refusal | None:
    """Refuse what the job registered that it cannot do."""
    plan, capabilities = case.plan, case.capabilities
    if plan.kind == "stop":
        return None
    leaves_main = plan.kind in ("probe", "branch") or plan.source != CURRENT
    saves = bool(plan.save_as or plan.save_end_as or plan.save_every)
    if (leaves_main or saves) and capabilities.rollback == "none":
        return Refusal(
            "NO_ROLLBACK",
            f"a {plan.kind} segment from {plan.source!r} that leaves the main line or saves needs checkpoints, and the "
            "job registered rollback 'none'; send main segments from 'current' that save nothing",
        )
    if plan.data == "rewind" and capabilities.rewind_batches == 0:
        return Refusal(
            "NO_REWIND",
            "the job cannot rewind its data; send data 'continue', or give it a loader with a state_dict",
        )
    if plan.measure.validate_at_end and not capabilities.validate_:
        return Refusal(
            "NO_VALIDATION",
            "the job has no validate function; measure the training loss, or pass validate= to attach",
        )
    return None


def allowed(case: Case) -> Refusal | None:
    """Refuse what the training code does not permit."""
    plan, limits = case.plan, case.limits
    if plan.kind == "probe":
        if not limits.allow_probes:
            return Refusal("PROBE_NOT_ALLOWED", "the training code set allow_probes=False")
        longest = limits.max_probe_length
        if longest is not None and plan.length > longest:
            return Refusal(
                "PROBE_TOO_LONG",
                f"a probe of {plan.length} {case.clock} exceeds max_probe_length {longest}",
            )
    if plan.kind == "main" and plan.source != CURRENT and not limits.allow_rollback:
        return Refusal(
            "NO_ROLLBACK",
            f"a main segment from {plan.source!r} is a rollback, and the training code set allow_rollback=False",
        )
    return None


def changed_budget(case: Case) -> Refusal | None:
    """Refuse another budget that the training code does not permit, or that is behind the job."""
    total = case.plan.budget
    if total is None or total == case.budget_total:
        return None
    return check_budget(
        total,
        case.limits,
        registered_total=case.registered_total,
        clock=case.clock,
        position=case.first,
    )


def check_budget(
    total: int, limits: Limits, *, registered_total: int, clock: Clock, position: int
) -> Refusal | None:
    """Return why nobody but the training code may set the budget of a running job to ``total``; None if one may.

    Args:
        total: The new end of the main line, in the job's clock.
        limits: What the training code allows.
        registered_total: The budget as the training code gave it.
        clock: The job's clock.
        position: Where the main line stands.
    """
    if total <= position:
        return Refusal(
            "BUDGET_PAST",
            f"the job stands at {position}, and a budget of {total} {clock} would end before it has made another "
            "step; give a larger one, or end the job",
        )
    largest = limits.max_budget
    if total > (registered_total if largest is None else largest):
        bound = f"the {registered_total} given" if largest is None else f"max_budget {largest}"
        return Refusal(
            "ABOVE_MAX_BUDGET",
            f"a budget of {total} {clock} is above {bound}; set max_budget to accept it",
        )
    if total < registered_total and not limits.allow_shorter_main:
        return Refusal(
            "SHORTER_MAIN",
            f"a budget of {total} of the {registered_total} {clock} given would end the main line early; set "
            "allow_shorter_main to accept that",
        )
    return None


def whole_budget(case: Case) -> Refusal | None:
    """Refuse a main line that is longer than the budget or, unless allowed, shorter."""
    plan, total = case.plan, case.total
    if plan.kind == "main" and plan.end > total:
        return Refusal(
            "BEYOND_BUDGET",
            f"it would end at {plan.end}, beyond the budget of {total} {case.clock}; end it there",
        )
    if case.limits.allow_shorter_main:
        return None
    # A person who cancels the job wants it over, not cheaper: that is no shorter main line.
    if plan.kind == "stop" and plan.origin != PERSON and case.first < total:
        return Refusal(
            "SHORTER_MAIN",
            f"it would stop at {case.first} of {total} {case.clock}; set allow_shorter_main to accept that",
        )
    idle = total - plan.policy.end
    # One step at zero is the habit of trainers whose decay ends on the last step instead of after it.
    if plan.kind == "main" and idle > case.step and plan.policy.at(plan.policy.end) == 0.0:
        return Refusal(
            "SHORTER_MAIN",
            f"its policy is zero from {plan.policy.end} on, so the last {idle} {case.clock} would train nothing; "
            "let it end with the budget, or set allow_shorter_main",
        )
    return None
