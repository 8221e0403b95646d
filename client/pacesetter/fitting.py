"""Whether a recommendation fits a job: its budget, its batch and its optimizer; and its schedule in the job's clock.

Free of torch: the service holds a recommendation against a running job by it, too.
"""

import math
from typing import Any

from pacesetter.errors import ConfigurationError
from pacesetter.protocol import Budget, Recommendation
from pacesetter.schedules import Schedule, Warmup

AGREE = 0.02
"""Relative difference up to which budgets and batches that were recommended and given count as one."""


def check_recommendation(recommendation: Any) -> Recommendation:
    """Return a recommendation that can be run.

    Raises:
        ConfigurationError: It is none, or says that nothing is known.
    """
    if not isinstance(recommendation, Recommendation):
        raise ConfigurationError(
            f"recommendation is {recommendation!r:.200}; expected what pacesetter.recommend(...) returned"
        )
    if recommendation.status != "ok" or recommendation.lr is None:
        study = recommendation.study.text if recommendation.study else "measure a best peak first"
        raise ConfigurationError(
            f"nothing was recommended, so there is nothing to run: {'; '.join(recommendation.warnings)}; {study}"
        )
    return recommendation


def schedule_for(recommendation: Recommendation, budget: Budget) -> Schedule:
    """Return the recommended schedule for a job with ``budget``, in its clock.

    Raises:
        ConfigurationError: There is none, or the budget is not the one that was asked for.
    """
    schedule, steps = recommendation.schedule, recommendation.steps
    batch = recommendation.batch_tokens
    if schedule is None or steps is None or batch is None:
        raise ConfigurationError("the recommendation has no schedule; ask the service anew")
    if budget.clock == "steps":
        if budget.total != steps:
            raise ConfigurationError(
                f"the budget is {budget.total} steps and the recommendation is for {steps} of {batch:g} tokens; give "
                f"pacesetter.Steps({steps}), or ask for steps={budget.total}"
            )
        return schedule
    if not math.isclose(budget.total, steps * batch, rel_tol=AGREE):
        raise ConfigurationError(
            f"the budget is {budget.total} tokens and the recommendation is for {steps * batch:.6g}; give the one that "
            "you asked for, or ask for the one that you have"
        )
    return _in_tokens(schedule, budget.total, batch)


def check_batch(recommendation: Recommendation, batch_tokens: float | None) -> None:
    """Refuse a rate that is another batch's; where either is not known nothing is refused.

    Raises:
        ConfigurationError: The batch is another one than the one that was recommended.
    """
    batch = recommendation.batch_tokens
    if batch_tokens and batch and not math.isclose(batch_tokens, batch, rel_tol=AGREE):
        raise ConfigurationError(
            f"a step has {batch_tokens:g} tokens and the recommendation is for {batch:g}: its rate is that of its "
            f"batch; ask with batch_tokens={batch_tokens:g}"
        )


def check_optimizer(recommendation: Recommendation, name: str) -> None:
    """Refuse a rate that belongs to another kind of optimizer: it is off by orders of magnitude.

    Args:
        recommendation: With the optimizer that was asked for.
        name: Class of the first optimizer.

    Raises:
        ConfigurationError: It is of another kind.
    """
    asked, real = recommendation.target.optimizer.lower(), name.lower()
    alike = asked in real or real in asked or ("adam" in asked and "adam" in real)
    if not alike:
        raise ConfigurationError(
            f"the recommendation is for {recommendation.target.optimizer} and the first optimizer is {name}: its rates "
            f"are others; ask with optimizer={real!r}"
        )


def _in_tokens(schedule: Schedule, total: int, batch: float) -> Schedule:
    """Return a schedule in steps as one over a budget of tokens."""
    if schedule.body.required_clock() is not None:
        raise ConfigurationError(
            f"the recommended schedule ({schedule.body.family}) counts steps; give the budget in pacesetter.Steps"
        )
    rise = None
    if schedule.warmup is not None:
        length = min(round(schedule.warmup.length * batch), total - 1)
        rise = Warmup(length=length, start=schedule.warmup.start) if length else None
    parts = schedule.model_dump(exclude={"length", "warmup"})
    return Schedule.model_validate({**parts, "length": total, "warmup": rise})
