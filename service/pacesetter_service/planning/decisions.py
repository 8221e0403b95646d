"""Stored decisions: the state after each, and what a rewind goes back to."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from pacesetter_service.database.models import DecisionRow, EventRow
from pacesetter_service.jobs.open_job import OpenJob
from pacesetter_service.segments import repository as segments

_INSERT = insert(DecisionRow.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """What a rewind needs of a decision."""

    event: int
    last_seq: int
    draws: int
    strategy: str
    strategy_version: int
    strategy_parameters: dict[str, Any]
    state: dict[str, Any]


def store_decision(
    job: OpenJob, event: int, position: int, state: dict[str, Any], *, sets_main: bool
) -> None:
    """Keep the state after a decision, with the counters as they stand now."""
    job.tx.execute(
        _INSERT,
        {
            "job": job.id,
            "event": event,
            "position": position,
            "sets_main": sets_main,
            "last_seq": job.last_seq,
            "draws": job.draws,
            "strategy": job.strategy,
            "strategy_version": job.strategy_version,
            "strategy_parameters": job.strategy_parameters,
            "state": state,
        },
    )


def decision_at(job: OpenJob, position: int) -> StoredDecision | None:
    """Return the last kept decision that a job standing at ``position`` can follow."""
    row = job.tx.execute(
        select(
            DecisionRow.event,
            DecisionRow.last_seq,
            DecisionRow.draws,
            DecisionRow.strategy,
            DecisionRow.strategy_version,
            DecisionRow.strategy_parameters,
            DecisionRow.state,
        )
        .where(
            DecisionRow.job == job.id,
            DecisionRow.position <= position,
            # Results of probes are no place to resume: the process that ran them, and the state they
            # left from, are gone. The decision that set the main line asks for its probes again.
            DecisionRow.sets_main,
            ~DecisionRow.superseded,
        )
        .order_by(DecisionRow.last_seq.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else StoredDecision(*tuple(row))


@dataclass(frozen=True, slots=True)
class Kept:
    """What a rewind keeps.

    Attributes:
        through: The highest ``seq`` that stays valid.
        event: The last event that the state has seen; None where nothing was decided yet.
    """

    through: int
    event: int | None


def rewind(job: OpenJob, position: int) -> Kept:
    """Go back to where a session resumes; return what stays valid.

    The state is the one stored with the last decision at or before ``position``. What was measured on the kept main
    line since then is replayed into it when the ``rewound`` event is reduced (see ``requests.unreduced``).
    """
    job.flush_events()
    decision = decision_at(job, position)
    if decision is None:
        # The first decision is still being planned: nothing was sent, so nothing is taken back.
        return Kept(job.last_seq, None)
    job.tx.execute(
        update(DecisionRow)
        .where(DecisionRow.job == job.id, DecisionRow.last_seq > decision.last_seq)
        .values(superseded=True)
    )
    segments.supersede_after(job, decision.last_seq)
    job.draws = decision.draws
    job.strategy = decision.strategy
    job.strategy_version = decision.strategy_version
    job.strategy_parameters = decision.strategy_parameters
    job.changes["state"] = decision.state
    job.changes["told"] = 0  # what was heard of its proxies since then is not in that state
    job.overridden = job.overridden and _was_overridden(job, decision.last_seq)
    job.running = segments.covering_main(job.tx, job.id, position)
    number = job.add_event(
        "rewound",
        {"position": position, "decision": decision.event, "kept_through": decision.last_seq},
        reducible=True,
        session=job.session,
        position=position,
    )
    job.reduced_through = number - 1
    job.due_event = number
    return Kept(decision.last_seq, decision.event)


def _was_overridden(job: OpenJob, through: int) -> bool:
    """Return whether a person steered when the segments up to ``through`` had been sent."""
    body = job.tx.execute(
        select(EventRow.body)
        .where(EventRow.job == job.id, EventRow.type == "overridden", EventRow.segment <= through)
        .order_by(EventRow.number.desc())
        .limit(1)
    ).scalar_one_or_none()
    active: bool = body is not None and json.loads(body)["active"]
    return active
