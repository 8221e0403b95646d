"""The convex bound of a schedule: what theory says of a shape before anything is trained.

Last-iterate bound of stochastic (sub)gradient descent, Theorem 10 of [Defazio2023, arXiv 2310.07831 v1], whose value
follows real loss curves closely [Schaipp2025, arXiv 2501.18965]. With rates eta_t, norms G_t and the distance D to the
solution, S = sum of eta::

    Omega = D^2 / 2S + sum eta_t^2 G_t^2 / 2S
            + 1/2 sum_{k < T} (eta_k / sum_{t > k} eta_t) (sum_{t >= k} eta_t^2 G_t^2 / sum_{t >= k} eta_t)

With the base rate gamma in front of the shape it is T1 / gamma + gamma (T2 + T3), so the best base rate and the bound
there are closed forms. With constant norms neither D nor G changes the order of shapes.

Limits: it is loose by about two, and its order is wrong for fewer than about 20 steps: use 100 or more.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pacesetter.schedules.base import FloatArray


@dataclass(frozen=True, slots=True)
class ConvexBound:
    """The bound of one schedule."""

    terms: tuple[float, float, float]
    """T1 (distance), T2 and T3 (noise) at base rate 1."""

    @property
    def value(self) -> float:
        """The bound of the schedule as it is."""
        return math.fsum(self.terms)

    @property
    def best_base_lr(self) -> float:
        """The factor on the schedule that makes the bound least."""
        distance, average, last = self.terms
        return math.sqrt(distance / (average + last))

    @property
    def best_value(self) -> float:
        """The bound at ``best_base_lr``."""
        distance, average, last = self.terms
        return 2.0 * math.sqrt(distance * (average + last))


def convex_bound(
    rates: npt.ArrayLike, norms: npt.ArrayLike = 1.0, distance: float = 1.0
) -> ConvexBound:
    """Return the bound of a schedule.

    Args:
        rates: (steps,) learning rate of each step, all above 0: a schedule that ends in 0 is given without that value.
        norms: (steps,) gradient norm of each step, or one for all.
        distance: From the start to the solution.

    Raises:
        ValueError: A rate is not above 0 (a zero would be divided by), or there is none.
    """
    eta = np.asarray(rates, dtype=np.float64)
    if eta.ndim != 1 or not len(eta) or not (np.isfinite(eta) & (eta > 0.0)).all():
        raise ValueError(
            "the bound takes a series of learning rates above 0; leave out the zero at the end of a decay"
        )
    noise = (eta * np.broadcast_to(np.asarray(norms, dtype=np.float64), eta.shape)) ** 2
    rest, noise_rest = _from_the_end(eta), _from_the_end(noise)
    total = float(rest[0])
    last = 0.5 * float(np.sum(eta[:-1] / rest[1:] * noise_rest[:-1] / rest[:-1]))
    return ConvexBound((distance**2 / (2.0 * total), float(noise_rest[0]) / (2.0 * total), last))


def _from_the_end(values: FloatArray) -> FloatArray:
    """Return the sum of each value and all after it; summed backwards, as total minus the sum so far would cancel."""
    sums: FloatArray = np.cumsum(values[::-1])[::-1]
    return sums
