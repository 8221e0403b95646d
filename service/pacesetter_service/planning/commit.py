"""Turn what a strategy answered into segments, decisions and the audit trail."""

from collections.abc import Sequence

from pacesetter.protocol import GUARD, Segment, SegmentPlan
from pacesetter_search.contract import Registered, Rewound

from pacesetter_service.jobs.open_job import OpenJob
from pacesetter_service.planning.decisions import store_decision
from pacesetter_service.planning.gate import obstacle
from pacesetter_service.planning.messages import (
    Facts,
    LogLine,
    PlanAnswer,
    PlanEvent,
    PlannedDecision,
    PlanRequest,
)
from pacesetter_service.planning.reduce import reduce
from pacesetter_service.planning.registry import FALLBACK, Registry
from pacesetter_service.planning.requests import build_request, next_request, running_now
from pacesetter_service.segments import repository as segments


def still_stands(job: OpenJob, request: PlanRequest) -> bool:
    """Whether an answer to ``request`` may be committed: nobody planned, rewound, paused or set another budget."""
    return (
        job.is_due
        and job.reduced_through == request.reduced_through
        and job.session == request.session
        and job.strategy == request.strategy
        and job.last_seq + 1 == request.next_seq
        and job.load_spec().budget.total == request.facts.budget.total
    )


def first_obstacle(job: OpenJob, plans: Sequence[SegmentPlan], facts: Facts) -> str | None:
    """Return why one of the plans must not be sent, or None."""
    names = segments.checkpoint_names(job.tx, job.id)
    # What the guard sends in trouble takes the place of all that waits, and repeats what waited behind it.
    anew = bool(plans) and plans[0].when == "now" and plans[0].origin == GUARD
    probed = segments.planned_probe(job.tx, job.id, waiting=not anew)
    for plan in plans:
        found = obstacle(plan, facts, names, probed)
        if found is not None:
            return found
        names |= {name for name in (plan.save_as, plan.save_end_as) if name is not None}
        probed += plan.length if plan.kind == "probe" else 0
    return None


def _log(job: OpenJob, line: LogLine) -> None:
    job.add_event(
        "decision",
        {
            "event": line.event,
            "strategy": job.strategy,
            "code": line.code,
            "text": line.text,
            "numbers": line.numbers,
        },
    )


def _propose(job: OpenJob, sent: tuple[Segment, ...]) -> None:
    for segment in sent:
        job.add_event(
            "proposal",
            {
                "seq": segment.seq,
                "authority": job.authority,
                "segment": segment.model_dump(mode="json", by_alias=True),
            },
            segment=segment.seq,
            position=segment.start,
        )


def _commit_decision(job: OpenJob, decision: PlannedDecision, *, first: bool = False) -> None:
    withheld = job.authority != "steer" or job.overridden
    sent = segments.send(job, decision.segments, decision.after, proposed=withheld)
    job.draws += len(sent)
    if withheld:
        _propose(job, sent)
    starts = [plan.start for plan in decision.segments if plan.kind == "main"]
    position = starts[0] if starts else decision.position
    store_decision(
        job,
        decision.event,
        # A job can always go back to the first decision, however late it came: it is on its base schedule then.
        0 if first else position,
        dict(decision.state),
        sets_main=bool(starts) or first,
    )


def apply_answer(
    job: OpenJob, request: PlanRequest, answer: PlanAnswer, registry: Registry
) -> None:
    """Store what the strategy answered; a segment that the job cannot execute hands it to ``fixed``."""
    for line in answer.log:
        _log(job, line)
    first = any(isinstance(event.body, Registered) for event in request.events)
    for decision in answer.decisions:
        found = first_obstacle(job, decision.segments, request.facts)
        if found is not None:
            hand_over(job, f"strategy {job.strategy!r} asked for what cannot be: {found}", registry)
            return
        _commit_decision(job, decision, first=first)
        first = False
    if first:
        # A job whose strategy sends nothing at first still needs a state to go back to.
        begun = request.reduced_through
        store_decision(job, begun, 0, dict(answer.state), sets_main=True)
    job.changes["state"] = dict(answer.state)
    job.running = answer.running
    job.reduced_through = request.through


def hand_over(job: OpenJob, reason: str, registry: Registry) -> None:
    """Give the job to ``fixed``: its base schedule from here on, with an event that says why."""
    running = running_now(job)
    job.add_event("handed_over", {"from": job.strategy, "to": FALLBACK, "reason": reason})
    was_fallback = job.strategy == FALLBACK
    job.strategy = FALLBACK
    job.strategy_parameters = {}
    job.strategy_version = registry.type_of(FALLBACK).version
    job.running = running
    job.reduced_through = job.last_event
    if was_fallback:
        return  # nothing is left to try: the job follows what it has
    facts = Facts.of(job.load_spec(), job.authority, job.overhead_cap)
    state = registry.build(FALLBACK, {}).initial(facts.for_strategy())
    body = Registered() if job.main_position == 0 else Rewound(position=job.main_position)
    request = PlanRequest(
        job=job.id,
        strategy=FALLBACK,
        parameters={},
        facts=facts,
        state=state,
        events=(PlanEvent(number=job.last_event, body=body),),
        session=job.session,
        reduced_through=job.reduced_through,
        through=job.reduced_through,
        running=running,
        position=job.main_position,
        next_seq=job.last_seq + 1,
        draws=job.draws,
    )
    answer = reduce(registry, request)
    job.changes["state"] = dict(answer.state)
    for decision in answer.decisions:
        now = decision.segments[0].model_copy(update={"when": "now"})
        if first_obstacle(job, (now,), facts) is None:
            _commit_decision(job, decision.model_copy(update={"segments": (now,)}))


def stale_strategy(job: OpenJob, registry: Registry) -> str | None:
    """Return why this release cannot go on with the job's strategy, or None."""
    if job.strategy not in registry.names():
        return f"strategy {job.strategy!r} is unknown to this release"
    version = registry.type_of(job.strategy).version
    if version != job.strategy_version:
        return (
            f"the state is of version {job.strategy_version} of strategy {job.strategy!r}, "
            f"and this release reads version {version}"
        )
    return None


def _reduce_all(job: OpenJob, request: PlanRequest, registry: Registry) -> PlanAnswer:
    answer = whole = reduce(registry, request)
    while answer.error is None and request.rest is not None:
        request = next_request(job.tx, request, answer)
        answer = reduce(registry, request)
        whole = whole.then(answer)
    return whole


def plan_now(job: OpenJob, registry: Registry) -> None:
    """Advance a fast strategy here and now; a slow one stays due and is planned elsewhere."""
    if not job.is_due:
        return
    problem = stale_strategy(job, registry)
    if problem is not None:
        hand_over(job, problem, registry)
        return
    if registry.type_of(job.strategy).slow:
        return
    request = build_request(job)
    answer = _reduce_all(job, request, registry)
    if answer.error is not None:
        hand_over(job, f"strategy {job.strategy!r} failed: {answer.error}", registry)
    else:
        apply_answer(job, request, answer, registry)


def slow_request(job: OpenJob, registry: Registry) -> PlanRequest | None:
    """Return what the planning process is asked, or None if nothing is due that it should plan."""
    if not job.is_due or stale_strategy(job, registry) is not None:
        return None
    return build_request(job) if registry.type_of(job.strategy).slow else None
