"""What the follower asks of the run loop, one value at a time.

``Save`` and ``Leave`` may fail: the run loop answers them with a sentence of what went wrong, and everything else (and
success) with None.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias

from pacesetter.protocol import Segment
from pacesetter.protocol.records import AckStatus, Outcome


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Tell the service what became of a segment that did not run (others: after their first step)."""

    seq: int
    status: AckStatus
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """A segment is over: validate if it asks for that, report it, flush."""

    segment: Segment
    outcome: Outcome
    code: str | None
    steps: int
    tokens: int
    position: int
    """Where the segment itself ended."""
    main_position: int


@dataclass(frozen=True, slots=True)
class Save:
    """Keep the running state under a name."""

    name: str
    position: int
    rolling: bool = False
    """One of the snapshots that the client keeps by itself: say its name, nobody else knows it."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Keep the main line as it is: a probe or a branch leaves it here."""


@dataclass(frozen=True, slots=True)
class Return:
    """Bring the main line back as it was left."""

    final: bool
    """True: the job goes on there, so its data position returns and the copy is dropped. False: a sibling starts."""
    rewind: bool
    """Whether the batches are those that followed when the main line was left."""


@dataclass(frozen=True, slots=True)
class Load:
    """Bring back a named state."""

    name: str
    main: bool
    """The main line goes on from here: a rollback."""
    rewind: bool


@dataclass(frozen=True, slots=True)
class Release:
    """Forget checkpoints that nobody will ask for any more."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A segment drives the learning rate from the next step on."""

    segment: Segment
    again: bool = False
    """It ran before and was acknowledged then: the main line goes on after a fallback."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is left to run off the main line: wait for the next segment, within the bound."""


@dataclass(frozen=True, slots=True)
class FallBack:
    """Nothing came: the main line goes on under its newest policy."""

    follows: int
    restored: str | None = None
    """The snapshot that it goes on from, where a stop clause had ended it."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The job is over: at its budget, or by a stop (``stop`` is then its ``seq``)."""

    stop: int | None = None


Effect: TypeAlias = (
    Acknowledge | End | Save | Leave | Return | Load | Release | Begin | Wait | FallBack | Finish
)
Effects: TypeAlias = Generator[Effect, str | None, None]
Keeping: TypeAlias = Generator[Effect, str | None, str | None]
"""Effects that end in what went wrong, or None."""
