"""``hypergradient``: the job itself moves its rate by the hypergradient for a while; what it finds becomes the base.

[Baydin2018, arXiv 1703.04782; Chu2025, arXiv 2502.11229]

The first share of the budget runs on the base schedule with the feedback rule ``hypergradient`` on the client. Then the
multiplier is frozen at where it settled, and the base schedule's shape does the annealing.

What to expect. The rule follows the greedy optimum of a single step: ``|G|^2 / (G'HG + tr(H Sigma) / B)`` for SGD with
fresh minibatches. That lies below what a decaying schedule wants, and it neither anneals for the last iterate nor
explores large rates, as every short horizon does. It finds the order of a base rate. It is no schedule.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal

from pacesetter.feedback import Hypergradient as Rule
from pacesetter.protocol import (
    Acknowledgement,
    Finished,
    Measurements,
    Reason,
    SegmentEnded,
    SegmentPlan,
)
from pydantic import BaseModel, ConfigDict, Field

from pacesetter_search.contract import (
    Advance,
    Body,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Overridden,
    Parameters,
    State,
    Strategy,
)
from pacesetter_search.strategies.following import (
    has_left,
    main_segment,
    position_of,
    refusal_of,
    room_above,
)

MOST_SENT = 8
"""Segments that a job is sent before it is left to follow what it has."""

WINDOW = 0.25
"""Share of the search whose last part says where the multiplier settled, and whose first part the loss started at."""

USABLE = 1e100
"""Greater losses are taken for overflow; sums of lesser ones stay finite."""

CHANGES = (1.0, 0.5, 0.1)
"""Shares of the rule's change per step to try where the limits on change leave no room for all of it."""


class HypergradientParameters(Parameters):
    """What a user may set."""

    form: Literal["additive", "multiplicative", "hdm"] = "multiplicative"
    beta: float = Field(default=0.02, gt=0.0, allow_inf_nan=False)
    """Step size of the rule; see :class:`pacesetter.feedback.Hypergradient` for its unit in each form."""
    lowest: float = Field(default=0.05, gt=0.0, le=1.0, allow_inf_nan=False)
    highest: float = Field(default=20.0, ge=1.0, allow_inf_nan=False)
    """Bounds of the multiplier; what the job's limits allow holds where that is less."""
    search_share: float = Field(default=0.2, gt=0.0, le=0.9)
    """Share of the budget after which the multiplier is frozen."""


class _Memory(BaseModel):
    """The state: a JSON document."""

    model_config = ConfigDict(extra="forbid")

    stage: Literal["searching", "settled", "base"] = "searching"
    seq: int | None = None
    sent: int = 0
    overridden: bool = False
    freeze_at: int = 0
    began_at: int = 0
    factor: float = 1.0
    count: int = 0
    log_sum: float = 0.0
    log_squares: float = 0.0
    early_count: int = 0
    early_loss: float = 0.0
    late_count: int = 0
    late_loss: float = 0.0
    broken: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """What the search showed; ``trouble`` says why it is not to be used."""

    factor: float
    spread: float
    trouble: str | None


class HypergradientStrategy(Strategy):
    """Lets the client's rule find a base rate, freezes it, and leaves the annealing to the base schedule.

    Needs a client that runs the rule, and no rollback: nothing is probed. The base schedule goes on unchanged where the
    loss did not fall under the rule or where the limits leave the rule no room.
    """

    name: ClassVar[str] = "hypergradient"
    parameters_type: ClassVar[type[Parameters]] = HypergradientParameters

    def obstacles(self, job: JobFacts) -> list[str]:
        """Return why this strategy cannot steer ``job``: its client cannot run the rule."""
        if "hypergradient" in job.capabilities.feedback:
            return []
        return [
            "its client cannot run the feedback rule 'hypergradient'; update the training code's pacesetter"
        ]

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event."""
        parameters = self._parameters
        freeze_at = max(1, min(job.budget.total, round(parameters.search_share * job.budget.total)))
        return _Memory(freeze_at=freeze_at).model_dump()

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Send the search, then what it found; again where the job has come off it."""
        memory = _Memory.model_validate(state)
        body = event.body
        if isinstance(body, Measurements):
            _fold(memory, body, context.job)
            return Advance(memory.model_dump())
        if isinstance(body, Overridden):
            memory.overridden = body.active
        if memory.overridden or not self.decides_on(body) or isinstance(body, Finished):
            return Advance(memory.model_dump())
        log = _conclude(memory, body, context.job)
        if not log and not has_left(memory.seq, body):
            return Advance(memory.model_dump())
        position = position_of(body)
        if memory.sent >= MOST_SENT or position >= context.job.budget.total:
            return Advance(memory.model_dump(), log=log)
        plan, entry = self._plan(memory, context.job, position)
        memory.sent, memory.seq = memory.sent + 1, context.next_seq
        return Advance(memory.model_dump(), (plan,), (*log, entry))

    @property
    def _parameters(self) -> HypergradientParameters:
        parameters = self.parameters
        assert isinstance(parameters, HypergradientParameters)
        return parameters

    def _plan(self, memory: _Memory, job: JobFacts, position: int) -> tuple[SegmentPlan, LogEntry]:
        """Return what the job is to follow from ``position`` on, by the stage that it is in."""
        if memory.stage == "searching" and position < memory.freeze_at:
            plan = self._search(memory, job, position)
            if plan is not None:
                return plan, LogEntry("searching", plan.reason.text, plan.reason.numbers)
            memory.stage = "base"
        if memory.stage == "searching":
            memory.stage = "base"  # it was handed back with nothing of the search left
        policy = job.base
        if memory.factor != 1.0:
            policy = policy.model_copy(update={"peak": policy.peak * memory.factor})
        text = f"the base schedule times {memory.factor:.4g} to the end of the budget"
        numbers = {"multiplier": memory.factor, "position": position}
        plan = main_segment(job, position, policy, Reason(text=text, numbers=numbers), self.name)
        return plan, LogEntry(f"{memory.stage}_schedule", text, plan.reason.numbers)

    def _search(self, memory: _Memory, job: JobFacts, position: int) -> SegmentPlan | None:
        """Return the base schedule under the rule, with as much room as the limits leave; None if that is none."""
        wanted = self._parameters
        highest = min(wanted.highest, room_above(job, HypergradientStrategy.name))
        if highest < 1.0:
            return None
        for lowest, share in product(dict.fromkeys((wanted.lowest, 1.0)), CHANGES):
            if lowest == highest:
                continue
            rule = Rule(
                form=wanted.form,
                beta=wanted.beta,
                lowest=lowest,
                highest=highest,
                max_change_per_step=1.0 + share * 0.1,
            )
            plan = main_segment(
                job,
                position,
                job.base,
                _why(rule, memory),
                self.name,
                end=memory.freeze_at,
                feedback=rule,
            )
            if refusal_of(plan, job) is None:
                memory.began_at = position
                return plan
        return None


def _why(rule: Rule, memory: _Memory) -> Reason:
    text = (
        f"the base schedule under the {rule.form} hypergradient rule, its multiplier between {rule.lowest:g} and "
        f"{rule.highest:g}, until {memory.freeze_at}"
    )
    return Reason(text=text, numbers={"freeze_at": memory.freeze_at, **rule.model_dump()})


# -- what was measured --


def _fold(memory: _Memory, body: Measurements, job: JobFacts) -> None:
    """Take in the rows of the search, one by one: how they were cut into records makes no difference."""
    if body.segment != memory.seq or memory.stage != "searching":
        return
    columns = body.columns
    rows = len(columns["position"])
    nothing: list[float | None] = [None] * rows
    losses, multipliers = columns.get("loss", nothing), columns.get("multiplier", nothing)
    for place, loss, multiplier in zip(columns["position"], losses, multipliers, strict=True):
        if place is None or not memory.began_at <= place < memory.freeze_at:
            continue
        window = WINDOW * (memory.freeze_at - memory.began_at)
        late = place >= memory.freeze_at - window
        _fold_loss(memory, loss, late=late, early=place < memory.began_at + window)
        if late and multiplier is not None:
            _fold_multiplier(memory, place, multiplier, job)


def _fold_loss(memory: _Memory, loss: float | None, *, late: bool, early: bool) -> None:
    if loss is None:
        return
    if not abs(loss) < USABLE:
        memory.broken += 1
    elif late:
        memory.late_count, memory.late_loss = memory.late_count + 1, memory.late_loss + loss
    elif early:
        memory.early_count, memory.early_loss = memory.early_count + 1, memory.early_loss + loss


def _fold_multiplier(memory: _Memory, place: float, multiplier: float, job: JobFacts) -> None:
    """Take in the rule's own multiplier: the reported one over the schedule's."""
    divisor = job.groups[0].base_lr if job.base.unit == "absolute" else 1.0
    schedule = job.base.at(place) / divisor
    if schedule <= 0.0 or not 0.0 < multiplier < USABLE:
        return
    log = math.log(multiplier / schedule)
    memory.count += 1
    memory.log_sum += log
    memory.log_squares += log * log


def _found(memory: _Memory, highest: float) -> _Found:
    """Return the geometric mean of the multiplier over the last part of the search, and its spread in octaves."""
    if memory.count == 0:
        return _Found(1.0, 0.0, "no multiplier was reported")
    mean = memory.log_sum / memory.count
    spread = math.sqrt(max(0.0, memory.log_squares / memory.count - mean * mean)) / math.log(2.0)
    # Rounding of a mean must not lead out of what the limits allow.
    factor = min(math.exp(max(mean, -200.0)), highest)
    trouble = None
    if memory.broken:
        trouble = f"{memory.broken} losses were not finite"
    elif memory.early_count and memory.late_count:
        early, late = memory.early_loss / memory.early_count, memory.late_loss / memory.late_count
        if late > early:
            trouble = f"the loss rose from {early:.4g} to {late:.4g}"
    return _Found(factor, spread, trouble)


# -- what an event means --


def _conclude(memory: _Memory, body: Body, job: JobFacts) -> tuple[LogEntry, ...]:
    """Leave the search where it is over, and say what it found; empty if it is not."""
    if memory.stage != "searching" or memory.seq is None:
        return ()
    if isinstance(body, Acknowledgement):
        if body.status != "refused" or body.segment != memory.seq:
            return ()
        return _back_to_base(memory, f"the job refused the rule ({body.code})")
    if not isinstance(body, SegmentEnded) or body.segment != memory.seq:
        return ()
    if body.outcome == "stopped":
        return _back_to_base(memory, f"the search was stopped ({body.code})")
    if body.outcome != "completed":
        return ()
    found = _found(memory, room_above(job, HypergradientStrategy.name))
    if found.trouble is not None:
        return _back_to_base(memory, found.trouble)
    return (_settle(memory, found, job, body.main_position),)


def _back_to_base(memory: _Memory, why: str) -> tuple[LogEntry, ...]:
    memory.stage, memory.factor = "base", 1.0
    return (
        LogEntry("fell_back_to_base", f"back to the base schedule: {why}", {"rows": memory.count}),
    )


def _settle(memory: _Memory, found: _Found, job: JobFacts, position: int) -> LogEntry:
    memory.stage, memory.factor = "settled", found.factor
    divisor = job.groups[0].base_lr if job.base.unit == "absolute" else 1.0
    lr = job.groups[0].base_lr * found.factor * job.base.peak / divisor
    text = f"the rule settled at {found.factor:.4g} times the base schedule, a peak of {lr:.4g}"
    numbers = {
        "position": position,
        "multiplier": found.factor,
        "spread_octaves": found.spread,
        "rows": memory.count,
        "lr": lr,
        "loss": memory.late_loss / memory.late_count if memory.late_count else None,
    }
    return LogEntry("base_lr_found", text, dict(numbers))
