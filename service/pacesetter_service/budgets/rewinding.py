"""A session that resumes elsewhere: what was decided about the budget since then stands."""

import json

from pacesetter.protocol import Segment, SegmentPlan
from pacesetter_search.contract import Registered
from sqlalchemy import delete, select

from pacesetter_service.budgets import history
from pacesetter_service.budgets.changing import handles, lead, tell
from pacesetter_service.budgets.history import Change, changes, planned_for
from pacesetter_service.budgets.plans import Move, carried_on
from pacesetter_service.budgets.withdrawing import withdraw
from pacesetter_service.database.models import DecisionRow, EventRow
from pacesetter_service.errors import Refused
from pacesetter_service.jobs.open_job import ENDED, OpenJob
from pacesetter_service.planning.commit import hand_over
from pacesetter_service.planning.decisions import Kept
from pacesetter_service.planning.messages import Facts
from pacesetter_service.planning.registry import Registry
from pacesetter_service.segments import repository as segments


def renew_budget(job: OpenJob, kept: Kept, position: int, registry: Registry) -> Kept:
    """See that a job which resumes at ``position`` is led to the end of the budget that it has by now.

    Decisions after that place are superseded, but a budget is a person's, or the training code's, and stands. So the
    strategy is told again where its state is older, and the job gets a segment where what it follows leads to another
    end. One that begins once more with another budget begins anew.

    Args:
        job: The job, rewound.
        kept: What the rewinding kept.
        position: Where the session resumes.
        registry: Of the strategies.

    Returns:
        What is kept now.
    """
    if job.budget is None or job.status in ENDED or kept.event is None:
        return kept
    last = changes(job.tx, job.id)[-1]
    restarted = last.cause == "restart" and last.session == job.session
    if restarted and position == 0:
        return _begin_anew(job, registry)
    running = _running(job)
    covered = running is not None and running.budget == job.budget and not restarted
    told = kept.event >= history.last_told(job) and not restarted
    before = planned_for(job, None if running is None else running.budget)
    if not covered:
        _lead_again(job, registry, Move(before, job.budget, _place(job, last, restarted)), last)
    elif handles(job, registry) and not told:
        tell(job, Move(before, job.budget, position))
    return kept


def _place(job: OpenJob, last: Change, restarted: bool) -> int:
    """Return where the plan becomes another: where it did the first time, if the job gets there once more."""
    assert job.budget is not None
    here = job.main_position
    again = not restarted and here < last.position < min(last.before, job.budget)
    return last.position if again else here


def _lead_again(job: OpenJob, registry: Registry, move: Move, last: Change) -> None:
    spec = job.load_spec()
    driving = segments.driving(job.tx, job.id, spec, job.main_position)
    plan: SegmentPlan | None = None
    try:
        text = f"{last.by} set the budget to {move.total}, which stands"
        plan = carried_on(spec, driving, job.main_position, move, text)
    except Refused as refusal:
        if last.cause != "restart":
            withdraw(job, registry, move.before, refusal.code, refusal.message)
            return
        # The client itself leads what it follows to the end that its training code gave.
    lead(job, registry, plan, move)


def _running(job: OpenJob) -> Segment | None:
    row = segments.get_segment(job.tx, job.id, job.running)
    return None if row is None else Segment.model_validate_json(row.plan)


def _begin_anew(job: OpenJob, registry: Registry) -> Kept:
    """Let the strategy begin as with a new job: nothing that was trained is left, and nothing to go back to."""
    segments.supersede_after(job, 0)
    job.tx.execute(delete(DecisionRow).where(DecisionRow.job == job.id))
    job.flush_events()
    first = job.tx.execute(
        select(EventRow.body)
        .where(EventRow.job == job.id, EventRow.type == "registered")
        .order_by(EventRow.number)
        .limit(1)
    ).scalar_one()
    facts = Facts.of(job.load_spec(), job.authority, job.overhead_cap).for_strategy()
    strategy = registry.build(job.strategy, job.strategy_parameters)
    job.overridden, job.draws, job.running = False, 0, 0
    obstacles = tuple(strategy.obstacles(facts))
    if obstacles:
        hand_over(job, f"with this budget it cannot steer: {'; '.join(obstacles)}", registry)
        return Kept(0, None)
    job.changes["state"] = strategy.initial(facts)
    body = Registered(priors=json.loads(first).get("priors", {}))
    number = job.add_event("registered", body, reducible=True, session=job.session)
    job.reduced_through, job.due_event = number - 1, number
    return Kept(0, None)
