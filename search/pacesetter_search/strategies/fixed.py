"""``fixed``: the base schedule, from where the job stands to the end of its budget. Never probes.

It also takes over jobs: one whose strategy is unknown to this version, or whose strategy crashed.
"""

from typing import ClassVar

from pacesetter.protocol import (
    Acknowledgement,
    FellBack,
    Finished,
    Measurements,
    Notice,
    Reason,
    SegmentEnded,
    SegmentPlan,
)
from pacesetter.schedules import Tier

from pacesetter_search.contract import (
    Advance,
    Body,
    Context,
    Event,
    JobFacts,
    LogEntry,
    Overridden,
    Registered,
    State,
    Strategy,
)

MOST_SENT = 5
"""Times the base schedule is sent before the job is left to follow it by itself, which it does unasked anyway."""


class Fixed(Strategy):
    """Sends the base schedule once, and again only where the job has come off it."""

    name: ClassVar[str] = "fixed"
    tier: ClassVar[Tier] = "supported"
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
        if state.get("overridden") or not self.decides_on(body) or not _has_left(state, body):
            return Advance(state)
        position = _position(body)
        remaining = context.job.budget.total - position
        sent = state.get("sent")
        if remaining <= 0 or not isinstance(sent, int) or sent >= MOST_SENT:
            return Advance(state)
        log = LogEntry("base_schedule", f"base schedule from {position}", {"position": position})
        following: State = {**state, "sent": sent + 1, "seq": context.next_seq}
        return Advance(following, (self._base_segment(context.job, position),), (log,))

    def _base_segment(self, job: JobFacts, position: int) -> SegmentPlan:
        text = self.text if position == 0 else f"{self.text}, taken up at {position}"
        return SegmentPlan(
            kind="main",
            when="now",
            start=position,
            length=job.budget.total - position,
            policy=job.base,
            reason=Reason(text=text),
            origin=self.name,
        )


def _has_left(state: State, body: Body) -> bool:
    """Whether, after ``body``, the job is not on the base schedule that was sent."""
    seq = state.get("seq")
    if isinstance(body, Finished):
        return False
    if seq is None or isinstance(body, Overridden):
        return True
    if isinstance(body, FellBack):
        return body.follows != seq
    if isinstance(body, Acknowledgement):
        # Refused means that the limits forbid the job's own base schedule: sending it again changes nothing.
        return body.segment == seq and body.status in ("stale", "superseded", "expired")
    return isinstance(body, SegmentEnded) and body.kind != "main"


def _position(body: Body) -> int:
    """Return the main-line position that an event was reported at."""
    if isinstance(body, SegmentEnded):
        return body.main_position
    return 0 if isinstance(body, Registered | Measurements | Notice) else body.position
