"""From a job that has ended to its curve."""

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pacesetter.curves import averaged
from pacesetter.errors import CurveError
from pacesetter.protocol import JobSpec, LedgerTotals, Workload
from pacesetter_search.memory import FoundPeak, Known, record_of
from sqlalchemy import select, update

from pacesetter_service.curves import repository
from pacesetter_service.curves.main_line import points_of_rows
from pacesetter_service.curves.repository import NewCurve
from pacesetter_service.database.models import EventRow, JobRow, TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import StrategyRefused
from pacesetter_service.jobs import reading
from pacesetter_service.jobs.open_job import lock_job
from pacesetter_service.planning.messages import Facts
from pacesetter_service.planning.registry import Registry
from pacesetter_service.reports.curves import main_rows
from pacesetter_service.reports.packing import FloatArray

HALF = 0.5
"""Share of its budget from which on a run that failed or was lost is evidence."""

WHOLE = 0.99
"""Share from which on it ended with its budget: logs may be a row short of it."""

JOBS_AT_ONCE = 100

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has ended, with all that its curve is made of."""

    id: str
    project: str
    name: str
    status: str
    spec: JobSpec
    facts: Facts
    strategy: str
    strategy_version: int
    strategy_parameters: dict[str, Any]
    state: dict[str, Any]
    position: int
    budget: int
    since: datetime
    """When it ended: the mark that its curve is still to be made."""
    spent: LedgerTotals
    validation_loss: float | None
    rows: dict[str, FloatArray]
    is_trial: bool
    """Whether a trial of its project runs under its name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The curve of a job, or why there is none."""

    curve: NewCurve | None
    problem: str = ""


def ended_jobs(tx: Transaction) -> tuple[str, ...]:
    """Return the jobs whose curve is still to be made, longest waiting first."""
    rows = tx.execute(
        select(JobRow.id)
        .where(JobRow.unrecorded_since.is_not(None))
        .order_by(JobRow.unrecorded_since)
        .limit(JOBS_AT_ONCE)
    )
    return tuple(row.id for row in rows)


def read_ended(tx: Transaction, job_id: str) -> EndedJob | None:
    """Return a job whose curve is to be made; None if somebody else made it."""
    row = tx.execute(select(JobRow.__table__).where(JobRow.id == job_id)).one()
    if row.unrecorded_since is None:
        return None
    spec = JobSpec.model_validate_json(row.spec)
    return EndedJob(
        id=row.id,
        project=row.project,
        name=row.name,
        status=row.status,
        spec=spec,
        facts=Facts.of(spec, row.authority, row.overhead_cap),
        strategy=row.strategy,
        strategy_version=row.strategy_version,
        strategy_parameters=row.strategy_parameters,
        state=row.state,
        position=row.main_position,
        budget=row.budget or spec.budget.total,
        since=row.unrecorded_since,
        spent=reading.ledger(tx, job_id).totals,
        validation_loss=_validation_loss(tx, job_id, row.session),
        rows=main_rows(tx, job_id, ("loss", "lr")),
        is_trial=tx.execute(
            select(TrialRow.id).where(
                TrialRow.id == spec.external_id, TrialRow.project == row.project
            )
        ).first()
        is not None,
    )


def make_curve(job: EndedJob, registry: Registry) -> Outcome:
    """Return the curve of a job that has ended, or why it is none."""
    share = job.position / job.budget
    if job.is_trial:
        return Outcome(
            None, f"the job is trial {job.spec.external_id}, whose own points leave the curve"
        )
    if job.status not in ("completed", "failed", "lost"):
        return Outcome(None, f"the job is {job.status}")
    if job.status != "completed" and share < HALF:
        return Outcome(
            None, f"the job {_ended(job)} at {share:.0%} of its budget; half is the least"
        )
    batch = _batch(job)
    tokens_clock = job.spec.budget.clock == "tokens"
    if tokens_clock and batch is None:
        return Outcome(None, "the job counts tokens, and how many a step has is not known")
    per_step = batch if tokens_clock else None
    warmup = job.spec.base.warmup.length if job.spec.base.warmup else 0
    try:
        points = averaged(
            points_of_rows(
                job.rows,
                tokens_per_step=per_step,
                below=job.position,
                warmup=round(warmup / (per_step or 1.0)),
            )
        )
        known = _known(job, batch, points.last, registry, completed=share >= WHOLE)
        return Outcome(NewCurve(job.project, record_of(points, known), points))
    except CurveError as error:
        return Outcome(None, str(error))


def keep(tx: Transaction, job: EndedJob, outcome: Outcome) -> bool:
    """Store what came of a job, with an event that says so; return False if it ended anew or was kept meanwhile."""
    # The first one to take the mark off stores it: another replica may have made the same.
    taken = tx.execute(
        update(JobRow)
        .where(JobRow.id == job.id, JobRow.unrecorded_since == job.since)
        .values(unrecorded_since=None)
    )
    if taken.rowcount != 1:
        return False
    opened = lock_job(tx, job.id)
    if outcome.curve is None:
        opened.add_event("curve_not_kept", {"problem": outcome.problem})
    else:
        repository.put_job_curve(tx, outcome.curve)
        record = outcome.curve.record
        body = {"curve": record.id, "completed": record.completed, "final_loss": record.final_loss}
        opened.add_event("curve_kept", body)
    opened.save()
    return True


def _known(
    job: EndedJob, batch: float | None, steps: int, registry: Registry, *, completed: bool
) -> Known:
    first = job.spec.groups[0]
    return Known(
        id=f"crv_{hashlib.sha256(f'job {job.id}'.encode()).hexdigest()[:20]}",
        name=job.name,
        source="job",
        job=job.id,
        workload=_workload(job.spec, batch, steps),
        regime=job.spec.regime,
        optimizer=first.optimizer,
        momentum=first.momentum,
        weight_decay=first.weight_decay,
        completed=job.status == "completed" and completed,
        final_loss=job.validation_loss,
        found=_found(job, registry),
    )


def _workload(spec: JobSpec, batch: float | None, steps: int) -> Workload:
    """Return what the job declared, and what was measured where it declared nothing."""
    declared = spec.workload
    parameters = declared.parameters or sum(group.parameters for group in spec.groups) or None
    epochs = declared.epochs
    if epochs is None and spec.capabilities.epoch_batches is not None:
        epochs = steps / spec.capabilities.epoch_batches
    measured = {"parameters": parameters, "batch_tokens": batch, "epochs": epochs}
    return declared.model_copy(update=measured)


def _batch(job: EndedJob) -> float | None:
    """Return tokens of an optimizer step: as declared, else as spent; None: not known."""
    if job.spec.workload.batch_tokens is not None:
        return job.spec.workload.batch_tokens
    if job.spent.main_steps == 0 or job.spent.main_tokens < job.spent.main_steps:
        return None
    return job.spent.main_tokens / job.spent.main_steps


def _found(job: EndedJob, registry: Registry) -> tuple[FoundPeak, ...]:
    """Return what the strategy's own short runs say; nothing where this release cannot read its state."""
    try:
        strategy = registry.build(job.strategy, job.strategy_parameters)
    except StrategyRefused:
        return ()
    if strategy.version != job.strategy_version:
        return ()
    try:
        return strategy.found_peaks(job.state, job.facts.for_strategy())
    except Exception:
        # The curve is evidence by itself; a defect of a strategy must not take it away.
        logger.exception("strategy %s cannot say what job %s found", job.strategy, job.id)
        return ()


def _validation_loss(tx: Transaction, job_id: str, session: str | None) -> float | None:
    """Return the loss of the validation that the job ended with, if it had one."""
    body = tx.execute(
        select(EventRow.body)
        .where(EventRow.job == job_id, EventRow.type == "finished", EventRow.session == session)
        .order_by(EventRow.number.desc())
        .limit(1)
    ).scalar_one_or_none()
    loss = None if body is None else json.loads(body).get("validation_loss")
    return None if loss is None else float(loss)


def _ended(job: EndedJob) -> str:
    return "was lost" if job.status == "lost" else job.status
