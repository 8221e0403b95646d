"""Reads what a strategy of experiments is asked."""

from typing import Any

from pacesetter.protocol import Cost, ExperimentSpec, TrialPlan
from pacesetter_search.studies import Finished
from sqlalchemy import select

from pacesetter_service.database.models import ExperimentRow, TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.experiments.checking import read_check
from pacesetter_service.experiments.questions import Question
from pacesetter_service.experiments.repository import experiment_not_found
from pacesetter_service.experiments.views import PENDING, CoordinatesView


def read_question(tx: Transaction, row: Any, most: int) -> Question:
    """Return what to ask the strategy of an experiment, given its row: for at most so many trials."""
    trials = tx.execute(
        select(
            *(TrialRow.number, TrialRow.status, TrialRow.parameters, TrialRow.why),
            *(TrialRow.numbers, TrialRow.loss),
            *(getattr(TrialRow, name) for name in Cost.model_fields),
        )
        .where(TrialRow.experiment == row.id, TrialRow.status != "cancelled")
        .order_by(TrialRow.number)
    ).all()
    spec = ExperimentSpec.model_validate_json(row.spec)
    return Question(
        experiment=row.id,
        strategy=row.strategy,
        parameters=row.strategy_parameters,
        spec=spec,
        finished=tuple(_finished(trial, spec) for trial in trials if trial.status not in PENDING),
        pending=tuple(
            TrialPlan(parameters=trial.parameters, why=trial.why, numbers=trial.numbers)
            for trial in trials
            if trial.status in PENDING
        ),
        most=most,
        planned=row.planned,
        revision=row.revision,
        over=row.status != "running",
    )


def _finished(trial: Any, spec: ExperimentSpec) -> Finished:
    return Finished(
        number=trial.number,
        parameters={**spec.fixed, **trial.parameters},
        loss=trial.loss,
        cost=Cost.total(**{name: getattr(trial, name) for name in Cost.model_fields}),
        status="done" if trial.status == "done" else "failed",
    )


def read_results(tx: Transaction, experiment: str, project: str | None) -> Question:
    """Return an experiment with its trials, to be asked for nothing. Raises NotFound."""
    return read_question(tx, _row(tx, experiment, project), 0)


def read_study(
    tx: Transaction, experiment: str, project: str | None
) -> tuple[Question, CoordinatesView | None]:
    """Return an experiment with its trials, and the check of coordinates that it asked for. Raises NotFound."""
    row = _row(tx, experiment, project)
    question = read_question(tx, row, 0)
    return question, read_check(tx, row, question.spec)


def _row(tx: Transaction, experiment: str, project: str | None) -> Any:
    query = select(ExperimentRow.__table__).where(ExperimentRow.id == experiment)
    if project is not None:
        query = query.where(ExperimentRow.project == project)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise experiment_not_found(experiment)
    return row
