"""What a strategy of experiments is asked: every trial that ended, every other one, and how many are wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacesetter.protocol import Cost, ExperimentSpec, TrialPlan
from pacesetter_search.studies import Finished, StudyStrategy
from sqlalchemy import select

from pacesetter_service.database.models import ExperimentRow, TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.experiments.repository import experiment_not_found
from pacesetter_service.experiments.views import PENDING


@dataclass(frozen=True, slots=True)
class Question:
    """What a strategy is asked, and where the experiment stood then."""

    experiment: str
    strategy: str
    parameters: dict[str, Any]
    spec: ExperimentSpec
    finished: tuple[Finished, ...]
    pending: tuple[TrialPlan, ...]
    most: int
    planned: int
    revision: int
    over: bool = False
    """Whether nothing more is planned."""

    def ask(self, strategy: StudyStrategy) -> tuple[TrialPlan, ...]:
        """Return the strategy's answer.

        Raises:
            ValueError: It asks for something that is not in the space.
        """
        plans = tuple(
            strategy.plan(self.spec, self.finished, self.pending, self.most, self.spec.seed)
        )
        check_plans(self.spec, plans, self.most)
        return plans


def check_plans(spec: ExperimentSpec, plans: Sequence[TrialPlan], most: int) -> None:
    """Raise ValueError if a strategy asks for more than it was asked for, or for what is not in the space."""
    if len(plans) > most:
        raise ValueError(f"it planned {len(plans)} trials, and {most} were wanted")
    for plan in plans:
        if plan.parameters.keys() != spec.space.keys():
            raise ValueError(
                f"it planned values for {sorted(plan.parameters)}, and the space has {sorted(spec.space)}"
            )


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
    query = select(ExperimentRow.__table__).where(ExperimentRow.id == experiment)
    if project is not None:
        query = query.where(ExperimentRow.project == project)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise experiment_not_found(experiment)
    return read_question(tx, row, 0)
