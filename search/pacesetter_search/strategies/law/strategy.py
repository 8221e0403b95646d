"""``law``: laws of loss curves plan the rest of the schedule, without a single probe.

At a few declared positions laws are fitted to the job's own curve, and asked together with those of its family's
finished runs what every way to go on would end with. The schedule changes only where a win is likely; the rate is never
raised above what it was given, because every law promises a lower loss for a higher rate. With a new budget it plans
at once.
"""

from typing import ClassVar

from pacesetter.schedules import Tier
from pydantic import TypeAdapter, ValidationError

from pacesetter_search.contract import (
    Advance,
    BudgetChanged,
    Context,
    Event,
    JobFacts,
    Parameters,
    Registered,
    State,
    Strategy,
)
from pacesetter_search.memory.laws import LAWS, FamilyLaw
from pacesetter_search.strategies.horizon.strategy import reduce
from pacesetter_search.strategies.law.decision import LawDecision
from pacesetter_search.strategies.law.memory import Memory
from pacesetter_search.strategies.law.parameters import LawParameters

_FAMILY = TypeAdapter(list[FamilyLaw])


class LawStrategy(Strategy):
    """Plans the rest of the schedule anew where laws of loss curves see a better end; never probes."""

    name: ClassVar[str] = "law"
    tier: ClassVar[Tier] = "experimental"
    needs: ClassVar[str] = "losses above zero"
    version: ClassVar[int] = 1
    slow: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    handles_budget: ClassVar[bool] = True
    default_cap: ClassVar[float] = 0.0
    parameters_type: ClassVar[type[Parameters]] = LawParameters

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._parameters = parameters if isinstance(parameters, LawParameters) else LawParameters()

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event: the positions to decide at, nothing sent."""
        return Memory(marks=self._marks(job), total=job.budget.total).document()

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Fold in measurements; at a declared position, and when a plan failed, decide."""
        memory = Memory.model_validate(state)
        decision = LawDecision(memory, context, self._parameters)
        if isinstance(event.body, Registered):
            _remember(event.body, memory, decision)
        if isinstance(event.body, BudgetChanged):
            memory.fit(context.job.budget.total, event.body.position, context.job.base)
            memory.marks, memory.mark = self._marks(context.job), 0
            decision.another_budget(event.body)
        reduce(event.body, memory, decision)
        return Advance(memory.document(), tuple(decision.segments), tuple(decision.log))

    def _marks(self, job: JobFacts) -> tuple[int, ...]:
        total = job.budget.total
        warm = job.base.zero + job.base.extent.warmup
        marks = sorted({int(share * total) for share in self._parameters.decide_at})
        return tuple(mark for mark in marks if warm < mark < total)


def _remember(body: Registered, memory: Memory, decision: LawDecision) -> None:
    """Take the laws of the job's family, which stay as they are from here on."""
    try:
        memory.family = _FAMILY.validate_python(body.priors.get(LAWS, []))
    except ValidationError as error:
        decision.note("not_remembered", f"what other jobs taught cannot be read: {error}")
        return
    if memory.family:
        names = ", ".join(law.id for law in memory.family)
        decision.note("remembered", f"laws of the family are asked as well: {names}")
