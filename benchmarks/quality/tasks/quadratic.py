"""The noisy quadratic with a known optimum: SGD's exact expected loss, by recursion instead of sampling.

Along eigenvalue h the second moment m of the error follows ``m' = (1 - lr h)^2 m + lr^2 s``, with s the variance of the
gradient noise, and the expected loss is ``sum(h m) / 2`` [Zhang2019, arXiv 1907.04164]. Nothing is random.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.quality.tasks.base import Recipe, Split, Trial


@dataclass(frozen=True)
class QuadraticRecipe(Recipe):
    """Eigenvalues ``i ** -decay`` for i = 1..dimensions, noise variance ``noise`` times each."""

    dimensions: int = 200
    decay: float = 1.5
    noise: float = 0.02

    def open(self, seed: int, lr: float) -> "QuadraticTrial":
        """Return the training, which is the same for every seed."""
        del seed
        curvature = torch.arange(1, self.dimensions + 1, dtype=torch.float64) ** -self.decay
        model = Moments(curvature)
        return QuadraticTrial(model, [ExpectedSGD(model, self.noise * curvature, lr)])


class Moments(nn.Module):
    """The second moments of the error, as weights."""

    def __init__(self, curvature: Tensor) -> None:
        super().__init__()
        self.curvature: Tensor
        self.register_buffer("curvature", curvature)
        self.moments = nn.Parameter(torch.ones_like(curvature))

    def forward(self) -> Tensor:
        return 0.5 * self.curvature.dot(self.moments)


class ExpectedSGD(Optimizer):
    """Moves the moments as one step of SGD does in expectation. Gradients are not used."""

    def __init__(self, model: Moments, noise: Tensor, lr: float) -> None:
        super().__init__([model.moments], {"lr": lr})
        self._curvature, self._noise = model.curvature, noise

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # nothing is evaluated again
        """Advance every moment by one step."""
        del closure
        for group in self.param_groups:
            lr = group["lr"]
            for moments in group["params"]:
                moments.mul_((1.0 - lr * self._curvature) ** 2).add_(self._noise, alpha=lr * lr)


class QuadraticTrial(Trial):
    """Has no data: a batch is its position. A and B are the same number, as there is nothing to overfit."""

    model: Moments

    def batch_at(self, position: int) -> int:
        """Return the position."""
        return position

    def loss(self, batch: int) -> Tensor:
        """Return the expected loss."""
        del batch
        loss: Tensor = self.model()
        return loss

    def held_out_loss(self, split: Split) -> float:
        """Return the expected loss."""
        del split
        return float(self.model())
