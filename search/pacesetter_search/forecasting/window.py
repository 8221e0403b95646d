"""A window of a loss curve, folded row by row into bins: small, and blind to how rows were cut into reports."""

from dataclasses import dataclass, field
from math import isfinite

from pacesetter_search.forecasting.mixture import Forecast, forecast
from pacesetter_search.losses import is_loss

BINS = 100
"""Bins over the window: a hundred raw points carry a forecast (autolrs.md W4), and state stays at a few kB."""


@dataclass(slots=True)
class Window:
    """Sums of positions and losses in ``BINS`` equal stretches; plain numbers throughout, so it is JSON as it stands.

    Attributes:
        length: Planned length in the job's clock; rows beyond it fall into the last bin.
        origin: Position of the first row, from which the bins are counted.
        non_finite: Rows whose loss was NaN, infinite or absurd.
    """

    length: int
    origin: float | None = None
    non_finite: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    positions: list[float] = field(default_factory=lambda: [0.0] * BINS)
    losses: list[float] = field(default_factory=lambda: [0.0] * BINS)

    def add(self, position: float | None, loss: float | None) -> None:
        """Fold in one row. Rows without a usable position, or whose loss was not measured, count for nothing."""
        if position is None or not isfinite(position) or loss is None:
            return
        if not is_loss(loss):
            self.non_finite += 1
            return
        if self.origin is None:
            self.origin = position
        offset = position - self.origin
        index = min(max(int(offset * BINS / max(self.length, 1)), 0), BINS - 1)
        self.counts[index] += 1
        self.positions[index] += offset
        self.losses[index] += loss

    @property
    def rows(self) -> int:
        """How many finite losses were folded in."""
        return sum(self.counts)

    def forecast(self, target: float) -> Forecast:
        """Predict the loss at the main-line position ``target``. Never raises; see :class:`Forecast`."""
        filled = [index for index, count in enumerate(self.counts) if count]
        counts = [self.counts[index] for index in filled]
        positions = [self.positions[index] / self.counts[index] for index in filled]
        losses = [self.losses[index] / self.counts[index] for index in filled]
        return forecast(positions, losses, target - (self.origin or 0.0), counts)
