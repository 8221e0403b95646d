"""Change the budget of a job, tell its strategy, and see that the job has a main segment to the new end."""

from dataclasses import replace

from pacesetter.protocol import JobSpec, Segment, SegmentPlan
from pacesetter_search.contract import BudgetChanged

from pacesetter_service.budgets.history import TOLD, Cause, Change, record
from pacesetter_service.budgets.plans import Move, carried_on, moved
from pacesetter_service.jobs.open_job import OpenJob
from pacesetter_service.overrides.judging import require_allowed, require_budget, require_executable
from pacesetter_service.overrides.schemas import SetBudget
from pacesetter_service.overrides.telling import tell_overridden
from pacesetter_service.planning.commit import plan_now, stale_strategy
from pacesetter_service.planning.decisions import store_decision
from pacesetter_service.planning.registry import Registry
from pacesetter_service.segments import repository as segments
from pacesetter_service.segments.stopping import ANYWHERE
from pacesetter_service.views import OverrideResult


def set_budget(job: OpenJob, wish: SetBudget, registry: Registry) -> OverrideResult:
    """Extend or cut short a job that runs, as a person asks.

    Raises:
        Refused: Its client cannot, the limits forbid it, or there is nothing to extend.
    """
    spec, position = job.load_spec(), job.main_position
    require_budget(job, spec, wish.total)
    move = Move(spec.budget.total, wish.total, position)
    driving = segments.driving(job.tx, job.id, spec, position)
    changed = _with_budget(spec, move)
    plan = carried_on(changed, driving, position, move, _sentence(wish))
    require_executable(job, changed, (plan,))
    registered = job.registered_spec().budget.total
    require_allowed(job, spec, (plan,), driving, registered_total=registered)
    change = _change(job, spec, move, "override", wish.by, wish.reason)
    adopt(job, move.total, changed.base.model_dump_json())
    took_over = not handles(job, registry) and not job.overridden
    sent = lead(job, registry, plan, move)
    event = record(job, replace(change, took_over=took_over), sent)
    return OverrideResult(sent, event)


def note_restart(job: OpenJob, known: JobSpec, current: JobSpec, session: str) -> None:
    """Note that training code was started again with another budget, whose spec the job has by now.

    Where the session resumes is known only once it says so: what follows from the change waits until then.

    Args:
        job: The job.
        known: What its newest spec was.
        current: The same, with the budget and base schedule that held.
        session: The session that was opened.
    """
    total = job.registered_spec().budget.total
    reason = f"started again with a budget of {total}, and had one of {known.budget.total}"
    move = Move(current.budget.total, total, job.main_position)
    change = _change(job, current, move, "restart", "training code", reason)
    adopt(job, total, None)
    record(job, replace(change, session=session), ())


def adopt(job: OpenJob, total: int, base: str | None) -> None:
    """Let the job have this budget and this base schedule (JSON; None: as registered)."""
    job.budget = total
    job.changes["base"] = base


def lead(job: OpenJob, registry: Registry, plan: SegmentPlan | None, move: Move) -> tuple[int, ...]:
    """See that a job is led to the end of the budget that it has by now; return the segments that were sent.

    A strategy that handles budgets and may steer sends its own. Where it cannot at once, and for every other, the
    controller sends ``plan``, whatever the authority; a job whose strategy does not handle budgets counts as
    overridden from then on.
    """
    last = job.last_seq
    told = handles(job, registry)
    steers = told and job.authority == "steer" and not job.overridden
    if plan is not None and not steers:
        _send(job, plan)
    if told:
        tell(job, move)
        plan_now(job, registry)
    else:
        job.overridden = True
        tell_overridden(job, active=True)
    if plan is not None and job.last_seq == last:
        _send(job, plan)
    return tuple(each.seq for each in segments.visible_segments(job.tx, job.id, last))


def handles(job: OpenJob, registry: Registry) -> bool:
    """Return whether the job's strategy is told of budgets; one that this release does not know is not."""
    return stale_strategy(job, registry) is None and registry.type_of(job.strategy).handles_budget


def tell(job: OpenJob, move: Move) -> None:
    """Tell the strategy of the budget."""
    body = BudgetChanged(total=move.total, before=move.before, position=job.main_position)
    job.due_event = job.add_event(
        TOLD,
        body,
        reducible=True,
        session=job.session,
        segment=job.last_seq,
        position=job.main_position,
    )


def _send(job: OpenJob, plan: SegmentPlan) -> Segment:
    (sent,) = segments.send(job, (plan,), ANYWHERE, proposed=False)
    job.draws += 1
    store_decision(job, job.reduced_through, job.main_position, job.load_state(), sets_main=True)
    return sent


def _with_budget(spec: JobSpec, move: Move) -> JobSpec:
    budget = spec.budget.model_copy(update={"total": move.total})
    return spec.model_copy(update={"budget": budget, "base": moved(spec.base, move, spec.limits)})


def _change(
    job: OpenJob, current: JobSpec, move: Move, cause: Cause, by: str, reason: str
) -> Change:
    return Change(
        cause=cause,
        by=by,
        reason=reason,
        before=move.before,
        total=move.total,
        base_before=current.base.model_dump(mode="json"),
        took_over=False,
        seq=job.last_seq,
        position=job.main_position,
        session=job.session,
    )


def _sentence(wish: SetBudget) -> str:
    text = f"{wish.by} set the budget to {wish.total}"
    return f"{text}: {wish.reason}" if wish.reason else text
