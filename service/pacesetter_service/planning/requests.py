"""From stored rows to what a planner is given."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from pacesetter.protocol import Measurements
from pacesetter_search.contract import Rewound
from pydantic import TypeAdapter
from sqlalchemy import select

from pacesetter_service.database.models import EventRow, SessionRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.jobs.open_job import OpenJob
from pacesetter_service.planning.messages import EventBody, Facts, PlanEvent, PlanRequest
from pacesetter_service.planning.reduce import running_after
from pacesetter_service.reports.packing import FloatArray, to_lists, unpack
from pacesetter_service.segments.repository import segment_kinds

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


def expand_rewound(tx: Transaction, job: str, rewound: Any) -> Iterator[PlanEvent]:
    """Yield what the kept main line showed between the decision gone back to and the place of resuming."""
    body = json.loads(rewound.body)
    limits = resume_limits(tx, job)
    kinds = segment_kinds(tx, job)
    rows = tx.execute(
        _SELECT.where(
            EventRow.job == job,
            EventRow.number > body["decision"],
            EventRow.number < rewound.number,
            EventRow.reducible,
            EventRow.type.in_(("measurements", "segment_ended", "overridden")),
            EventRow.segment <= body["kept_through"],
        ).order_by(EventRow.number)
    )
    for row in rows:
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
    yield PlanEvent(number=rewound.number, body=Rewound(position=body["position"]))


def unreduced(tx: Transaction, job: OpenJob) -> Iterator[PlanEvent]:
    """Yield what the strategy has not seen, in order."""
    job.flush_events()
    rows = tx.execute(
        _SELECT.where(
            EventRow.job == job.id, EventRow.number > job.reduced_through, EventRow.reducible
        ).order_by(EventRow.number)
    ).all()
    for row in rows:
        if row.type == "rewound":
            yield from expand_rewound(tx, job.id, row)
        elif row.type == "measurements":
            yield PlanEvent(number=row.number, body=measurements(row, unpack(row.data)))
        else:
            yield PlanEvent(number=row.number, body=_BODY.validate_json(row.body))


def build_request(job: OpenJob) -> PlanRequest:
    """Return everything that the strategy needs to advance now."""
    spec = job.load_spec()
    facts = Facts.of(spec, job.authority, job.overhead_cap)
    events = tuple(unreduced(job.tx, job))
    state = job.changes["state"] if "state" in job.changes else job.load_state()
    return PlanRequest(
        job=job.id,
        strategy=job.strategy,
        parameters=job.strategy_parameters,
        facts=facts,
        state=state,
        events=events,
        session=job.session,
        reduced_through=job.reduced_through,
        through=job.last_event,
        running=job.running,
        position=job.main_position,
        next_seq=job.last_seq + 1,
        draws=job.draws,
    )


def running_now(job: OpenJob) -> int:
    """Return the segment that the job runs, by everything it has said so far."""
    running = job.running
    for event in unreduced(job.tx, job):
        running = running_after(running, event.body)
    return running
