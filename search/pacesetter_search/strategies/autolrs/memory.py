"""The state of ``autolrs``: everything it remembers of a job, as one JSON document."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pacesetter_search.contract import State
from pacesetter_search.forecasting import Window
from pacesetter_search.strategies.autolrs.stages import Stage
from pacesetter_search.surrogates.responses import Response

RECENT_STAGES = 10
"""Stages that the surrogate sees: correlation over stages decays, and a fit costs the cube of its points."""


class Sent(BaseModel):
    """A segment that was sent and of which the end is not known yet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seq: int
    kind: Literal["main", "probe"]
    stage: int
    x: float | None
    """Place in the range; None for the base schedule."""
    start: int
    length: int
    chained: bool = True
    """Whether it continues a segment of the main line, so that a resumed session finds its way into it."""


class Tried(BaseModel):
    """A rate that a stage has spent a probe on, whatever came of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: int
    x: float


class Memory(BaseModel):
    """What ``autolrs`` remembers."""

    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    stages: tuple[Stage, ...] = ()
    stage: int = 0
    """Index of the stage that is being probed; ``len(stages)`` when the last one runs."""
    incumbent: float | None = None
    """Place of the rate of the main line; None while it follows the base schedule."""
    responses: list[Response] = []
    tried: list[Tried] = []
    live: list[Sent] = []
    """Segments sent and not yet over, oldest first."""
    window: Window | None = None
    """The loss curve of the probe that runs."""
    level: float | None = None
    """Moving average of the main line's loss."""
    spread: float = 0.0
    """Moving average of how far one batch's loss is from ``level``: the noise that is no divergence."""
    spent: int = 0
    """Clock units of all probes planned so far, with what they overshot; never given back."""
    overshoot: int = 0
    """Longest overshoot of a probe: a step in tokens ends where it ends."""
    ceiling: float = 1.0
    """Highest place that the client did not refuse."""
    refusals: int = 0
    replans: int = 0
    may_probe: bool = True
    may_rewind: bool = True
    aside: bool = False
    """A person steers."""
    quiet: bool = False
    """Nothing is planned any more: the job ended, or planning kept failing."""

    @property
    def probe(self) -> Sent | None:
        """The probe that runs or will run next, if one was sent."""
        return next((sent for sent in self.live if sent.kind == "probe"), None)

    def find(self, seq: int) -> Sent | None:
        """Return the live segment numbered ``seq``."""
        return next((sent for sent in self.live if sent.seq == seq), None)

    def tried_places(self, stage: int) -> list[float]:
        """Return the places that ``stage`` has spent a probe on."""
        return [tried.x for tried in self.tried if tried.stage == stage]

    def lowest_diverged(self, stage: int) -> float | None:
        """Return the lowest place that diverged in ``stage``."""
        places = [
            one.x for one in self.responses if one.stage == stage and one.status == "diverged"
        ]
        return min(places, default=None)

    def untry(self, probe: Sent) -> None:
        """Give a rate back to its stage: its probe did not run to an end."""
        self.tried = [one for one in self.tried if (one.stage, one.x) != (probe.stage, probe.x)]

    def void(self) -> None:
        """Forget every segment that was sent and is not over. What they were to cost stays spent."""
        for sent in self.live:
            if sent.kind == "probe":
                self.untry(sent)
        self.live = []
        self.window = None

    def forget(self, before: int) -> None:
        """Drop what no later decision looks at: the state stays small however long the job is."""
        self.responses = [one for one in self.responses if one.stage > before - RECENT_STAGES]
        self.tried = [one for one in self.tried if one.stage >= before]

    def document(self) -> State:
        """Return this as a state document."""
        return self.model_dump(mode="json")
