"""SQL on experiments and their trials."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from pacesetter.protocol import Cost, ExperimentSpec, TrialPlan, TrialResult, TrialStatus
from pacesetter.schedules import Schedule
from pydantic import JsonValue
from sqlalchemy import Float, and_, case, cast, func, select, update

from pacesetter_service.database.models import ExperimentRow, TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import NotFound, Refused
from pacesetter_service.experiments.strategies import Choice
from pacesetter_service.experiments.views import (
    ExperimentStatus,
    ExperimentView,
    TrialCounts,
    TrialView,
)
from pacesetter_service.paging import bounded, newest_first, page_of
from pacesetter_service.projects import ensure_project
from pacesetter_service.views import Page

_AT_ONCE = 500
"""Trials of one INSERT: PostgreSQL takes 65,535 parameters."""


def trial_seed(experiment_seed: int, number: int) -> int:
    """Return the seed of a trial, below 2**32: the same at every attempt, and in an experiment that is repeated."""
    digest = hashlib.sha256(f"trial {experiment_seed} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def insert_experiment(
    tx: Transaction, spec: ExperimentSpec, choice: Choice, project: str, job: str | None = None
) -> str:
    """Store a new experiment, as yet without trials; return its id. It ends with ``job``, where it began with one."""
    ensure_project(tx, project)
    experiment = f"exp_{secrets.token_hex(10)}"
    tx.execute(
        tx.insert_into(ExperimentRow).values(
            id=experiment,
            project=project,
            name=spec.name,
            proxy=spec.proxy,
            status="running",
            strategy=choice.name,
            strategy_parameters=choice.parameters,
            # What was not given is not written, so that it is still known afterwards.
            spec=spec.model_dump_json(exclude_unset=True),
            reason="",
            job=job,
        )
    )
    return experiment


def lock_experiment(tx: Transaction, experiment: str) -> Any:
    """Return the row of an experiment, locked until the unit of work ends. Raises NotFound.

    Whoever changes an experiment and trials of it locks the experiment first, so that no two wait for each other.
    """
    row = tx.execute(
        select(ExperimentRow.__table__).where(ExperimentRow.id == experiment).with_for_update()
    ).one_or_none()
    if row is None:
        raise experiment_not_found(experiment)
    return row


def change_experiment(tx: Transaction, experiment: str, **values: Any) -> None:
    """Change columns of an experiment."""
    tx.execute(update(ExperimentRow).where(ExperimentRow.id == experiment).values(values))


def queue_of(project: str) -> str:
    """Return the name under which workers are woken that wait for a project's trials."""
    return f"trials:{project}"


def insert_trials(
    tx: Transaction, row: Any, spec: ExperimentSpec, plans: Sequence[TrialPlan]
) -> None:
    """Queue the trials that a strategy asked for, under the next numbers."""
    values = [
        {
            "id": f"trl_{secrets.token_hex(10)}",
            "project": row.project,
            "experiment": row.id,
            "number": number,
            "proxy": row.proxy,
            "status": "queued",
            "parameters": plan.parameters,
            "why": plan.why,
            "numbers": plan.numbers,
            "max_attempts": spec.max_attempts,
        }
        for number, plan in enumerate(plans, row.planned + 1)
    ]
    for first in range(0, len(values), _AT_ONCE):
        tx.execute(tx.insert_into(TrialRow), values[first : first + _AT_ONCE])
    if values:
        tx.wakes.add(queue_of(row.project))


def find_trial(tx: Transaction, trial: str, project: str | None) -> Any:
    """Return the row of a trial, of any project where none is named. Raises NotFound (``TRIAL_NOT_FOUND``)."""
    query = select(TrialRow.__table__).where(TrialRow.id == trial)
    if project is not None:
        query = query.where(TrialRow.project == project)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise NotFound(
            f"no trial has the id {trial!r}",
            code="TRIAL_NOT_FOUND",
            hint="list the trials with GET /v1/experiments/{id}/trials",
        )
    return row


def get_trial(tx: Transaction, trial: str, project: str | None = None) -> TrialView:
    """Return a trial. Raises NotFound (``TRIAL_NOT_FOUND``)."""
    row = find_trial(tx, trial, project)
    return trial_view(row, spec_of(tx, row.experiment))


def spec_of(tx: Transaction, experiment: str) -> ExperimentSpec:
    """Return what an experiment was created with."""
    query = select(ExperimentRow.spec).where(ExperimentRow.id == experiment)
    return ExperimentSpec.model_validate_json(tx.execute(query).scalar_one())


def get_experiment(tx: Transaction, experiment: str, project: str | None = None) -> ExperimentView:
    """Return an experiment, of any project where none is named. Raises NotFound (``EXPERIMENT_NOT_FOUND``)."""
    query = select(ExperimentRow.__table__).where(ExperimentRow.id == experiment)
    if project is not None:
        query = query.where(ExperimentRow.project == project)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise experiment_not_found(experiment)
    return _views(tx, [row])[0]


def list_experiments(
    tx: Transaction,
    project: str | None,
    status: ExperimentStatus | None,
    page_size: int,
    page_token: str,
) -> Page[ExperimentView]:
    """Return a page of experiments, newest first. Raises Refused for a token or a size that cannot be used."""
    size = bounded(page_size)
    query = select(ExperimentRow.__table__)
    for column, value in ((ExperimentRow.project, project), (ExperimentRow.status, status)):
        if value is not None:
            query = query.where(column == value)
    query = newest_first(query, ExperimentRow.created_at, ExperimentRow.id, size, page_token)
    rows = tx.execute(query).all()
    return page_of(rows, _views(tx, rows), size)


def list_trials(
    tx: Transaction,
    experiment: str,
    status: TrialStatus | None,
    page_size: int,
    page_token: str,
) -> Page[TrialView]:
    """Return a page of an experiment's trials by their numbers. Raises Refused (``BAD_PAGE_TOKEN``)."""
    size = bounded(page_size)
    query = (
        select(TrialRow.__table__)
        .where(TrialRow.experiment == experiment, TrialRow.number > _after(page_token))
        .order_by(TrialRow.number)
        .limit(size + 1)
    )
    if status is not None:
        query = query.where(TrialRow.status == status)
    rows = tx.execute(query).all()
    spec = spec_of(tx, experiment)
    token = str(rows[size - 1].number) if len(rows) > size else ""
    return Page(tuple(trial_view(row, spec) for row in rows[:size]), token)


def best_trial(tx: Transaction, experiment: str) -> Any:
    """Return the row of the trial with the lowest loss; None where none has one."""
    return tx.execute(
        select(TrialRow.__table__)
        .where(
            TrialRow.experiment == experiment,
            TrialRow.status == "done",
            TrialRow.loss.is_not(None),
        )
        .order_by(TrialRow.loss, TrialRow.number)
        .limit(1)
    ).one_or_none()


def counts_of(tx: Transaction, experiments: Sequence[str]) -> dict[str, tuple[TrialCounts, Cost]]:
    """Return how the trials of experiments stand and what they cost, by experiment."""
    diverged = case((and_(TrialRow.status == "done", TrialRow.loss.is_(None)), 1), else_=0)
    rows = tx.execute(
        select(
            TrialRow.experiment,
            TrialRow.status,
            func.count().label("trials"),
            func.sum(diverged).label("diverged"),
            # As floats: 64 bits do not hold ten thousand times the most that a worker may say.
            *(
                func.sum(cast(getattr(TrialRow, name), Float)).label(name)
                for name in Cost.model_fields
            ),
        )
        .where(TrialRow.experiment.in_(experiments))
        .group_by(TrialRow.experiment, TrialRow.status)
    ).all()
    found = {}
    for experiment in experiments:
        own = [row for row in rows if row.experiment == experiment]
        counts = {row.status: int(row.trials) for row in own}
        cost = {name: sum(getattr(row, name) for row in own) for name in Cost.model_fields}
        found[experiment] = (
            TrialCounts(**counts, diverged=sum(int(row.diverged) for row in own)),
            Cost.total(**cost),
        )
    return found


_SCHEDULE = ""
"""Where a schedule stands among metrics, none of which has an empty name."""


def trial_view(row: Any, spec: ExperimentSpec) -> TrialView:
    """Return a trial of an experiment with this spec."""
    found = dict(row.metrics or {})
    schedule = found.pop(_SCHEDULE, None)
    return TrialView(
        **{name: getattr(row, name) for name in _SAME},
        parameters={**spec.fixed, **row.parameters},
        seed=trial_seed(spec.seed, row.number),
        worker=row.lease_owner,
        diverged=row.status == "done" and row.loss is None,
        metrics={name: float(value) for name, value in found.items()},
        schedule=None if schedule is None else Schedule.model_validate(schedule),
        cost=Cost.total(row.steps, row.tokens, row.flops, row.seconds),
    )


_SAME = (
    *("id", "experiment", "number", "status", "why", "numbers", "attempts", "step", "loss"),
    *("error", "job", "curve", "created_at", "started_at", "ended_at"),
)


def measured(result: TrialResult) -> dict[str, JsonValue]:
    """Return the document of what a trial found: metrics, which are numbers, and a schedule, which is none."""
    metrics: dict[str, JsonValue] = dict(result.metrics)
    if result.schedule is not None:
        metrics[_SCHEDULE] = result.schedule.model_dump(mode="json")
    return metrics


def experiment_not_found(experiment: str) -> NotFound:
    """Return the error of an experiment that is not there, or not the caller's."""
    return NotFound(
        f"no experiment has the id {experiment!r}",
        code="EXPERIMENT_NOT_FOUND",
        hint="list the experiments with GET /v1/experiments",
    )


def _views(tx: Transaction, rows: Sequence[Any]) -> list[ExperimentView]:
    found = counts_of(tx, [row.id for row in rows])
    return [_experiment_view(tx, row, *found[row.id]) for row in rows]


def _experiment_view(tx: Transaction, row: Any, counts: TrialCounts, cost: Cost) -> ExperimentView:
    spec = ExperimentSpec.model_validate_json(row.spec)
    best = best_trial(tx, row.id)
    return ExperimentView(
        id=row.id,
        project=row.project,
        name=row.name,
        status=row.status,
        reason=row.reason,
        strategy=row.strategy,
        planning=row.due_since is not None,
        spec=spec,
        trials=counts,
        cost=cost,
        best=None if best is None else trial_view(best, spec),
        job=row.job,
        coordinates=row.coordinates,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def _after(page_token: str) -> int:
    if not page_token:
        return 0
    if not page_token.isdecimal() or len(page_token) > 18:
        raise Refused(
            "page_token cannot be read",
            code="BAD_PAGE_TOKEN",
            hint="pass the next_page_token of the page before, unchanged",
        )
    return int(page_token)
