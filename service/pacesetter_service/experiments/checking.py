"""The coordinate check of an experiment: a trial in an experiment of its own, once the others have ended."""

import logging
from typing import Any

from pacesetter.protocol import ExperimentSpec, TrialPlan, coordinates
from sqlalchemy import select

from pacesetter_service.database.models import TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import StrategyRefused
from pacesetter_service.experiments import repository
from pacesetter_service.experiments.strategies import Studies
from pacesetter_service.experiments.views import PENDING, CoordinatesView

logger = logging.getLogger(__name__)


def begin_check(
    tx: Transaction, experiment: Any, spec: ExperimentSpec, studies: Studies
) -> str | None:
    """Begin the check that an experiment asks for, at the parameters of its best trial; return the new experiment.

    Args:
        tx: Where to write.
        experiment: Its row, locked.
        spec: Its spec.
        studies: The strategies.

    Returns:
        None where it asks for none, no trial of it says which rate is a good one, or no strategy would plan it.
    """
    if not spec.coordinates:
        return None
    best = repository.best_trial(tx, experiment.id)
    if best is None:
        return None
    widths = coordinates.write_widths(spec.coordinates)
    asked = ExperimentSpec(
        name=f"coordinates of {spec.name}"[:200],
        proxy=spec.proxy,
        fixed={**spec.fixed, **best.parameters, coordinates.PARAMETER: widths},
        max_trials=1,
        max_attempts=spec.max_attempts,
        progress_seconds=spec.progress_seconds,
        seed=spec.seed,
        regime=spec.regime,
        workload=spec.workload,
        tags=spec.tags,
    )
    try:
        choice = studies.choose(asked)
    except StrategyRefused as error:
        # Of a controller with strategies of its own: the experiment is complete nevertheless.
        logger.warning("experiment %s has no check of coordinates: %s", experiment.id, error)
        return None
    check = repository.insert_experiment(tx, asked, choice, experiment.project)
    why = (
        f"whether activations keep their size over widths {widths.replace(' ', ', ')}, at the parameters of trial "
        f"{best.number}, the best of {experiment.id}"
    )
    row = repository.lock_experiment(tx, check)
    repository.insert_trials(tx, row, asked, [TrialPlan(parameters={}, why=why)])
    # Nothing more will be wanted of it, however often workers ask.
    repository.change_experiment(tx, check, planned=1, sated=True)
    return check


def read_check(tx: Transaction, experiment: Any, spec: ExperimentSpec) -> CoordinatesView | None:
    """Return what the check of an experiment found, given its row; None where it asks for none."""
    if not spec.coordinates:
        return None
    if experiment.coordinates is None:
        if experiment.status == "running":
            return CoordinatesView("pending", spec.coordinates)
        problem = "no trial ended well that it could be made at"
        if experiment.status != "completed":
            problem = (
                f"the experiment is {experiment.status}; one that is completed alone is checked"
            )
        return CoordinatesView("missing", spec.coordinates, problem=problem)
    rows = tx.execute(
        select(TrialRow.status, TrialRow.metrics, TrialRow.error, TrialRow.flops).where(
            TrialRow.experiment == experiment.coordinates
        )
    )
    return _found(rows.one(), spec, experiment.coordinates)


def _found(trial: Any, spec: ExperimentSpec, experiment: str) -> CoordinatesView:
    if trial.status in PENDING:
        return CoordinatesView("pending", spec.coordinates, experiment)
    found = coordinates.from_metrics(trial.metrics or {})
    if trial.status != "done" or found is None:
        return CoordinatesView(
            *("missing", spec.coordinates, experiment),
            problem=_problem(trial, spec),
            flops=trial.flops,
        )
    passed, slopes = found
    return CoordinatesView(
        *("passed" if passed else "failed", spec.coordinates, experiment),
        slopes=slopes,
        flops=trial.flops,
    )


def _problem(trial: Any, spec: ExperimentSpec) -> str:
    """Return why a trial that has ended says nothing."""
    if trial.status == "done":
        return (
            f"proxy {spec.proxy!r} measured no coordinates where its parameter {coordinates.PARAMETER!r} asked for "
            "them; return Outcome.of_check there"
        )
    lines = trial.error.strip().splitlines()
    return f"its trial {trial.status}" + (f": {lines[-1]}" if lines else "")
