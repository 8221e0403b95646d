"""``fixed``: the base schedule, from where the job stands to the end of its budget. Never probes.

It also takes over jobs: one whose strategy is unknown to this version, or whose strategy crashed.
"""

from typing import ClassVar

from pacesetter.protocol import (
    Finished,
    Reason,
    SegmentPlan,
)
from pacesetter.schedules import Tier

from pacesetter_search.contract import (
    Advance,
    Body,
    BudgetChanged,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Overridden,
    State,
    Strategy,
)
from pacesetter_search.strategies.following import has_left, main_segment, position_of

MOST_SENT = 5
"""Times the base schedule is sent before the job is left to follow it by itself, which it does unasked anyway."""


class Fixed(Strategy):
    """Sends the base schedule once, and again only where the job has come off it."""

    name: ClassVar[str] = "fixed"
    tier: ClassVar[Tier] = "supported"
    handles_budget: ClassVar[bool] = True
    text: ClassVar[str] = "the base schedule to the end of the budget"
    """What it says of its segments."""

    def initial(self, job: JobFacts) -> State:
        """Return the state before any event: nothing sent."""
        del job
        return {"sent": 0, "seq": None, "overridden": False}

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Send the base schedule where the job does not follow it."""
        body = event.body
        if isinstance(body, Overridden):
            state = {**state, "overridden": body.active}
        if isinstance(body, BudgetChanged):
            state = {**state, "sent": 0}  # another plan, which is no repetition
        if state.get("overridden") or not self.decides_on(body) or not _off(state, body):
            return Advance(state)
        position = position_of(body)
        remaining = context.job.budget.total - position
        sent = state.get("sent")
        if remaining <= 0 or not isinstance(sent, int) or sent >= MOST_SENT:
            return Advance(state)
        log = LogEntry("base_schedule", f"base schedule from {position}", {"position": position})
        following: State = {**state, "sent": sent + 1, "seq": context.next_seq}
        return Advance(following, (self._base_segment(context.job, position),), (log,))

    def _base_segment(self, job: JobFacts, position: int) -> SegmentPlan:
        text = self.text if position == 0 else f"{self.text}, taken up at {position}"
        return main_segment(job, position, job.base, Reason(text=text), self.name)


def _off(state: State, body: Body) -> bool:
    """Whether, after ``body``, the job is not on the base schedule that was sent."""
    seq = state.get("seq")
    assert seq is None or isinstance(seq, int)
    return not isinstance(body, Finished) and has_left(seq, body)
