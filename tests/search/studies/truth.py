"""A landscape that is known: best rates that move with width, horizon and batch, noise, divergence, and FLOPs."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from pacesetter.protocol import Cost, Value
from pacesetter_search.landscape import rise
from pacesetter_search.studies.cells import Cell, Names

NAMES = Names()


@dataclass(frozen=True)
class Truth:
    """log2 of the best rate is linear in the octaves of a cell over width 256 and 1200 steps at batch 16."""

    best: float = -5.5
    by_width: float = 0.05
    by_steps: float = -0.35
    by_batch: float = 0.5
    scatter: float = 0.05
    curvature: float = 0.04
    noise: float = 0.008
    threshold: float = 3.0
    seed: int = 0

    def optimum(self, cell: Cell) -> float:
        steps, width, batch = (
            math.log2(cell.steps / 1200.0),
            math.log2(cell.width / 256.0),
            math.log2(cell.batch / 16.0),
        )
        moved = self.by_width * width + self.by_steps * steps + self.by_batch * batch
        own = self._normal("cell", cell) * self.scatter if cell != TARGET else 0.0
        return self.best + moved + own

    def loss(self, parameters: dict[str, Value]) -> float | None:
        cell = Cell.of(parameters, NAMES)
        octaves = math.log2(float(parameters["lr"])) - self.optimum(cell)
        if octaves > self.threshold:
            return None
        above = rise(np.array([octaves]), np.array([self.curvature]), np.array([0.8]), 0.8)
        level = 2.0 + 4.0 * cell.steps**-0.3 + 2.0 * cell.width**-0.5
        noise = self.noise * self._normal("run", sorted(parameters.items()))
        return float(level * math.exp(float(above[0]) + noise))

    def regret(self, cell: Cell, log2_lr: float) -> float:
        """Log of the loss at a rate over the best one."""
        octaves = np.array([log2_lr - self.optimum(cell)])
        return float(rise(octaves, np.array([self.curvature]), np.array([0.8]), 0.8)[0])

    def _normal(self, *what: object) -> float:
        digest = hashlib.blake2b(repr((self.seed, what)).encode(), digest_size=8).digest()
        return float(np.random.default_rng(int.from_bytes(digest, "big")).standard_normal())


def cost(parameters: dict[str, Value]) -> Cost:
    """Six FLOPs a token and parameter: of two layers, and of the embeddings of 256 bytes on both sides."""
    cell = Cell.of(parameters, NAMES)
    tokens = cell.steps * cell.batch * 64.0
    weights = 24.0 * cell.width**2 + 512.0 * cell.width
    return Cost(steps=int(cell.steps), tokens=tokens, flops=6.0 * tokens * weights, seconds=1.0)


TARGET = Cell(width=256.0, steps=1200.0, batch=16.0)
