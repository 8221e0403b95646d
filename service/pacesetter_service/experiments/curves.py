"""From a trial that was done to a stored curve: proxy runs are evidence as other runs are."""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pacesetter.curves import Points, averaged
from pacesetter.errors import CurveError
from pacesetter.protocol import ExperimentSpec, Workload
from pacesetter_search.memory import Known, record_of
from sqlalchemy import select, update

from pacesetter_service.curves import repository as curves
from pacesetter_service.curves.repository import NewCurve
from pacesetter_service.database.models import CurveRow, ExperimentRow, TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import Refused
from pacesetter_service.experiments import points, repository
from pacesetter_service.experiments.views import TrialView
from pacesetter_service.reports.packing import FloatArray, is_missing

TRIALS_AT_ONCE = 100

MEASURED = ("parameters", "batch_tokens", "width_ratio", "depth_ratio")
"""Metrics by which a proxy says what of its workload differs from trial to trial."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndedTrial:
    """A trial that was done, with all that its curve is made of."""

    project: str
    trial: TrialView
    spec: ExperimentSpec
    columns: dict[str, FloatArray]
    since: datetime
    """When it ended: the mark that its curve is still to be made."""


def ended_trials(tx: Transaction) -> tuple[str, ...]:
    """Return the trials whose curve is still to be made, longest waiting first."""
    rows = tx.execute(
        select(TrialRow.id)
        .where(TrialRow.curve_due_since.is_not(None))
        .order_by(TrialRow.curve_due_since)
        .limit(TRIALS_AT_ONCE)
    )
    return tuple(rows.scalars())


def read_ended(tx: Transaction, trial: str) -> EndedTrial | None:
    """Return a trial whose curve is to be made; None if somebody else made it."""
    row = repository.find_trial(tx, trial, None)
    if row.curve_due_since is None:
        return None
    spec = repository.spec_of(tx, row.experiment)
    return EndedTrial(
        project=row.project,
        trial=repository.trial_view(row, spec),
        spec=spec,
        columns=points.read(tx, trial),
        since=row.curve_due_since,
    )


def make_curve(ended: EndedTrial) -> NewCurve | None:
    """Return the curve of a trial; None, which is logged, where what it measured is none."""
    trial, columns = ended.trial, ended.columns
    try:
        whole = averaged(
            Points.of(
                *(columns["step"], columns["lr"], columns["loss"]),
                measured=~is_missing(columns["loss"]),
            )
        )
        return NewCurve(ended.project, record_of(whole, _known(ended)), whole)
    except CurveError as error:
        logger.info("trial %s has no curve: %s", trial.id, error)
        return None


def keep(tx: Transaction, ended: EndedTrial, curve: NewCurve | None) -> bool:
    """Store the curve of a trial; return False if there is none, or somebody else kept it meanwhile."""
    taken = tx.execute(
        update(TrialRow)
        .where(TrialRow.id == ended.trial.id, TrialRow.curve_due_since == ended.since)
        .values(curve_due_since=None, curve=None if curve is None else curve.record.id)
    )
    return taken.rowcount == 1 and curve is not None and curves.insert(tx, curve)


def curves_of(tx: Transaction, experiments: Sequence[str], project: str) -> frozenset[str]:
    """Return the ids of the curves that the trials of some experiments left, as trials or as jobs.

    Raises:
        Refused: The project has no such experiment (``UNKNOWN_EXPERIMENT``).
    """
    own = (ExperimentRow.id.in_(experiments), ExperimentRow.project == project)
    missing = sorted(
        set(experiments) - set(tx.execute(select(ExperimentRow.id).where(*own)).scalars())
    )
    if missing:
        raise Refused(
            f"the evidence names experiment {missing[0]!r}, which the project does not have",
            code="UNKNOWN_EXPERIMENT",
            hint="give an id of GET /v1/experiments, or leave `experiment` out where no trials of this service told it",
        )
    of_them = TrialRow.experiment.in_(experiments)
    ran_as = select(TrialRow.job).where(of_them, TrialRow.job.is_not(None))
    left = select(TrialRow.curve).where(of_them, TrialRow.curve.is_not(None))
    by_jobs = select(CurveRow.id).where(CurveRow.project == project, CurveRow.job.in_(ran_as))
    return frozenset((*tx.execute(left).scalars(), *tx.execute(by_jobs).scalars()))


def _known(ended: EndedTrial) -> Known:
    trial, spec = ended.trial, ended.spec
    optimizer = trial.parameters.get("optimizer", "adamw")
    return Known(
        id=f"crv_{hashlib.sha256(f'trial {trial.id}'.encode()).hexdigest()[:20]}",
        name=f"{spec.name} {trial.number}"[:200],
        source="trial",
        workload=_workload(trial, spec.workload),
        regime=spec.regime,
        optimizer=optimizer if isinstance(optimizer, str) and optimizer else "adamw",
        momentum=_number(trial.parameters, "momentum", below=1.0),
        weight_decay=_number(trial.parameters, "weight_decay"),
        # A trial that diverged has no loss, whatever the last of its points was.
        final_loss=math.inf if trial.loss is None else trial.loss,
    )


def _workload(trial: TrialView, declared: Workload) -> Workload:
    """Return what the experiment declared, with what this trial says of itself."""
    found: dict[str, float | str] = {
        name: trial.metrics[name]
        for name in MEASURED
        if math.isfinite(trial.metrics.get(name, math.nan))
    }
    cost = trial.cost
    if declared.batch_tokens is None and cost.tokens >= cost.steps > 0:
        found.setdefault("batch_tokens", cost.tokens / cost.steps)
    for side in ("width", "depth"):
        given, base = (_number(trial.parameters, name) for name in (side, f"base_{side}"))
        if given > 0.0 and base > 0.0:
            found.setdefault(f"{side}_ratio", given / base)
    if trial.parameters.get("parametrization") in ("standard", "mup"):
        found["parametrization"] = str(trial.parameters["parametrization"])
    try:
        return Workload.model_validate({**dict(declared), **found})
    except ValueError as error:
        logger.info("what trial %s says of its workload cannot be: %s", trial.id, error)
        return declared


def _number(parameters: Mapping[str, object], name: str, below: float = math.inf) -> float:
    value = parameters.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0.0 <= value < below else 0.0
