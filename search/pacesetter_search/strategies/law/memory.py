"""The state of ``law``: the horizon objective's, which follows a line in the same way, and what the family knows."""

from pydantic import Field

from pacesetter_search.memory.laws import FamilyLaw
from pacesetter_search.strategies.horizon import memory as horizon


class Memory(horizon.Memory):
    """What ``law`` remembers."""

    family: list[FamilyLaw] = Field(default_factory=list)
    """Laws of the job's family, as they were when it registered."""
