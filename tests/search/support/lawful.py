"""A training problem that follows an annealing law exactly."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pacesetter.curves import Points
from pacesetter.schedules import Schedule


@dataclass
class Lawful:
    """Loss ``1 + (S1 / (lr steps))^-.5 - drop S2 / (lr memory)``, with noise of ``noise`` times the loss.

    A decay brings ``drop`` at once, and a high rate progress: the best schedule holds, and falls late.
    """

    lr: float = 1e-3
    steps: int = 2000
    memory: float = 80.0
    drop: float = 0.3
    noise: float = 1e-3
    holding: bool = False

    def __post_init__(self) -> None:
        self.sums = np.zeros(4)  # S1, the momentum of S2, S2, the last rate
        self.data = 0

    def step(self, lr: float) -> float:
        """Take one step and return the loss after it."""
        signal, momentum, annealed, before = self.sums
        momentum = (1.0 - 1.0 / self.memory) * momentum + before - lr
        self.sums = np.array([signal + lr, momentum, annealed + momentum, lr])
        self.data += not self.holding
        draw = np.random.default_rng(self.data).standard_normal()
        return self.validate() * float(np.exp(self.noise * draw))

    def validate(self) -> float:
        """Return the loss without noise."""
        signal = max(self.sums[0] / (self.lr * self.steps), 1e-4)
        return float(1.0 + signal**-0.5 - self.drop * self.sums[2] / (self.lr * self.memory))

    def save(self) -> tuple[Any, int]:
        """Return the whole state."""
        return self.sums.copy(), self.data

    def restore(self, state: tuple[Any, int], *, rewind: bool) -> None:
        """Bring a state back, with its place in the data if ``rewind``."""
        self.sums, data = state[0].copy(), state[1]
        if rewind:
            self.data = data

    def after(self, base: Schedule) -> float:
        """Return what a run under ``base`` ends with."""
        self.points(base)
        return self.validate()

    def points(self, base: Schedule) -> Points:
        """Train a whole run under ``base`` and return its curve."""
        rates = self.lr * base.over(np.arange(base.length, dtype=np.float64))
        losses = np.array([self.step(float(rate)) for rate in rates])
        return Points(np.arange(1.0, base.length + 1.0), rates, losses)
