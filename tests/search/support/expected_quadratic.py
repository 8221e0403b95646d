"""The training problem of the notes whose expected loss is known exactly."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class ExpectedQuadratic:
    """The noisy quadratic of the notes, by its exact expected loss: d = 200, curvature i^-1.5, from one everywhere.

    The second moment of every weight follows ``v' = (1 - lr h)^2 v + lr^2 noise h``: the variance of the gradient's
    noise is ``noise h``. Nothing is random, so what a strategy gets wrong here is its objective.
    """

    dimensions: int = 200
    exponent: float = 1.5
    noise: float = 0.02
    holding: bool = False
    moments: Any = field(init=False)

    def __post_init__(self) -> None:
        self.curvature = np.arange(1.0, self.dimensions + 1.0) ** -self.exponent
        self.moments = np.ones(self.dimensions)

    def step(self, lr: float) -> float:
        """Take one step and return the loss before it."""
        loss = self.validate()
        with np.errstate(over="ignore", invalid="ignore"):
            kept = (1.0 - lr * self.curvature) ** 2 * self.moments
            self.moments = kept + lr * lr * self.noise * self.curvature
        return loss

    def validate(self) -> float:
        """Return the expected loss."""
        with np.errstate(over="ignore", invalid="ignore"):
            return 0.5 * float(self.curvature @ self.moments)

    def save(self) -> Any:
        """Return the whole state."""
        return self.moments.copy()

    def restore(self, state: Any, *, rewind: bool) -> None:
        """Bring a state back; there are no data to rewind."""
        self.moments = state.copy()
