"""What a session follows of an earlier one whose budget was another."""

from pacesetter.errors import ScheduleError
from pacesetter.protocol import Segment


def fitted(segment: Segment, total: int, position: int, before: int, base: Segment) -> Segment:
    """Return a main segment of an earlier session, changed so that it leads to the end of this session's budget.

    Where its rate is zero it has nothing to lead there with: the base schedule of this start takes its place.

    Args:
        segment: What the earlier session ran.
        total: Budget of this session.
        position: Where this session begins, before ``total``.
        before: Budget that the segment was planned for, where it names none.
        base: The base schedule to the end of this session's budget.
    """
    try:
        return segment.for_budget(total, position, before=segment.budget or before)
    except ScheduleError:
        length = total - segment.start
        return segment.model_copy(update={"budget": total, "length": length, "policy": base.policy})
