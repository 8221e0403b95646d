"""Leases: who runs which trial, fenced by a token, and by the database's clock alone.

A worker that lost its lease changes nothing: every statement names the token of the lease that it speaks for. A lease
that ran out is taken over by the next claim; until then its worker may still go on with it.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pacesetter.protocol import (
    Claim,
    Cost,
    ExperimentSpec,
    Heartbeat,
    HeartbeatReply,
    Lease,
    Trial,
    TrialFailure,
    TrialResult,
    TrialReturn,
    coordinates,
)
from pacesetter_search.losses import is_loss
from sqlalchemy import ColumnElement, and_, case, false, or_, select, update

from pacesetter_service.database.models import JobRow, TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import Conflict
from pacesetter_service.experiments import points, repository
from pacesetter_service.experiments.repository import find_trial, lock_experiment


def claim(
    tx: Transaction, wish: Claim, project: str, seconds: float, now: datetime | None = None
) -> tuple[Lease, ...]:
    """Lease out trials that wait, or whose lease ran out, those planned first before others.

    Args:
        tx: Where to write.
        wish: Who asks, what it may run, how many it wants.
        project: Whose trials.
        seconds: How long a lease holds without a heartbeat.
        now: The moment; None: as the database has it.
    """
    moment = now or tx.execute(select(utc_now())).scalar_one()
    ran_out = and_(
        TrialRow.status == "leased",
        TrialRow.lease_expires_at < moment,
        TrialRow.attempts < TrialRow.max_attempts,
        ~TrialRow.cancel_requested,
    )
    # Replicas that claim at the same time pass over each other's rows; SQLite has one writer, and ignores the clause.
    chosen = tx.execute(
        select(TrialRow.id)
        .where(
            TrialRow.project == project,
            TrialRow.proxy.in_(wish.proxies),
            or_(TrialRow.status == "queued", ran_out),
        )
        .order_by(TrialRow.created_at, TrialRow.number)
        .limit(wish.most)
        .with_for_update(skip_locked=True)
    ).scalars()
    specs: dict[str, ExperimentSpec] = {}
    leases = []
    for trial in tuple(chosen):
        row = _lease_out(tx, trial, wish.worker, moment + timedelta(seconds=seconds))
        if row.experiment not in specs:
            specs[row.experiment] = repository.spec_of(tx, row.experiment)
        leases.append(_lease(row, specs[row.experiment], seconds))
    return tuple(leases)


def heartbeat(
    tx: Transaction, trial: str, beat: Heartbeat, project: str | None, seconds: float
) -> HeartbeatReply:
    """Let a lease hold on, and store what was measured since. Raises NotFound, or Conflict (``LEASE_LOST``)."""
    row = tx.execute(
        select(TrialRow.leases, TrialRow.points_through, TrialRow.cancel_requested)
        .where(*_held(trial, beat.token, project))
        .with_for_update()
    ).one_or_none()
    if row is None:
        find_trial(tx, trial, project)
        raise _lost(trial)
    through = points.store(tx, trial, row.leases, row.points_through, beat.points)
    now = tx.execute(select(utc_now())).scalar_one()
    tx.execute(
        update(TrialRow)
        .where(TrialRow.id == trial)
        .values(
            lease_expires_at=now + timedelta(seconds=seconds),
            step=case((TrialRow.step < beat.step, beat.step), else_=TrialRow.step),
            points_through=through,
        )
    )
    return HeartbeatReply(cancel=row.cancel_requested)


@dataclass(frozen=True, slots=True)
class Ended:
    """A lease that ended."""

    experiment: str
    trials: int
    """That ended with it: 1, or 0 where the trial waits anew."""


def finish(tx: Transaction, trial: str, result: TrialResult, project: str | None) -> Ended | None:
    """Store the result of a trial; return what ended by that, None where the same call came before.

    The same call again changes nothing. Points of a trial that names a job of its project leave no curve, as the job
    leaves that of the same run; a job that the project does not have leaves none, and the points do. So do they where
    the job goes by the trial's own name, whose curve is not kept in turn. A check of coordinates leaves none: it is no
    run of anything, whatever it reports on its way.

    Raises:
        NotFound: There is no such trial.
        Conflict: The lease is lost (``LEASE_LOST``).
    """
    loss = result.loss if is_loss(result.loss) else None
    checked = coordinates.from_metrics(result.metrics) is not None
    told = false() if checked else TrialRow.points_through >= 0
    leaves_curve = and_(told, ~_told_by(result.job))
    values = {
        "status": "done",
        "loss": loss,
        "metrics": repository.measured(result),
        "job": result.job,
        "curve_due_since": case((leaves_curve, utc_now()), else_=None),
        "step": _furthest(result),
    }
    return _end(tx, trial, result.token, project, values, result.cost, repeated=("done",))


def _furthest(result: TrialResult) -> Any:
    """Return the furthest step: points tell it where there are any, as a trial may count the steps of several runs."""
    silent = and_(TrialRow.points_through < 0, TrialRow.step < result.cost.steps)
    return case((silent, result.cost.steps), else_=TrialRow.step)


def fail(tx: Transaction, trial: str, failure: TrialFailure, project: str | None) -> Ended | None:
    """Note that an attempt failed: the trial waits anew where a retry may help and one is left, else it has failed.

    Returns and raises as :func:`finish`.
    """
    again = and_(TrialRow.attempts < TrialRow.max_attempts, ~TrialRow.cancel_requested)
    ended = case((TrialRow.cancel_requested, "cancelled"), else_="failed")
    status = case((again, "queued"), else_=ended) if failure.retry else ended
    return _end(
        *(tx, trial, failure.token, project),
        {"status": status, "error": failure.error},
        failure.cost,
        repeated=("failed", "queued", "cancelled"),
    )


def give_back(tx: Transaction, trial: str, back: TrialReturn, project: str | None) -> Ended | None:
    """Let a trial wait anew, as if it had not been claimed; one that was to stop is cancelled.

    Returns and raises as :func:`finish`.
    """
    status = case((TrialRow.cancel_requested, "cancelled"), else_="queued")
    values = {"status": status, "attempts": TrialRow.attempts - 1}
    repeated = ("queued", "cancelled")
    return _end(tx, trial, back.token, project, values, Cost(), repeated=repeated)


def reap(tx: Transaction, now: datetime | None = None) -> tuple[str, ...]:
    """End the trials whose last lease ran out, and those that were to stop; return the experiments.

    The others wait for the next claim.
    """
    moment = now or tx.execute(select(utc_now())).scalar_one()
    over = (
        TrialRow.status == "leased",
        TrialRow.lease_expires_at < moment,
        or_(TrialRow.attempts >= TrialRow.max_attempts, TrialRow.cancel_requested),
    )
    found = tx.execute(select(TrialRow.experiment).where(*over).distinct().limit(100)).scalars()
    experiments = tuple(found)
    for experiment in experiments:
        lock_experiment(tx, experiment)
        rows = tx.execute(
            update(TrialRow)
            .where(*over, TrialRow.experiment == experiment)
            .values(
                status=case((TrialRow.cancel_requested, "cancelled"), else_="failed"),
                lease_token=None,
                ended_at=utc_now(),
            )
            .returning(TrialRow.id, TrialRow.attempts, TrialRow.lease_owner, TrialRow.step)
        ).all()
        for row in rows:
            tx.execute(update(TrialRow).where(TrialRow.id == row.id).values(error=_silence(row)))
    return experiments


def _end(
    tx: Transaction,
    trial: str,
    token: str,
    project: str | None,
    values: dict[str, Any],
    cost: Cost,
    *,
    repeated: tuple[str, ...],
) -> Ended | None:
    """Change a trial whose lease is held, which ends with it; return what ended, None where nothing changed.

    ``repeated`` are the statuses of a trial that says that the same call has been answered before.
    """
    found = find_trial(tx, trial, project)
    experiment: str = found.experiment
    lock_experiment(tx, experiment)
    ended = tx.execute(
        update(TrialRow)
        .where(*_held(trial, token, project))
        .values(
            **values,
            lease_expires_at=None,
            **{name: getattr(TrialRow, name) + getattr(cost, name) for name in Cost.model_fields},
        )
        .returning(TrialRow.status)
    ).one_or_none()
    if ended is None:
        row = find_trial(tx, trial, project)
        if row.lease_token != token or row.status not in repeated:
            raise _lost(trial)
        return None
    if ended.status == "queued":
        tx.wakes.add(repository.queue_of(found.project))
        return Ended(experiment, 0)
    tx.execute(update(TrialRow).where(TrialRow.id == trial).values(ended_at=utc_now()))
    return Ended(experiment, 1)


def _told_by(job: str | None) -> ColumnElement[bool]:
    """Return whether a job of a trial's project leaves the curve of the same run.

    Not one under the trial's own name (``RunningTrial.attach``), which knows of the experiment's workload nothing.
    """
    if job is None:
        return false()
    own = (JobRow.id == job, JobRow.project == TrialRow.project, JobRow.external_id != TrialRow.id)
    return select(JobRow.id).where(*own).correlate(TrialRow).exists()


def _held(trial: str, token: str, project: str | None) -> tuple[Any, ...]:
    conditions = (
        TrialRow.id == trial,
        TrialRow.lease_token == token,
        TrialRow.status == "leased",
    )
    return conditions if project is None else (*conditions, TrialRow.project == project)


def _lease_out(tx: Transaction, trial: str, worker: str, until: datetime) -> Any:
    return tx.execute(
        update(TrialRow)
        .where(TrialRow.id == trial)
        .values(
            status="leased",
            attempts=TrialRow.attempts + 1,
            leases=TrialRow.leases + 1,
            lease_owner=worker,
            lease_token=secrets.token_urlsafe(24),
            lease_expires_at=until,
            points_through=-1,
            started_at=case((TrialRow.started_at.is_(None), utc_now()), else_=TrialRow.started_at),
        )
        .returning(TrialRow.__table__)
    ).one()


def _lease(row: Any, spec: ExperimentSpec, seconds: float) -> Lease:
    trial = Trial(
        id=row.id,
        experiment=row.experiment,
        number=row.number,
        proxy=row.proxy,
        parameters={**spec.fixed, **row.parameters},
        seed=repository.trial_seed(spec.seed, row.number),
        attempt=row.attempts,
        progress_seconds=spec.progress_seconds,
    )
    return Lease(trial=trial, token=row.lease_token, seconds=seconds)


def _silence(row: Any) -> str:
    return (
        f"lease lost {row.attempts} times: worker {row.lease_owner!r} fell silent at step {row.step}; "
        "see its log, and whether its machine ran out of memory"
    )


def _lost(trial: str) -> Conflict:
    return Conflict(
        f"the lease of trial {trial} is lost: it ran out and was given to another worker, or has ended",
        code="LEASE_LOST",
        hint="stop the trial and drop its result; claim anew",
    )
