"""A training problem with a known answer: a noisy quadratic that diverges above a threshold."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class NoisyQuadratic:
    """Loss ``floor + sum(h w^2) / 2`` under SGD with gradient noise; a batch is a function of its data position.

    Curvatures run from 1 down to 1/condition, so plain SGD diverges above a learning rate of 2. ``explode_above``
    makes the loss NaN at once above that rate.
    """

    dimensions: int = 20
    condition: float = 100.0
    noise: float = 0.02
    floor: float = 0.5
    explode_above: float = math.inf
    seed: int = 0
    data: int = 0
    holding: bool = False
    weights: Any = field(init=False)

    def __post_init__(self) -> None:
        self.curvature = np.geomspace(1.0, 1.0 / self.condition, self.dimensions)
        self.weights = np.ones(self.dimensions)

    def step(self, lr: float) -> float:
        """Take one step and return the loss before it."""
        draw = np.random.default_rng([self.seed, self.data]).standard_normal(self.dimensions + 1)
        self.data += not self.holding
        loss = self.floor + 0.5 * float(self.curvature @ self.weights**2)
        gradient = self.curvature * self.weights + self.noise * draw[:-1]
        with np.errstate(over="ignore", invalid="ignore"):
            self.weights = self.weights - lr * gradient
        if lr > self.explode_above:
            return math.nan
        return loss + 0.1 * self.noise * float(draw[-1])

    def validate(self) -> float:
        """Return the loss without noise."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.floor + 0.5 * float(self.curvature @ self.weights**2)

    def save(self) -> tuple[Any, int]:
        """Return the whole state."""
        return self.weights.copy(), self.data

    def restore(self, state: tuple[Any, int], *, rewind: bool) -> None:
        """Bring a state back, with its place in the data if ``rewind``."""
        self.weights, data = state[0].copy(), state[1]
        if rewind:
            self.data = data
