"""Register a job, or a new session of one that is known."""

import secrets
from dataclasses import dataclass
from typing import Any

from pacesetter.protocol import Authority, JobSpec, Registration
from pacesetter_search.contract import JobFacts, State, Strategy
from pacesetter_search.contract import Registered as RegisteredEvent
from pydantic import JsonValue
from sqlalchemy import insert, select

from pacesetter_service.budgets.changing import note_restart
from pacesetter_service.database.models import JobRow, SessionRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import Conflict, StrategyRefused
from pacesetter_service.experiments.beside import Begins, link, require_experiment
from pacesetter_service.jobs.open_job import OpenJob, lock_job
from pacesetter_service.planning.commit import plan_now
from pacesetter_service.planning.messages import Facts
from pacesetter_service.planning.registry import Registry, unheard
from pacesetter_service.projects import ensure_project
from pacesetter_service.recommendations.repository import mark_applied
from pacesetter_service.segments import repository as segments
from pacesetter_service.views import Registered

STEERED_RANKS = 8
"""Up to this world size a job that asks for nothing is steered, above it is advised."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a spec comes to: who decides, and from which state."""

    spec: JobSpec
    authority: Authority
    strategy: Strategy
    parameters: dict[str, Any]
    overhead_cap: float
    facts: JobFacts
    state: State


def assess(spec: JobSpec, registry: Registry) -> Assessment:
    """Return who will decide for a job like this.

    Raises:
        StrategyRefused: Unknown, bad parameters, or it cannot steer the job (``STRATEGY_CANNOT_STEER``).
    """
    authority = spec.authority or (
        "steer" if spec.capabilities.world_size <= STEERED_RANKS else "advise"
    )
    name = spec.strategy.name
    if name is None:
        name = registry.default(Facts.of(spec, authority, spec.overhead_cap or 0.0).for_strategy())
    parameters: dict[str, Any] = dict(spec.strategy.parameters)
    strategy = registry.build(name, parameters)
    cap = strategy.default_cap if spec.overhead_cap is None else spec.overhead_cap
    facts = Facts.of(spec, authority, cap).for_strategy()
    obstacles = (*unheard(facts, strategy), *strategy.obstacles(facts))
    if obstacles:
        fitting = registry.fitting(facts)
        raise StrategyRefused(
            f"strategy {name!r} cannot steer this job: {'; '.join(obstacles)}",
            code="STRATEGY_CANNOT_STEER",
            hint=f"strategies that can: {', '.join(fitting) or 'none'}",
            obstacles=obstacles,
            fitting=fitting,
        )
    state = strategy.initial(facts)
    return Assessment(spec, authority, strategy, parameters, cap, facts, state)


def would_register(assessment: Assessment) -> Registered:
    """Return what registering would answer, with empty ids."""
    registration = Registration(
        job="",
        session="",
        session_number=0,
        status="registered",
        authority=assessment.authority,
        strategy=assessment.strategy.name,
    )
    return Registered(registration, is_new_job=False, is_new_session=False)


def is_known(tx: Transaction, spec: JobSpec, project: str) -> bool:
    """Return whether there is a job of this ``external_id``."""
    return _find(tx, spec, project) is not None


def register(
    tx: Transaction,
    spec: JobSpec,
    project: str,
    registry: Registry,
    priors: dict[str, JsonValue] | None = None,
    begins: Begins | None = None,
) -> Registered:
    """Return the job's registration; a known ``external_id`` with another nonce opens a new session.

    Args:
        tx: Where to write.
        spec: What the job says of itself.
        project: Whose it is.
        registry: The strategies.
        priors: What other jobs taught; only a new job's first event carries it.
        begins: The experiment that begins with a new job.

    Raises:
        StrategyRefused: The strategy cannot steer the job.
        Refused: It names a recommendation or an experiment that the project does not have
            (``UNKNOWN_RECOMMENDATION``, ``UNKNOWN_EXPERIMENT``).
        Conflict: The ``external_id`` belongs to another kind of job (``EXTERNAL_ID_TAKEN``).
    """
    ensure_project(tx, project)
    if spec.recommendation is not None:
        mark_applied(tx, spec.recommendation, project)
    found = _find(tx, spec, project)
    if found is None:
        require_experiment(tx, spec, project)
        assessment = assess(spec, registry)
        job_id = _insert_job(tx, assessment, project)
        job = lock_job(tx, job_id)
        if job.last_event == 0:
            return _first_session(job, spec, registry, priors or {}, begins)
        # Another replica was faster: what follows is that of a known job.
    else:
        job = lock_job(tx, found)
    return _known_job(job, spec, registry)


def _find(tx: Transaction, spec: JobSpec, project: str) -> str | None:
    row = tx.execute(
        select(JobRow.id).where(JobRow.project == project, JobRow.external_id == spec.external_id)
    ).one_or_none()
    return None if row is None else row.id


def _insert_job(tx: Transaction, assessment: Assessment, project: str) -> str:
    spec = assessment.spec
    tx.execute(
        tx.insert_into(JobRow)
        .values(
            id=f"job_{secrets.token_hex(10)}",
            project=project,
            external_id=spec.external_id,
            name=spec.name,
            status="registered",
            authority=assessment.authority,
            spec=spec.model_dump_json(by_alias=True),
            tags=dict(spec.tags),
            strategy=assessment.strategy.name,
            strategy_version=assessment.strategy.version,
            strategy_parameters=assessment.parameters,
            overhead_cap=assessment.overhead_cap,
            state=assessment.state,
            **dict.fromkeys(
                (
                    *("reduced_through", "running", "draws", "due_event", "last_event"),
                    *("last_seq", "main_position", "session_number"),
                ),
                0,
            ),
            overridden=False,
        )
        .on_conflict_do_nothing()
    )
    job_id = _find(tx, spec, project)
    assert job_id is not None
    return job_id


def _first_session(
    job: OpenJob,
    spec: JobSpec,
    registry: Registry,
    priors: dict[str, JsonValue],
    begins: Begins | None,
) -> Registered:
    session, number = _open_session(job, spec)
    first = RegisteredEvent(priors=priors)
    job.due_event = job.add_event("registered", first, reducible=True, session=session)
    link(job, spec, begins)
    if spec.recommendation is not None:
        body = {"recommendation": spec.recommendation}
        job.add_event("recommendation_applied", body, session=session)
    plan_now(job, registry)
    job.save()
    return Registered(_registration(job, session, number), is_new_job=True, is_new_session=True)


def _open_session(job: OpenJob, spec: JobSpec) -> tuple[str, int]:
    """Open a session; it is the current one from now on."""
    job.session = f"ses_{secrets.token_hex(10)}"
    job.session_number += 1
    job.seen = True
    job.tx.execute(
        insert(SessionRow).values(
            id=job.session,
            job=job.id,
            number=job.session_number,
            nonce=spec.nonce,
            last_record=0,
            last_step=-1,
            main_position=0,
        )
    )
    return job.session, job.session_number


def _known_job(job: OpenJob, spec: JobSpec, registry: Registry) -> Registered:
    known, current = job.registered_spec(), job.load_spec()
    row = job.tx.execute(
        select(SessionRow.id, SessionRow.number).where(
            SessionRow.job == job.id, SessionRow.nonce == spec.nonce
        )
    ).one_or_none()
    _check_same(known, spec, same_budget=row is not None)
    if row is not None:
        return Registered(
            _registration(job, row.id, row.number), is_new_job=False, is_new_session=False
        )
    if job.status in ("completed", "failed", "lost"):
        job.status = "running" if job.main_position else "registered"
    # Strategy, proxies and seed stay those of the first registration.
    merged = spec.model_copy(
        update={
            "strategy": known.strategy,
            "proxies": known.proxies,
            "seed": known.seed,
            "overhead_cap": known.overhead_cap,
        }
    )
    job.changes["spec"] = merged.model_dump_json(by_alias=True)
    session, number = _open_session(job, spec)
    job.add_event(
        "session_opened",
        {"number": number, "world_size": spec.capabilities.world_size},
        session=session,
    )
    if spec.budget != known.budget:
        note_restart(job, known, current, session)
    plan_now(job, registry)
    job.save()
    job.tx.wakes.add(job.id)  # streams of the older session end
    return Registered(_registration(job, session, number), is_new_job=False, is_new_session=True)


def _check_same(known: JobSpec, spec: JobSpec, *, same_budget: bool) -> None:
    """Refuse a spec of another job: training code may change its budget, with the base schedule that belongs to it."""
    different = []
    if known.budget.clock != spec.budget.clock:
        different.append("clock")
    if same_budget and known.budget.total != spec.budget.total:
        different.append("budget")
    if known.budget == spec.budget and known.base != spec.base:
        different.append("base schedule")
    if different:
        raise Conflict(
            f"external_id {spec.external_id!r} belongs to a job with another {' and '.join(different)}",
            code="EXTERNAL_ID_TAKEN",
            hint="resume with the clock of the first start, and with its base schedule unless the budget is another; "
            "or use another external_id",
        )


def _registration(job: OpenJob, session: str, number: int) -> Registration:
    return Registration(
        job=job.id,
        session=session,
        session_number=number,
        status=job.status,
        authority=job.authority,
        strategy=job.strategy,
        segments=segments.visible_segments(job.tx, job.id, 0),
        void=segments.void_segments(job.tx, job.id),
    )
