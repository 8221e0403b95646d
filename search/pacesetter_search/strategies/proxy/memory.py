"""The state of ``proxy``: that of ``zero_tuning``, which sends its main line in the same way, and what proxies said."""

from pacesetter.schedules import Schedule
from pydantic import BaseModel, ConfigDict

from pacesetter_search.strategies.zero_tuning.memory import Memory


class Heard(BaseModel):
    """What the proxies said last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    log2_lr: float
    """Of the best peak at the job's place, at the shape of the base schedule."""
    sd: float
    trials: int


class ProxyMemory(Memory):
    """What ``proxy`` remembers."""

    goes_on: bool = True
    """Until it pays to start again: what was trained is thrown away for nothing else."""
    heard: Heard | None = None
    line: Schedule | None = None
    """What the main line was sent last."""
    moves: int = 0
    """How often it was moved since it began."""
    unanswered: bool = False
    """Whether they spoke while the job was being started again."""
    restarting: int | None = None
    """``seq`` of the segment that starts it again, until that has begun."""
