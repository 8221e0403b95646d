"""When an experiment asks its strategy, what becomes of the answer, and when it is over."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacesetter.protocol import Cost, ExperimentSpec, TrialPlan
from pacesetter_search.studies import Finished, StudyStrategy
from sqlalchemy import func, select, update

from pacesetter_service.database.models import ExperimentRow, TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import StrategyRefused
from pacesetter_service.experiments import repository
from pacesetter_service.experiments.repository import change_experiment, lock_experiment
from pacesetter_service.experiments.strategies import Studies
from pacesetter_service.experiments.views import PENDING, ExperimentStatus

AHEAD = 64
"""Trials that a strategy which learns nothing from results keeps queued: what one claim can take."""

logger = logging.getLogger(__name__)


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


def advance(tx: Transaction, experiment: str, studies: Studies, *, most_wanted: int = 0) -> None:
    """Ask the strategy for trials if some are wanted, at once or later, and end the experiment if it is over.

    Args:
        tx: Where to write.
        experiment: Locked by this first.
        studies: The strategies.
        most_wanted: Trials that a worker asked for and did not get.
    """
    row = lock_experiment(tx, experiment)
    if row.status != "running":
        return
    wanted = max(row.wanted, most_wanted)
    if wanted > row.wanted:
        change_experiment(tx, experiment, wanted=wanted)
    counts, cost = repository.counts_of(tx, [experiment])[experiment]
    spec = ExperimentSpec.model_validate_json(row.spec)
    if spec.max_flops is not None and cost.flops >= spec.max_flops:
        _cancel_queued(tx, experiment)
        if counts.leased == 0:
            _end(tx, experiment, "completed", f"its {spec.max_flops:g} FLOPs are spent")
        return
    try:
        strategy = studies.build(row.strategy, row.strategy_parameters)
    except StrategyRefused as error:
        # An older release does not know it; results that come in are kept nevertheless.
        _fail(tx, row, str(error))
        return
    most = _needed(counts.queued, wanted, type(strategy))
    if row.sated or most == 0:
        return
    if strategy.slow:
        if row.due_since is None:
            change_experiment(tx, experiment, due_since=utc_now())
        return
    _plan_now(tx, row, strategy, most, studies)


def question_of(tx: Transaction, experiment: str, studies: Studies) -> Question | None:
    """Return what to ask the strategy of an experiment; None where nothing is wanted any more."""
    row = tx.execute(
        select(ExperimentRow.__table__).where(ExperimentRow.id == experiment)
    ).one_or_none()
    if row is None or row.status != "running":
        return None
    counts, _ = repository.counts_of(tx, [experiment])[experiment]
    most = _needed(counts.queued, row.wanted, studies.type_of(row.strategy))
    return None if row.sated or most == 0 else _question(tx, row, most)


def commit(
    tx: Transaction, question: Question, plans: Sequence[TrialPlan], studies: Studies
) -> bool:
    """Queue what a strategy answered, unless the experiment was planned further or ended meanwhile; return whether.

    Trials that ended while the strategy thought do not make its answer void: it would never have one where trials are
    quicker than it.
    """
    row = lock_experiment(tx, question.experiment)
    if row.status != "running" or row.planned != question.planned:
        return False
    current = row.revision == question.revision
    repository.insert_trials(tx, row, question.spec, plans)
    change_experiment(
        tx,
        row.id,
        planned=row.planned + len(plans),
        wanted=0,
        sated=current and len(plans) < question.most,
        due_since=None,
    )
    if current and not plans and not question.pending:
        _end(tx, row.id, "completed", "its strategy plans no more trials")
    elif not current:
        advance(tx, row.id, studies)
    return True


def fail(tx: Transaction, question: Question, problem: str) -> None:
    """End an experiment whose strategy failed; what runs may finish."""
    row = lock_experiment(tx, question.experiment)
    if row.status == "running" and row.planned == question.planned:
        _fail(tx, row, problem)


def cancel(tx: Transaction, experiment: str, by: str) -> None:
    """Cancel an experiment: nothing more is claimed, and workers are told to stop. One that is over stays as it is."""
    row = lock_experiment(tx, experiment)
    if row.status == "running":
        _end(tx, experiment, "cancelled", f"{by} cancelled it")
    _cancel_queued(tx, experiment)
    tx.execute(
        update(TrialRow)
        .where(TrialRow.experiment == experiment, TrialRow.status == "leased")
        .values(cancel_requested=True)
    )


def trial_ended(tx: Transaction, experiment: str, studies: Studies) -> None:
    """Tell an experiment that one of its trials has ended."""
    row = lock_experiment(tx, experiment)
    change_experiment(tx, experiment, revision=row.revision + 1, sated=False)
    advance(tx, experiment, studies)


def due_experiments(tx: Transaction) -> tuple[str, ...]:
    """Return the experiments whose slow strategy has to be asked, longest waiting first."""
    rows = tx.execute(
        select(ExperimentRow.id)
        .where(ExperimentRow.due_since.is_not(None), ExperimentRow.status == "running")
        .order_by(ExperimentRow.due_since)
        .limit(100)
    )
    return tuple(rows.scalars())


def hungry(
    tx: Transaction, project: str, studies: Studies, proxies: Sequence[str], missing: int
) -> tuple[str, ...]:
    """Return the experiments that lack trials, oldest first.

    Args:
        tx: Where to read.
        project: Whose they are.
        studies: The strategies.
        proxies: That a worker may run.
        missing: Trials that it wanted and did not get.
    """
    running = tx.execute(
        select(*(ExperimentRow.id, ExperimentRow.strategy, ExperimentRow.wanted))
        .where(
            ExperimentRow.status == "running",
            ExperimentRow.project == project,
            ExperimentRow.proxy.in_(proxies),
            ~ExperimentRow.sated,
        )
        .order_by(ExperimentRow.created_at)
    ).all()
    if not running:
        return ()
    counted = tx.execute(
        select(TrialRow.experiment, func.count().label("queued"))
        .where(TrialRow.project == project, TrialRow.status == "queued")
        .group_by(TrialRow.experiment)
    )
    queued = {row.experiment: row.queued for row in counted}
    return tuple(row.id for row in running if _lacks(row, queued.get(row.id, 0), missing, studies))


def _lacks(row: Any, queued: int, missing: int, studies: Studies) -> bool:
    try:
        strategy = studies.type_of(row.strategy)
    except StrategyRefused:
        return True  # `advance` says so, and ends it
    if _plans_ahead(strategy):
        return _needed(queued, 0, strategy) > 0
    # It has been told of as many as that already: a worker that polls must not write each time.
    wanted: int = row.wanted
    return missing > wanted


def _needed(queued: int, wanted: int, strategy: type[StudyStrategy]) -> int:
    """Return how many trials to ask for. A strategy that learns is asked for no more than there are workers for."""
    if _plans_ahead(strategy):
        return AHEAD - queued if queued < AHEAD // 2 else 0
    return max(0, max(wanted, 1) - queued)


def _plans_ahead(strategy: type[StudyStrategy]) -> bool:
    return not (strategy.slow or strategy.learns)


def _plan_now(
    tx: Transaction, row: Any, strategy: StudyStrategy, most: int, studies: Studies
) -> None:
    question = _question(tx, row, most)
    try:
        plans = question.ask(strategy)
    except Exception as error:
        # A defect of a strategy must not take away the result that a worker brings in this very transaction.
        logger.exception("strategy %s of experiment %s failed", row.strategy, row.id)
        fail(tx, question, f"{type(error).__name__}: {error}")
        return
    commit(tx, question, plans, studies)


def _question(tx: Transaction, row: Any, most: int) -> Question:
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
    )


def _finished(trial: Any, spec: ExperimentSpec) -> Finished:
    return Finished(
        number=trial.number,
        parameters={**spec.fixed, **trial.parameters},
        loss=trial.loss,
        cost=Cost(**{name: getattr(trial, name) for name in Cost.model_fields}),
        status="done" if trial.status == "done" else "failed",
    )


def _fail(tx: Transaction, row: Any, problem: str) -> None:
    _cancel_queued(tx, row.id)
    _end(tx, row.id, "failed", f"its strategy {row.strategy!r} failed: {problem}")


def _cancel_queued(tx: Transaction, experiment: str) -> None:
    tx.execute(
        update(TrialRow)
        .where(TrialRow.experiment == experiment, TrialRow.status == "queued")
        .values(status="cancelled", ended_at=utc_now())
    )


def _end(tx: Transaction, experiment: str, status: ExperimentStatus, reason: str) -> None:
    change_experiment(
        tx, experiment, status=status, reason=reason, ended_at=utc_now(), due_since=None
    )
