"""The simple noise scale, from squared gradient norms of two batch sizes [McCandlish2018, arXiv 1812.06162].

A mean gradient over ``B`` samples has ``E|g|^2 = |G|^2 + tr(Sigma) / B``; two batch sizes give both. The estimates of
one step are noisy and may be negative, and the mean of their ratios is biased: average both by themselves, then divide.
"""

import math
from dataclasses import dataclass
from typing import Any

USABLE = 1e150
"""Greater moments are taken for overflow: squares of lesser ones stay finite."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Unbiased estimates of one step; either may be negative."""

    gradient: float
    """``|G|^2``, the squared norm of the true gradient."""
    noise: float
    """``tr(Sigma)``, the variance of one sample's gradient, summed over parameters."""


def moments_of(
    small_norm_squared: float, big_norm_squared: float, small_batch: float, big_batch: float
) -> Moments:
    """Return ``|G|^2`` and ``tr(Sigma)`` from the squared norms of mean gradients over two batch sizes.

    Args:
        small_norm_squared: Mean over micro-batches of the squared norm of a micro-batch's mean gradient.
        big_norm_squared: Squared norm of the mean gradient of the whole batch.
        small_batch: Samples of a micro-batch.
        big_batch: Samples of the whole batch, more than that.

    Raises:
        ValueError: The batches are not of two sizes.
    """
    if not 0.0 < small_batch < big_batch:
        raise ValueError(
            f"batches of {small_batch:g} and {big_batch:g} tell nothing apart; split the batch into micro-batches"
        )
    gradient = (big_batch * big_norm_squared - small_batch * small_norm_squared) / (
        big_batch - small_batch
    )
    noise = (small_norm_squared - big_norm_squared) / (1.0 / small_batch - 1.0 / big_batch)
    return Moments(gradient, noise)


class NoiseScale:
    """Running estimate of ``B_noise = tr(Sigma) / |G|^2``, in samples.

    Both moments are averaged by themselves, in float64, as the plain mean of the first ``horizon`` steps and a running
    one afterwards, so the start needs no correction. A step whose norms are not finite is left out.

    Args:
        horizon: Steps that count, about. A few hundred: a short one reads high, and its error is too small.

    Raises:
        ValueError: ``horizon`` is below 1.
    """

    def __init__(self, horizon: float = 200.0) -> None:
        if not horizon >= 1.0:
            raise ValueError(f"a horizon of {horizon} steps is impossible; give 1 or more")
        self.horizon = horizon
        self.steps = 0
        self.skipped = 0
        self._gradient = self._noise = 0.0
        self._gradient_variance = self._noise_variance = self._covariance = 0.0

    def update(
        self,
        small_norm_squared: float,
        big_norm_squared: float,
        small_batch: float,
        big_batch: float,
    ) -> None:
        """Take in one optimizer step; arguments as of :func:`moments_of`."""
        found = moments_of(small_norm_squared, big_norm_squared, small_batch, big_batch)
        if not (abs(found.gradient) < USABLE and abs(found.noise) < USABLE):
            self.skipped += 1
            return
        self.steps += 1
        share = max(1.0 / self.steps, 1.0 / self.horizon)
        by_gradient, by_noise = found.gradient - self._gradient, found.noise - self._noise
        self._gradient += share * by_gradient
        self._noise += share * by_noise
        rest = 1.0 - share
        self._gradient_variance = rest * (self._gradient_variance + share * by_gradient**2)
        self._noise_variance = rest * (self._noise_variance + share * by_noise**2)
        self._covariance = rest * (self._covariance + share * by_gradient * by_noise)

    @property
    def moments(self) -> Moments:
        """The averaged ``|G|^2`` and ``tr(Sigma)``."""
        return Moments(self._gradient, self._noise)

    @property
    def value(self) -> float | None:
        """``B_noise`` in samples; None while no gradient stands out of the noise."""
        if self.steps == 0 or not self._gradient > 0.0:
            return None
        return max(self._noise, 0.0) / self._gradient

    @property
    def standard_error(self) -> float | None:
        """Standard error of the value by the delta method, steps taken as independent; None where it is unknown."""
        value, counted = self.value, min(float(self.steps), 2.0 * self.horizon)
        if value is None or self.steps < 2:
            return None
        variance = (
            self._noise_variance
            + value**2 * self._gradient_variance
            - 2.0 * value * self._covariance
        )
        return math.sqrt(max(variance, 0.0) / (counted - 1.0)) / self._gradient

    def state_dict(self) -> dict[str, Any]:
        """Return all that is known as JSON values; an endless horizon is None."""
        return {**vars(self), "horizon": self.horizon if math.isfinite(self.horizon) else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name in vars(self):
            setattr(self, name, state[name])
        self.horizon = math.inf if state["horizon"] is None else float(state["horizon"])
