"""What an outlook says, as it travels."""

from pacesetter.schedules import Schedule
from pydantic import BaseModel, ConfigDict

from pacesetter_search.laws.stored import FittedTo


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Expected(_Strict):
    """An expected loss; null where the curves cannot tell it."""

    loss: float | None
    loss_90: tuple[float, float] | None


class Planned(Expected):
    """What the schedule in force ends with."""

    position: int
    """Where the budget ends."""
    schedule: Schedule


class Decay(Expected):
    """What a decay to zero from here on ends with."""

    length: int
    held: float | None
    """Expected loss where the rate is held over the same steps instead."""
    gain: float | None
    """Shrunken relative gain over that."""
    schedule: Schedule
    """Of the decay, in positions of the main line."""


class Way(Expected):
    """A way to make the run longer."""

    name: str
    rank: int | None
    gain: float | None
    """Shrunken relative gain over the schedule as it is."""
    schedule: Schedule


class Longer(_Strict):
    """A longer budget, and the ways to get there, best first."""

    factor: float
    total: int
    ways: tuple[Way, ...]
    refused: dict[str, str]


class Outlook(_Strict):
    """The answer."""

    position: int
    law: str | None
    """The stored law that it rests on; null: one that was fitted to the job's own curve."""
    tells_decay: bool
    """False: no loss after a fall of the rate is given, as nothing that was measured tells it."""
    shift: float
    """By how much the job's losses lie off a stored law, relatively: what was predicted is moved by it."""
    now: Expected
    planned: Planned
    decays: tuple[Decay, ...]
    extensions: tuple[Longer, ...]
    evidence: tuple[FittedTo, ...]
    warnings: tuple[str, ...]
