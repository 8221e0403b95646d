"""Where best peaks are measured or asked for: a size, a budget, a batch, and a family of runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.transfer.hinge import BATCH_POWER

REACH = (1.0, 4.0, math.inf, 1.0, 1.0)
"""Octaves in parameters, tokens, batch, width and depth over which runs share what is their own: a shorter run of the
same model is more like it than another model is, and what the batch does is in the hinge. Nobody measured it."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """A measured best peak: of a sweep at one size, budget and batch.

    Attributes:
        parameters: Without embeddings.
        tokens: Of the whole run.
        batch: Tokens of an optimizer step.
        lr: The best peak.
        sd: Octaves that it is known to; 0: as well as the model's own scatter.
        width: Over the base width; 1 where sizes differ by parameters only.
        depth: Over the base depth.
        family: Runs of one family share an effect.
        shape: Octaves that the best peak of its schedule lies above that of a linear decay, by the convex bound; ``lr``
            is what that makes of it for a linear decay.
    """

    parameters: float
    tokens: float
    batch: float
    lr: float
    sd: float = 0.0
    width: float = 1.0
    depth: float = 1.0
    family: str = ""
    shape: float = 0.0

    def check(self) -> None:
        """Raise ValueError if a count is impossible, or a rate is not above 0."""
        counts = (self.parameters, self.tokens, self.batch, self.lr, self.width, self.depth)
        possible = all(math.isfinite(count) and count > 0.0 for count in counts)
        if not possible or not self.sd >= 0.0:
            raise ValueError(
                f"{self} is impossible; counts, rates and ratios are above 0, an sd is not below it"
            )
        if self.batch > self.tokens:
            raise ValueError(f"{self} has a batch larger than its tokens; give both in tokens")


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Several places as columns.

    Attributes:
        logs: (n, 5) log2 of parameters, tokens, batch, width and depth.
        families: (n,) of each.
        shapes: (n,) octaves that are put down to their schedules.
    """

    logs: FloatArray
    families: tuple[str, ...]
    shapes: FloatArray

    @classmethod
    def of(cls, optima: Sequence[Optimum]) -> "Places":
        """Return the places of ``optima``; their rates are not looked at."""
        rows = [(one.parameters, one.tokens, one.batch, one.width, one.depth) for one in optima]
        logs = np.log2(np.array(rows, dtype=np.float64).reshape(-1, 5))
        shapes = np.array([one.shape for one in optima], dtype=np.float64)
        return cls(logs, tuple(one.family for one in optima), shapes)

    def features(self, kappa: float) -> FloatArray:
        """Return log2 of parameters, tokens, batch up to ``kappa D^.571``, width and depth; and the shape, (n, 6)."""
        parameters, tokens, batch, width, depth = self.logs.T
        hinge = np.minimum(batch, math.log2(kappa) + BATCH_POWER * tokens)
        return np.column_stack((parameters, tokens, hinge, width, depth, self.shapes))

    def related(self, other: "Places") -> FloatArray:
        """Return 1 where both are of one family and 0 elsewhere, (n, m)."""
        names = {name: number for number, name in enumerate({*self.families, *other.families})}
        mine, theirs = (
            np.array([names[name] for name in each.families], dtype=np.int64)
            for each in (self, other)
        )
        return np.asarray(mine[:, None] == theirs[None, :], dtype=np.float64)

    def nearness(self, other: "Places") -> FloatArray:
        """Return how far runs at both places share what is their own, 1 at the same place, (n, m)."""
        apart = (self.logs[:, None, :] - other.logs[None, :, :]) / np.array(REACH)
        near: FloatArray = np.exp(-0.5 * np.sum(apart**2, axis=-1)) * self.related(other)
        return near

    def outside(self, others: "Places") -> float:
        """Return how many octaves the first place lies outside of ``others``, in parameters and tokens together."""
        here, known = self.logs[0, :2], others.logs[:, :2]
        below, above = known.min(axis=0) - here, here - known.max(axis=0)
        return float(np.sum(np.maximum(below, 0.0) + np.maximum(above, 0.0)))
