"""Advance a strategy over events: pure, and the same in the API process and in the planning process."""

import traceback

from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Measurements,
    SegmentEnded,
    SessionBegan,
)
from pacesetter_search.contract import (
    Body,
    BudgetChanged,
    Context,
    Event,
    Rewound,
    State,
    Strategy,
    Studied,
)

from pacesetter_service.planning.messages import (
    LogLine,
    PlanAnswer,
    PlannedDecision,
    PlanRequest,
)
from pacesetter_service.planning.registry import Registry


def running_after(running: int, body: Body) -> int:
    """Return the ``seq`` of the segment that runs once ``body`` has happened."""
    if isinstance(body, Measurements | SegmentEnded):
        return body.segment
    if isinstance(body, Acknowledgement) and body.status == "applied":
        return body.segment
    if isinstance(body, FellBack):
        return body.follows
    return running


def position_after(position: int, body: Body) -> int:
    """Return the main-line position once ``body`` has happened, as far as it says."""
    if isinstance(body, SegmentEnded):
        return body.main_position
    if isinstance(body, FellBack | SessionBegan | Rewound | BudgetChanged | Studied):
        return body.position
    return position


def _reduce(strategy: Strategy, request: PlanRequest) -> PlanAnswer:
    facts = request.facts.for_strategy()
    state: State = request.state
    running, position = request.running, request.position
    next_seq, draws = request.next_seq, request.draws
    decisions: list[PlannedDecision] = []
    log: list[LogLine] = []
    for event in request.events:
        running = running_after(running, event.body)
        position = position_after(position, event.body)
        context = Context(facts, next_seq, draw=draws + 1)
        step = strategy.advance(state, Event(event.number, event.body), context)
        state = step.state
        log += [
            LogLine(event=event.number, code=entry.code, text=entry.text, numbers=entry.numbers)
            for entry in step.log
        ]
        if step.segments:
            decisions.append(
                PlannedDecision(
                    event=event.number,
                    after=running,
                    position=position,
                    segments=step.segments,
                    state=state,
                )
            )
            next_seq += len(step.segments)
            draws += len(step.segments)
    return PlanAnswer(
        state=state,
        running=running,
        position=position,
        decisions=tuple(decisions),
        log=tuple(log),
    )


def reduce(registry: Registry, request: PlanRequest) -> PlanAnswer:
    """Return what the strategy makes of the events. Whatever it raises becomes ``error``."""
    try:
        strategy = registry.build(request.strategy, dict(request.parameters))
        return _reduce(strategy, request)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return PlanAnswer(
            error=f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        )
