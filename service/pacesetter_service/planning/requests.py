"""From stored rows to what a planner is given."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from pacesetter.protocol import Measurements
from pacesetter_search.contract import Rewound
from pydantic import TypeAdapter
from sqlalchemy import Select, select

from pacesetter_service.database.models import EventRow, SessionRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.jobs.open_job import OpenJob
from pacesetter_service.planning.messages import (
    EventBody,
    Facts,
    Place,
    PlanAnswer,
    PlanEvent,
    PlanRequest,
)
from pacesetter_service.planning.reduce import running_after
from pacesetter_service.reports.packing import FloatArray, to_lists, unpack
from pacesetter_service.segments.repository import segment_kinds

ROWS_AT_ONCE = 20_000
"""Rows of measurements in one request: some 5 MB as it travels, however long a segment was."""
RECORDS_AT_ONCE = 100
"""A record has up to 10,000 rows."""
_BODY: TypeAdapter[Any] = TypeAdapter(EventBody)
_SELECT = select(
    EventRow.number,
    EventRow.type,
    EventRow.session,
    EventRow.segment,
    EventRow.position,
    EventRow.body,
    EventRow.data,
)


def _in_pages(tx: Transaction, query: Select[*tuple[Any, ...]], after: int) -> Iterator[Any]:
    """Yield the events that ``query`` finds behind number ``after``; a long segment never comes at once."""
    query = query.order_by(EventRow.number).limit(RECORDS_AT_ONCE)
    while True:
        rows = tx.execute(query.where(EventRow.number > after)).all()
        yield from rows
        if len(rows) < RECORDS_AT_ONCE:
            return
        after = rows[-1].number


def measurements(row: Any, columns: dict[str, FloatArray]) -> Measurements:
    """Return the record of a stored row, without validating once more what was validated on arrival."""
    return Measurements.model_construct(
        type="measurements",
        number=json.loads(row.body)["number"],
        segment=row.segment,
        position=row.position,
        columns=to_lists(columns),
    )


def resume_limits(tx: Transaction, job: str) -> dict[str, float]:
    """Return, for each session, the main-line position from which on later sessions trained anew."""
    rows = tx.execute(
        select(SessionRow.id, SessionRow.began_at)
        .where(SessionRow.job == job)
        .order_by(SessionRow.number.desc())
    ).all()
    limits: dict[str, float] = {}
    limit = float("inf")
    for row in rows:
        limits[row.id] = limit
        if row.began_at is not None:
            limit = min(limit, row.began_at)
    return limits


def _replayed(tx: Transaction, job: str, rewound: Any, after: int) -> Iterator[PlanEvent]:
    """Yield what the kept main line showed between the decision gone back to and the place of resuming."""
    body = json.loads(rewound.body)
    limits = resume_limits(tx, job)
    kinds = segment_kinds(tx, job)
    query = _SELECT.where(
        EventRow.job == job,
        EventRow.number < rewound.number,
        EventRow.reducible,
        EventRow.type.in_(("measurements", "segment_ended", "overridden")),
        EventRow.segment <= body["kept_through"],
    )
    for row in _in_pages(tx, query, max(body["decision"], after)):
        limit = min(limits.get(row.session, 0.0), body["position"])
        if row.type == "overridden":
            yield PlanEvent(number=row.number, body=_BODY.validate_json(row.body))
            continue
        if kinds.get(row.segment) != "main":
            continue
        if row.type == "segment_ended":
            ended = _BODY.validate_json(row.body)
            if ended.main_position < limit:
                yield PlanEvent(number=row.number, body=ended)
            continue
        columns = unpack(row.data)
        kept = np.flatnonzero(columns["position"] < limit)
        if kept.size:
            clipped = {name: column[kept] for name, column in columns.items()}
            yield PlanEvent(number=row.number, body=measurements(row, clipped))


def unreduced(
    tx: Transaction, job: str, place: Place, through: int
) -> Iterator[tuple[PlanEvent, Place]]:
    """Yield what the strategy has not seen, in order, each with the place right behind it."""
    query = _SELECT.where(EventRow.job == job, EventRow.number <= through, EventRow.reducible)
    before, within = place.number, place.within
    for row in _in_pages(tx, query, place.number):
        if row.type == "rewound":
            for event in _replayed(tx, job, row, within):
                yield event, Place(number=before, within=event.number)
            body: Any = Rewound(position=json.loads(row.body)["position"])
        elif row.type == "measurements":
            body = measurements(row, unpack(row.data))
        else:
            body = _BODY.validate_json(row.body)
        before, within = row.number, 0
        yield PlanEvent(number=row.number, body=body), Place(number=before)


def _some_events(
    tx: Transaction, job: str, place: Place, through: int
) -> tuple[tuple[PlanEvent, ...], Place | None]:
    """Return events of about ``ROWS_AT_ONCE`` rows, and where the others follow (None: there are none)."""
    events: list[PlanEvent] = []
    rows = 0
    for event, place_behind in unreduced(tx, job, place, through):
        if rows >= ROWS_AT_ONCE:
            return tuple(events), place
        events.append(event)
        place = place_behind
        rows += len(event.body.columns["step"]) if isinstance(event.body, Measurements) else 1
    return tuple(events), None


def build_request(job: OpenJob) -> PlanRequest:
    """Return what the strategy needs to advance now."""
    job.flush_events()
    spec = job.load_spec()
    facts = Facts.of(spec, job.authority, job.overhead_cap)
    place = Place(number=job.reduced_through)
    events, rest = _some_events(job.tx, job.id, place, job.last_event)
    return PlanRequest(
        job=job.id,
        strategy=job.strategy,
        parameters=job.strategy_parameters,
        facts=facts,
        state=job.load_state(),
        events=events,
        session=job.session,
        reduced_through=job.reduced_through,
        through=job.last_event,
        running=job.running,
        position=job.main_position,
        next_seq=job.last_seq + 1,
        draws=job.draws,
        rest=rest,
    )


def next_request(tx: Transaction, request: PlanRequest, answer: PlanAnswer) -> PlanRequest:
    """Return the request for the events that did not fit into ``request``, which ``answer`` answers."""
    assert request.rest is not None
    events, rest = _some_events(tx, request.job, request.rest, request.through)
    sent = sum(len(decision.segments) for decision in answer.decisions)
    return request.model_copy(
        update={
            "state": answer.state,
            "events": events,
            "running": answer.running,
            "position": answer.position,
            "next_seq": request.next_seq + sent,
            "draws": request.draws + sent,
            "rest": rest,
        }
    )


def running_now(job: OpenJob) -> int:
    """Return the segment that the job runs, by everything it has said so far."""
    job.flush_events()
    running = job.running
    place = Place(number=job.reduced_through)
    for event, _ in unreduced(job.tx, job.id, place, job.last_event):
        running = running_after(running, event.body)
    return running
