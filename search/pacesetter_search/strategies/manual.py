"""``manual``: people decide; until one does, and once they hand the job back, it follows its base schedule.

It is ``fixed`` without a say of its own: where segments need a person's consent it proposes nothing, as a person who
wants something sends it (``POST /v1/jobs/{job}/overrides``). Handed back, it asks for the base schedule once.
"""

from typing import ClassVar

from pacesetter.schedules import Tier

from pacesetter_search.contract import Advance, Context, Event, Overridden, State
from pacesetter_search.strategies.fixed import Fixed


class Manual(Fixed):
    """Follows the base schedule until a person says otherwise."""

    name: ClassVar[str] = "manual"
    tier: ClassVar[Tier] = "supported"
    handles_budget: ClassVar[bool] = True
    text: ClassVar[str] = "the base schedule, until a person says otherwise"

    def advance(self, state: State, event: Event, context: Context) -> Advance:
        """Send the base schedule where the job does not follow it and no person has taken over."""
        asked = isinstance(event.body, Overridden)
        if context.job.authority != "steer" and not asked:
            return Advance(state)
        return super().advance(state, event, context)
