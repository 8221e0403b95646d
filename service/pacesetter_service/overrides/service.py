"""Carry out what a person asked for: as segments like any other, with the person's name in the audit trail."""

from pacesetter_service.budgets.changing import set_budget
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import Conflict
from pacesetter_service.jobs.open_job import ENDED, OpenJob, lock_job
from pacesetter_service.overrides import proposals
from pacesetter_service.overrides.judging import require_allowed, require_executable
from pacesetter_service.overrides.plans import plans_for
from pacesetter_service.overrides.schemas import (
    ApproveProposal,
    BackToStrategy,
    Override,
    RejectProposal,
    SetBudget,
    Steering,
)
from pacesetter_service.overrides.telling import tell_overridden
from pacesetter_service.planning.commit import plan_now
from pacesetter_service.planning.decisions import store_decision
from pacesetter_service.planning.registry import Registry
from pacesetter_service.planning.requests import running_now
from pacesetter_service.segments import repository as segments
from pacesetter_service.views import OverrideResult


def override(tx: Transaction, job_id: str, wish: Override, registry: Registry) -> OverrideResult:
    """Carry out ``wish``.

    Raises:
        NotFound: No such job or proposal.
        Conflict: The job has ended, or the proposal has expired.
        Refused: The job cannot execute it, or its limits forbid it.
    """
    job = lock_job(tx, job_id)
    if job.status in ENDED:
        raise Conflict(
            f"the job is {job.status}", code="JOB_ENDED", hint="start it again to steer it"
        )
    if isinstance(wish, ApproveProposal):
        result = proposals.approve(job, wish)
    elif isinstance(wish, RejectProposal):
        result = proposals.reject(job, wish, registry)
    elif isinstance(wish, BackToStrategy):
        result = _hand_back(job, wish, registry)
    elif isinstance(wish, SetBudget):
        result = set_budget(job, wish, registry)
    else:
        result = _take_over(job, wish)
    job.save()
    return result


def _hand_back(job: OpenJob, wish: BackToStrategy, registry: Registry) -> OverrideResult:
    last = job.last_seq
    if not job.overridden:
        return OverrideResult((), job.last_event)
    job.overridden = False
    job.add_event("handed_back", {"by": wish.by, "reason": wish.reason})
    event = tell_overridden(job, active=False)
    plan_now(job, registry)
    return OverrideResult(tuple(range(last + 1, job.last_seq + 1)), event)


def _take_over(job: OpenJob, wish: Steering) -> OverrideResult:
    spec = job.load_spec()
    if job.main_position >= spec.budget.total:
        raise Conflict("the budget is used up", code="BUDGET_USED", hint="nothing is left to steer")
    running = running_now(job)
    driving = segments.driving(job.tx, job.id, spec, job.main_position)
    plans = plans_for(wish, spec, job.main_position, driving)
    require_executable(job, spec, plans)
    require_allowed(job, spec, plans, driving)
    sent = segments.send(job, plans, running, proposed=False)
    job.draws += len(sent)
    job.overridden = True
    store_decision(job, job.reduced_through, job.main_position, job.load_state(), sets_main=True)
    job.add_event(
        "override",
        {"by": wish.by, "wish": wish.model_dump(mode="json"), "segments": [s.seq for s in sent]},
        segment=sent[0].seq,
        position=job.main_position,
    )
    event = tell_overridden(job, active=True)
    return OverrideResult(tuple(segment.seq for segment in sent), event)
