"""Hold a person's segments against the job's limits before they are sent; the client judges them once more."""

from collections.abc import Sequence

from pacesetter.judgement import Refusal, check_budget, check_segment
from pacesetter.limits import Limits
from pacesetter.protocol import JobSpec, Kind, Segment, SegmentPlan
from sqlalchemy import select

from pacesetter_service.database.models import SessionRow
from pacesetter_service.errors import Refused
from pacesetter_service.jobs.open_job import OpenJob
from pacesetter_service.planning.commit import first_obstacle
from pacesetter_service.planning.messages import Facts

_LIMIT_OF = {
    "ABOVE_LIMIT": "max_multiplier",
    "BELOW_LIMIT": "min_multiplier",
    "CHANGE_TOO_FAST": "max_change_per_step",
    "SHORTER_MAIN": "allow_shorter_main",
    "ABOVE_MAX_BUDGET": "max_budget",
    "PROBE_NOT_ALLOWED": "allow_probes",
    "PROBE_TOO_LONG": "max_probe_length",
}
"""The limit behind each code that a client refuses with."""


def require_executable(job: OpenJob, spec: JobSpec, plans: Sequence[SegmentPlan]) -> None:
    """Do nothing if the job can execute ``plans``; raises Refused (``SEGMENT_REFUSED``)."""
    found = first_obstacle(job, plans, Facts.of(spec, job.authority, job.overhead_cap))
    if found is not None:
        raise Refused(
            f"the job cannot execute this: {found}",
            code="SEGMENT_REFUSED",
            hint="see the job's capabilities and limits",
        )


def require_budget(job: OpenJob, spec: JobSpec, total: int) -> None:
    """Do nothing if a person may set the budget of the job to ``total``.

    Raises:
        Refused: Its client cannot, it is no change, or the limits forbid it, in the client's own words and with its
            code.
    """
    clock = spec.budget.clock
    if not spec.capabilities.budget_changes:
        raise Refused(
            "the job's client cannot change its budget while it runs",
            code="NO_BUDGET_CHANGES",
            hint="update the training code's pacesetter, or start it again with the new budget",
        )
    if total == spec.budget.total:
        raise Refused(
            f"the budget is {total} {clock} already",
            code="BUDGET_UNCHANGED",
            hint="give another total",
        )
    refusal = check_budget(
        total,
        spec.limits,
        registered_total=job.registered_spec().budget.total,
        clock=clock,
        position=job.main_position,
    )
    if refusal is not None:
        raise _refused(refusal, "main", spec.limits)


def require_allowed(
    job: OpenJob,
    spec: JobSpec,
    plans: Sequence[SegmentPlan],
    driving: dict[str, Segment | None],
    *,
    registered_total: int | None = None,
) -> None:
    """Do nothing if the limits allow ``plans`` where the job stands.

    Args:
        job: The job.
        spec: Its spec.
        plans: What a person wants to send.
        driving: For each control set the segment that drives it now; None is the base schedule.
        registered_total: The budget as the training code gave it, where a plan brings another one.

    Raises:
        Refused: They do not. The message names the limit, and the code is the one a client refuses with.
    """
    step = _units_per_step(job, spec)
    current = _multipliers_before(job, spec, driving, step)
    for plan in plans:
        refusal = check_segment(
            plan,
            spec.limits,
            current_multiplier=current if plan is plans[0] else None,
            budget_total=spec.budget.total,
            clock=spec.budget.clock,
            base_schedule=spec.base,
            capabilities=spec.capabilities,
            groups=spec.groups,
            position=max(plan.start, job.main_position),
            units_per_step=step,
            registered_total=registered_total,
        )
        if refusal is not None:
            raise _refused(refusal, plan.kind, spec.limits)


def _refused(refusal: Refusal, kind: Kind, limits: Limits) -> Refused:
    name = _LIMIT_OF.get(refusal.code)
    if refusal.code == "BUDGET_PAST":
        hint = "give a budget above the job's main_position, or tell the job to complete"
    elif name is None:
        hint = "see the job's capabilities"
    elif refusal.code == "CHANGE_TOO_FAST":
        hint = "send a schedule that ramps (kind 'schedule')"
    else:
        hint = f"stay within {name}; only the training code can change its limits"
    if name == "max_multiplier" and kind == "probe" and limits.probe_max_multiplier:
        name = "probe_max_multiplier"
    limit = "" if name is None else f" (limit {name}={getattr(limits, name)})"
    return Refused(
        f"the job would refuse this: {refusal.detail}{limit}", code=refusal.code, hint=hint
    )


def _units_per_step(job: OpenJob, spec: JobSpec) -> float:
    """Return about how far one optimizer step goes; a job in tokens does not say it of the next one."""
    if spec.budget.clock == "steps":
        return 1.0
    last = job.tx.execute(
        select(SessionRow.last_step).where(SessionRow.id == job.session)
    ).scalar_one_or_none()
    return max(1.0, job.main_position / last) if last and last > 0 else 1.0


def _multipliers_before(
    job: OpenJob, spec: JobSpec, driving: dict[str, Segment | None], step: float
) -> list[float] | None:
    """Return the multiplier of each group's last step; None where a feedback rule moves them on the client."""
    if any(each is not None and each.feedback is not None for each in driving.values()):
        return None
    multipliers = []
    for group in spec.groups:
        segment = driving[group.control]
        policy = spec.base if segment is None else segment.policy
        divisor = group.base_lr if policy.unit == "absolute" else 1.0
        multipliers.append(policy.at(job.main_position - step) / divisor)
    return multipliers
