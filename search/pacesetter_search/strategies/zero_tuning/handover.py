"""What follows once the main line runs: the horizon objective, around the rate that was found.

``zero_tuning`` knows the best rate at the budget to within its posterior; ``autolrs`` with the horizon objective asks,
while the main line trains, whether a change would pay. The chosen schedule becomes its base schedule, and the spread of
the posterior its belief of how far off that may be. What the rungs have spent counts against the same cap.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from pacesetter.protocol import Acknowledgement, SegmentPlan

from pacesetter_search.contract import Advance, Context, Event, JobFacts
from pacesetter_search.strategies.horizon import Horizon
from pacesetter_search.strategies.horizon.decision import Decision as HorizonDecision
from pacesetter_search.strategies.horizon.memory import Memory as HorizonMemory
from pacesetter_search.strategies.horizon.parameters import HorizonParameters
from pacesetter_search.strategies.zero_tuning.knowledge import ORIGIN
from pacesetter_search.strategies.zero_tuning.memory import Handover, Memory

if TYPE_CHECKING:
    from pacesetter_search.strategies.zero_tuning.decision import Decision

LEAST_OCTAVES, MOST_OCTAVES = 0.1, 2.0
"""Bounds of what the horizon objective is told of how far off the rate may be: its laws reach no further."""


def begins(body: Acknowledgement, plan: SegmentPlan | None, decision: "Decision") -> bool:
    """Hand over where ``plan``, a whole main line, has begun; return whether that was so."""
    memory, job = decision.memory, decision.job
    wanted = decision.parameters.then == "horizon" and memory.next is None
    if not wanted or plan is None or memory.chosen is None:
        return False
    spent = (memory.spent + memory.lost) / job.budget.total
    found = Handover(
        base=plan.policy,
        octaves=min(max(decision.sd(), LEAST_OCTAVES), MOST_OCTAVES),
        cap=max(job.overhead_cap - spent, 0.0),
        state={},
    )
    facts = _facts(job, found)
    started = HorizonMemory.model_validate(_strategy(found).initial(facts))
    following = HorizonDecision(started, replace(decision.context, job=facts), _parameters(found))
    following.replan(body.position)
    memory.next = found.model_copy(update={"state": started.document()})
    decision.note(
        "handed_over",
        f"the horizon objective watches the main line, whose rate may be {found.octaves:.2g} octaves off",
        octaves=found.octaves,
        cap=found.cap,
    )
    decision.segments += [_ours(each) for each in following.segments]
    decision.log += following.log
    return True


def advance(memory: Memory, event: Event, context: Context) -> Advance:
    """Let the horizon objective answer an event; what the client would refuse is not sent."""
    found = memory.next
    assert found is not None
    facts = _facts(context.job, found)
    step = _strategy(found).advance(found.state, event, replace(context, job=facts))
    memory.next = found.model_copy(update={"state": step.state})
    return Advance(memory.document(), tuple(_ours(each) for each in step.segments), step.log)


def _strategy(found: Handover) -> Horizon:
    return Horizon(_parameters(found))


def _parameters(found: Handover) -> HorizonParameters:
    return HorizonParameters(lr_uncertainty=found.octaves, choose_shape="never")


def _facts(job: JobFacts, found: Handover) -> JobFacts:
    """Return the job with the chosen schedule as its base, and what is left of the cap."""
    limits = job.limits
    if limits.max_multiplier is None:
        # Without a bound this strategy may go above the base peak; the horizon objective then to its own span.
        lowest = min(group.base_lr for group in job.groups)
        peak = found.base.peak / (lowest if found.base.unit == "absolute" else 1.0)
        span = _parameters(found).span
        limits = limits.model_copy(update={"max_multiplier": peak * span * (1.0 + 1e-9)})
    return replace(job, base=found.base, overhead_cap=found.cap, limits=limits)


def _ours(plan: SegmentPlan) -> SegmentPlan:
    """Return the segment under this strategy's name, which the limits know."""
    return plan.model_copy(update={"origin": ORIGIN})
