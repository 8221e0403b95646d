"""What ``refinement`` remembers: one JSON document of bounded size."""

from collections.abc import Sequence
from typing import Literal

from pacesetter.protocol import Measurements
from pydantic import BaseModel, ConfigDict

MOST_ROWS = 500
"""Rows of a short run that are kept: every second one goes where there are more, again and again."""

TAIL = 0.2
"""Share of a short run whose losses are its score where the job does not validate."""

USABLE = 1e100
"""Greater values are taken for overflow; sums and squares of lesser ones stay finite."""


class Window(BaseModel):
    """The rows of a short run."""

    model_config = ConfigDict(extra="forbid")

    seen: int = 0
    stride: int = 1
    norms: list[float] = []
    """In order; those of skipped and broken steps are left out."""
    losses: list[tuple[float, float]] = []
    """Position and loss of the last part."""

    def fold(self, body: Measurements, column: str, length: int) -> None:
        """Take in rows one by one: how they were cut into records makes no difference."""
        columns = body.columns
        places = columns["position"]
        nothing: list[float | None] = [None] * len(places)
        norms, losses = columns.get(column, nothing), columns.get("loss", nothing)
        for place, norm, loss in zip(places, norms, losses, strict=True):
            kept = self.seen % self.stride == 0
            self.seen += 1
            if kept and norm is not None and 0.0 <= norm < USABLE:
                self._keep(norm)
            if place is not None and place >= (1.0 - TAIL) * length and _usable(loss):
                assert loss is not None
                self._keep_loss(place, loss)

    def _keep(self, norm: float) -> None:
        self.norms.append(norm)
        if len(self.norms) > MOST_ROWS:
            self.norms, self.stride = self.norms[::2], 2 * self.stride

    def _keep_loss(self, place: float, loss: float) -> None:
        self.losses.append((place, loss))
        if len(self.losses) > MOST_ROWS:
            # The first ones: both runs then lose the same, and what is left is nearest to the end.
            del self.losses[0]


def _usable(loss: float | None) -> bool:
    return loss is not None and abs(loss) < USABLE


class ShortRun(BaseModel):
    """A short run that is over."""

    model_config = ConfigDict(extra="forbid")

    validation: float | None = None
    losses: list[tuple[float, float]] = []


class Memory(BaseModel):
    """The state."""

    model_config = ConfigDict(extra="forbid")

    stage: Literal["base", "refined", "main"] = "base"
    """Which short run is due or under way; ``main`` once that is decided."""
    seq: int | None = None
    """The newest segment."""
    sent: int = 0
    replans: int = 0
    length: int = 0
    """Of a short run."""
    spent: int = 0
    """Units of short runs that were trained, or may have been."""
    window: Window | None = None
    base: ShortRun | None = None
    refined: list[float] | None = None
    """The refined shape."""
    takes: bool = False
    """Whether the main line follows it."""
    validates: bool = True
    overridden: bool = False

    def void(self) -> None:
        """Forget the short run under way."""
        self.window = None

    def shape(self) -> Sequence[float]:
        """Return the refined shape, which there has to be."""
        assert self.refined is not None
        return self.refined
