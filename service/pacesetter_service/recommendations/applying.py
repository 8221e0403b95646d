"""Apply a recommendation to a running job: a person's schedule like any other, held against what it was asked for."""

from collections.abc import Callable
from typing import TypeVar

from pacesetter.errors import ConfigurationError
from pacesetter.fitting import check_batch, check_optimizer, check_recommendation, schedule_for
from pacesetter.protocol import JobSpec, Message, Name, Recommendation
from pacesetter.schedules import Schedule
from pydantic import Field

from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import Refused
from pacesetter_service.jobs import reading
from pacesetter_service.jobs.open_job import job_not_found, lock_job
from pacesetter_service.overrides import SetSchedule
from pacesetter_service.overrides import service as overriding
from pacesetter_service.planning.registry import Registry
from pacesetter_service.recommendations import repository
from pacesetter_service.views import OverrideResult

T = TypeVar("T")

ASK_AGAIN = "ask anew for what the job has: steps or tokens of its whole budget, batch_tokens, optimizer, momentum"


class Application(Message):
    """The body of ``POST /v1/recommendations/{id}:apply``: the job, who asks, and why."""

    job: Name
    by: str = Field(default="person", min_length=1, max_length=200)
    reason: str = Field(default="", max_length=900)


def apply(
    tx: Transaction, id_: str, wish: Application, project: str | None, registry: Registry
) -> OverrideResult:
    """Let a job follow a recommendation from where it stands: its schedule, its peak for the first parameter group.

    Args:
        tx: Where to write.
        id_: Of the recommendation.
        wish: The job, and who asks.
        project: That both are in; None: any, the same for both.
        registry: The strategies.

    Raises:
        NotFound: There is no such recommendation or job.
        Conflict: The job has ended.
        Refused: Nothing was recommended, the job is not what was asked for, or its limits forbid it.
    """
    stored = repository.get(tx, id_, project)
    job = reading.get_job(tx, wish.job)
    if job.project != stored.project:
        raise job_not_found(wish.job)
    batch = measured_batch(tx, job.id, job.spec)
    schedule = fitted(stored.answer, lock_job(tx, job.id).load_spec(), batch)
    reason = f"recommendation {id_}" + (f", {wish.reason}" if wish.reason else "")
    steered = SetSchedule(schedule=schedule, by=wish.by, reason=reason)
    result = overriding.override(tx, job.id, steered, registry)
    repository.mark_applied(tx, id_, stored.project)
    opened = lock_job(tx, job.id)
    event = opened.add_event(
        "recommendation_applied",
        {
            "recommendation": id_,
            "by": wish.by,
            "reason": wish.reason,
            "segments": list(result.segments),
        },
        session=opened.session,
        segment=result.segments[0],
        position=opened.main_position,
    )
    opened.save()
    return OverrideResult(result.segments, event)


def fitted(answer: Recommendation, spec: JobSpec, batch_tokens: float | None) -> Schedule:
    """Return the recommended schedule as a job follows it, relative to the base rates of its groups.

    Args:
        answer: The recommendation.
        spec: The job, with the budget that it has now.
        batch_tokens: Tokens of its steps; None: not known.

    Raises:
        Refused: It is not what was asked for. The message is the client's own.
    """
    first, asked = spec.groups[0], answer.target
    _refuse_as("NOTHING_RECOMMENDED", lambda: check_recommendation(answer))
    schedule = _refuse_as("OTHER_BUDGET", lambda: schedule_for(answer, spec.budget))
    _refuse_as("OTHER_BATCH", lambda: check_batch(answer, batch_tokens))
    if first.optimizer:
        _refuse_as("OTHER_OPTIMIZER", lambda: check_optimizer(answer, first.optimizer))
    if abs(first.momentum - asked.momentum) > 1e-6:
        raise Refused(
            f"the recommendation is for a momentum of {asked.momentum:g} and the first group has {first.momentum:g}: a "
            "rate acts as one 1 / (1 - momentum) times as large",
            code="OTHER_OPTIMIZER",
            hint=ASK_AGAIN,
        )
    return _relative(schedule, answer, spec)


def measured_batch(tx: Transaction, job_id: str, spec: JobSpec) -> float | None:
    """Return tokens of a job's steps: as declared, else as counted so far; None where neither is known."""
    if spec.workload.batch_tokens is not None:
        return spec.workload.batch_tokens
    spent = reading.ledger(tx, job_id).totals
    # A loop that passes no tokens counts none.
    if spent.main_steps == 0 or spent.main_tokens < spent.main_steps:
        return None
    return spent.main_tokens / spent.main_steps


def _relative(schedule: Schedule, answer: Recommendation, spec: JobSpec) -> Schedule:
    rates = {group.base_lr for group in spec.groups}
    if answer.target.parametrization == "mup" and len(rates) > 1:
        raise Refused(
            "under muP a group runs at the recommended rate times its lr_scale, and the service does not know these",
            code="SCALES_NOT_KNOWN",
            hint="start the job with attach(recommendation=...), which does",
        )
    if schedule.unit == "relative":
        assert answer.lr is not None
        return schedule.model_copy(
            update={"peak": schedule.peak * answer.lr / spec.groups[0].base_lr}
        )
    if len(rates) > 1:
        raise Refused(
            f"{schedule.body.family} is a law in learning rates and gives every group the same, so the ratios between "
            "the job's groups would be lost",
            code="RATIOS_LOST",
            hint="ask for a family that is a shape (schedule_family), or send each control set a schedule of its own",
        )
    return schedule


def _refuse_as(code: str, check: Callable[[], T]) -> T:
    """Return what ``check`` returns; what it raises is a refusal with a code."""
    try:
        return check()
    except ConfigurationError as error:
        raise Refused(str(error), code=code, hint=ASK_AGAIN) from error
