"""When an experiment asks its strategy, what becomes of the answer, and when it is over."""

from collections.abc import Sequence
from typing import Any

from pacesetter.protocol import ExperimentSpec, TrialPlan
from pacesetter_search.studies import StudyStrategy
from sqlalchemy import func, select, update

from pacesetter_service.database.models import ExperimentRow, TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import StrategyRefused
from pacesetter_service.experiments import repository
from pacesetter_service.experiments.checking import begin_check
from pacesetter_service.experiments.questions import Question
from pacesetter_service.experiments.reading import read_question
from pacesetter_service.experiments.repository import change_experiment, lock_experiment
from pacesetter_service.experiments.strategies import Studies
from pacesetter_service.experiments.views import ExperimentStatus

_SAID: dict[str, Any] = {"revision": ExperimentRow.revision + 1}
"""Whoever listens to an experiment is told that it is over as of a trial that ended."""

AHEAD = 64
"""Trials that a strategy which learns nothing from results keeps queued: what one claim can take."""


def advance(
    tx: Transaction, experiment: str, studies: Studies, *, ended: int = 0, missing: int = 0
) -> bool:
    """Mark an experiment as due if it lacks trials, and end it if its FLOPs are spent; return whether it is due.

    No strategy is asked here: whoever brings a result does not wait for it within a transaction.

    Args:
        tx: Where to write.
        experiment: Locked by this first.
        studies: The strategies.
        ended: Trials of it that have just ended.
        missing: Trials that a worker asked for and did not get.
    """
    row = lock_experiment(tx, experiment)
    values = {
        "revision": row.revision + ended,
        "wanted": max(row.wanted, missing),
        "sated": row.sated and not ended,
    }
    if row.status == "running":
        values |= _next(tx, row, values["wanted"], studies, sated=values["sated"])
    else:
        _plan_no_more(tx, experiment)
    change_experiment(tx, experiment, **values)
    return values.get("due_since") is not None


def _next(
    tx: Transaction, row: Any, wanted: int, studies: Studies, *, sated: bool
) -> dict[str, Any]:
    """Return what changes of a running experiment by where its trials stand."""
    counts, cost = repository.counts_of(tx, [row.id])[row.id]
    spec = ExperimentSpec.model_validate_json(row.spec)
    if spec.max_flops is not None and cost.flops >= spec.max_flops:
        _plan_no_more(tx, row.id)
        spent = f"its {spec.max_flops:g} FLOPs are spent"
        return _completed(tx, row, spec, spent, studies) if counts.leased == 0 else {}
    if sated or (row.planned >= spec.max_trials and counts.pending):
        return {}
    try:
        strategy = studies.type_of(row.strategy)
    except StrategyRefused as error:
        # An older release does not know it; results that come in are kept nevertheless.
        return _failed(tx, row, str(error))
    if _needed(counts.queued, wanted, strategy) == 0:
        return {}
    return {"due_since": row.due_since or utc_now()}


def question_of(tx: Transaction, experiment: str, studies: Studies) -> Question | None:
    """Return what to ask the strategy of an experiment; None where it is not due, or lacks nothing any more."""
    row = tx.execute(
        select(ExperimentRow.__table__).where(ExperimentRow.id == experiment)
    ).one_or_none()
    if row is None or row.status != "running" or row.due_since is None:
        return None
    counts, _ = repository.counts_of(tx, [experiment])[experiment]
    most = _needed(counts.queued, row.wanted, studies.type_of(row.strategy))
    return None if row.sated or most == 0 else read_question(tx, row, most)


def settle(tx: Transaction, experiment: str, studies: Studies) -> None:
    """Take the mark off an experiment that lacks nothing any more."""
    row = lock_experiment(tx, experiment)
    if row.due_since is not None:
        change_experiment(tx, experiment, due_since=None)
        advance(tx, experiment, studies)


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
        nothing = "its strategy plans no more trials"
        over = _completed(tx, row, question.spec, nothing, studies)
        change_experiment(tx, row.id, **over, **_SAID)
    elif not current:
        advance(tx, row.id, studies)
    return True


def fail(tx: Transaction, question: Question, problem: str) -> None:
    """End an experiment whose strategy failed; what runs may finish."""
    row = lock_experiment(tx, question.experiment)
    if row.status == "running" and row.planned == question.planned:
        change_experiment(tx, row.id, **_failed(tx, row, problem), **_SAID)


def cancel(tx: Transaction, experiment: str, by: str) -> None:
    """Cancel an experiment: nothing more is claimed, and workers are told to stop. One that is over stays as it is."""
    row = lock_experiment(tx, experiment)
    if row.status == "running":
        over = _over("cancelled", f"{by} cancelled it")
        change_experiment(tx, experiment, **over, **_SAID)
    _plan_no_more(tx, experiment)
    tx.execute(
        update(TrialRow)
        .where(TrialRow.experiment == experiment, TrialRow.status == "leased")
        .values(cancel_requested=True)
    )


def due_experiments(tx: Transaction) -> tuple[str, ...]:
    """Return the experiments whose strategy has to be asked, longest waiting first."""
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
    if not strategy.slow:
        return _needed(queued, 0, strategy) > 0
    # It has been told of as many as that already: a worker that polls must not write each time.
    wanted: int = row.wanted
    return missing > wanted


def _needed(queued: int, wanted: int, strategy: type[StudyStrategy]) -> int:
    """Return how many trials to ask for. A slow one is asked for no more than there are workers for."""
    if not strategy.slow:
        return AHEAD - queued if queued < AHEAD // 2 else 0
    return max(0, max(wanted, 1) - queued)


def _failed(tx: Transaction, row: Any, problem: str) -> dict[str, Any]:
    _plan_no_more(tx, row.id)
    return _over("failed", f"its strategy {row.strategy!r} failed: {problem}")


def _plan_no_more(tx: Transaction, experiment: str) -> None:
    """Cancel the trials that wait; those that run may end, and have no other attempt."""
    own = TrialRow.experiment == experiment
    tx.execute(
        update(TrialRow)
        .where(own, TrialRow.status == "queued")
        .values(status="cancelled", ended_at=utc_now())
    )
    tx.execute(
        update(TrialRow)
        .where(own, TrialRow.status == "leased")
        .values(max_attempts=TrialRow.attempts)
    )


def _completed(
    tx: Transaction, row: Any, spec: ExperimentSpec, reason: str, studies: Studies
) -> dict[str, Any]:
    """Begin the check of coordinates, if one is wanted; return what changes of the experiment."""
    return {
        **_over("completed", reason),
        "coordinates": begin_check(tx, row, spec, studies),
    }


def _over(status: ExperimentStatus, reason: str) -> dict[str, Any]:
    """Return what changes of an experiment that is over."""
    return {"status": status, "reason": reason, "ended_at": utc_now(), "due_since": None}
