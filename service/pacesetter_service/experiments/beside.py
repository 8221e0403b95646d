"""Jobs that take their peak from an experiment: which one, what it says of them, and how they are told."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pacesetter.protocol import ExperimentSpec, JobSpec
from pacesetter_search.contract import JobFacts, Studied
from pacesetter_search.strategies.proxy.experiment import begun_with, place_of
from pacesetter_search.studies import transfer_study
from sqlalchemy import and_, or_, select

from pacesetter_service.database.models import ExperimentRow, JobRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import Refused
from pacesetter_service.experiments import planning, repository
from pacesetter_service.experiments.questions import Question
from pacesetter_service.experiments.reading import read_results
from pacesetter_service.experiments.strategies import Choice, Studies
from pacesetter_service.experiments.study import names_of
from pacesetter_service.jobs.open_job import ENDED, OpenJob, lock_job, open_job
from pacesetter_service.planning.commit import plan_now, stale_strategy
from pacesetter_service.planning.messages import Facts
from pacesetter_service.planning.registry import Registry

TOLD = "studied"
"""Type of the event that tells a strategy."""


@dataclass(frozen=True, slots=True)
class Begins:
    """An experiment that is to begin with a job."""

    spec: ExperimentSpec
    choice: Choice
    studies: Studies


def experiment_of(spec: JobSpec, facts: JobFacts, studies: Studies) -> Begins | None:
    """Return the experiment that begins with a job; None where it names no proxy to run.

    Raises:
        Refused: The job does not say enough for one (``NO_PROXY_SEARCH``).
        StrategyRefused: Its strategy cannot plan it.
    """
    if spec.proxies is None or spec.proxies.proxy is None:
        return None
    try:
        experiment = begun_with(spec.name, facts)
    except ValueError as error:
        raise Refused(
            f"the proxies of this job cannot be planned: {error}",
            code="NO_PROXY_SEARCH",
            hint="say in `proxies` what trials are given: a space with a range of learning rates, steps, and the "
            "strategy's parameters",
        ) from error
    return Begins(experiment, studies.choose(experiment), studies)


def require_experiment(tx: Transaction, spec: JobSpec, project: str) -> None:
    """Raise Refused (``UNKNOWN_EXPERIMENT``) where a job names an experiment that its project does not have."""
    named = None if spec.proxies is None else spec.proxies.experiment
    if named is None:
        return
    own = select(ExperimentRow.id).where(
        ExperimentRow.id == named, ExperimentRow.project == project
    )
    if tx.execute(own).one_or_none() is None:
        raise Refused(
            f"the project has no experiment {named!r} to take a peak from",
            code="UNKNOWN_EXPERIMENT",
            hint="list them with GET /v1/experiments, or name a `proxy` that is run beside the job",
        )


def link(job: OpenJob, spec: JobSpec, begins: Begins | None) -> None:
    """Let a new job listen to its experiment, and begin the one that begins with it."""
    if spec.proxies is None:
        return
    experiment = spec.proxies.experiment
    if begins is not None:
        project = job.tx.execute(select(JobRow.project).where(JobRow.id == job.id)).scalar_one()
        experiment = repository.insert_experiment(
            job.tx, begins.spec, begins.choice, project, job.id
        )
        planning.advance(job.tx, experiment, begins.studies)
    job.changes["experiment"] = experiment
    body = {"experiment": experiment, "begun": begins is not None}
    job.add_event("listens", body, session=job.session)


@dataclass(frozen=True, slots=True)
class Listener:
    """A job that has not been told of the last trials of its experiment."""

    job: str
    facts: Facts
    question: Question


def waiting(tx: Transaction) -> tuple[str, ...]:
    """Return the jobs whose experiments have had trials end since they were told."""
    rows = tx.execute(
        select(JobRow.id)
        .join(ExperimentRow, ExperimentRow.id == JobRow.experiment)
        .where(JobRow.status.not_in(ENDED), ExperimentRow.revision > JobRow.told)
        .order_by(JobRow.created_at)
        .limit(1000)
    )
    return tuple(rows.scalars())


def read_listener(tx: Transaction, job_id: str) -> Listener | None:
    """Return what is needed to tell a job; None where it listens to nothing."""
    query = select(JobRow.experiment).where(JobRow.id == job_id)
    experiment = tx.execute(query).scalar_one_or_none()
    if experiment is None:
        return None
    job = open_job(tx, job_id)
    facts = Facts.of(job.load_spec(), job.authority, job.overhead_cap)
    return Listener(job_id, facts, read_results(tx, experiment, None))


def answer(facts: JobFacts, question: Question) -> Studied:
    """Return what an experiment says by now of a job that has not begun."""
    told: dict[str, Any] = {
        "experiment": question.experiment,
        "trials": len(question.finished),
        "over": not question.pending and question.over,
        "position": 0,
    }
    try:
        names = names_of(question)
        place = place_of(facts, question.spec, names)
        study = transfer_study(question.spec, question.finished, place, names)
    except ValueError as error:
        return Studied(**told, problem=str(error))
    if not any(cell.found is not None for cell in study.cells):
        return Studied(**told, problem="no cell has a run that ended")
    return Studied(
        **told,
        log2_lr=study.peak.mean,
        sd=study.peak.sd,
        bounded=any(cell.found is not None and cell.found.edge is None for cell in study.cells),
        share=study.share,
        dominant=study.dominant,
        warnings=study.warnings,
    )


def tell(tx: Transaction, listener: Listener, said: Studied, registry: Registry) -> bool:
    """Tell a job's strategy what its proxies say; return whether it was told.

    Another replica may have told it of these trials, or of later ones, while this one thought.
    """
    job = lock_job(tx, listener.job)
    told = tx.execute(select(JobRow.told).where(JobRow.id == job.id)).scalar_one()
    if told >= listener.question.revision:
        return False
    job.changes["told"] = listener.question.revision
    known = stale_strategy(job, registry) is None
    listens = known and registry.type_of(job.strategy).listens and job.status not in ENDED
    if listens:
        body = said.model_copy(update={"position": job.main_position})
        job.due_event = job.add_event(
            TOLD, body, reducible=True, session=job.session, position=job.main_position
        )
        plan_now(job, registry)
    job.save()
    return listens


def orphans(tx: Transaction) -> tuple[str, ...]:
    """Return the experiments that run and began with a job which is over.

    One that failed, or fell silent, may be started again: its trials run on for an hour.
    """
    now = tx.execute(select(utc_now())).scalar_one()
    given_up = and_(
        JobRow.status.in_(("failed", "lost")), JobRow.last_seen_at < now - timedelta(hours=1)
    )
    rows = tx.execute(
        select(ExperimentRow.id)
        .join(JobRow, JobRow.id == ExperimentRow.job)
        .where(
            ExperimentRow.status == "running",
            or_(JobRow.status.in_(("completed", "cancelled")), given_up),
        )
        .order_by(ExperimentRow.id)
        .limit(100)
    )
    return tuple(rows.scalars())


def cancel_orphan(tx: Transaction, experiment: str) -> None:
    """Cancel an experiment because its job is over."""
    planning.cancel(tx, experiment, "the end of its job")
