r"""The two sums of the annealing law: how much was trained, and how much the rate has come down.

.. math::
    S_1 = \sum_i \eta_i^p, \quad S_2 = \sum_i m_i, \; m_i = \lambda m_{i-1} + (\eta_{i-1}^q - \eta_i^q), \; \eta_0 = 0

Minus :math:`S_2` over the memory :math:`1 / (1 - \lambda)` is the running average of :math:`\eta^q` from zero on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pacesetter_search.laws.curves import Curve, FloatArray

LONGEST_MEMORY = 1000.0
"""1 / (1 - lambda) in steps of a job."""


class Sums(NamedTuple):
    """What is not fitted: memory, powers, and the units that keep the parameters near 1."""

    memory: float
    signal_power: float
    noise_power: float
    signal_scale: float
    noise_scale: float

    @classmethod
    def of(
        cls,
        curves: Sequence[Curve],
        memory: float,
        *,
        signal_power: float = 1.0,
        noise_power: float = 1.0,
    ) -> "Sums":
        """Return the sums in the units of ``curves``: S1 of the largest, and a drop of the whole peak, remembered."""
        total = max(float(np.sum(curve.lrs)) for curve in curves)
        peak = max(curve.peak for curve in curves)
        return cls(memory, signal_power, noise_power, total, peak * LONGEST_MEMORY)

    def terms(self, lrs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return S1 and S2 after every step of ``lrs``, (steps,) each."""
        return (
            np.cumsum(raised(lrs, self.signal_power)) / self.signal_scale,
            np.cumsum(self.momentum(raised(lrs, self.noise_power))) / self.noise_scale,
        )

    def momentum(self, values: FloatArray) -> FloatArray:
        """Return m after every step, (steps,), for ``values`` that start from zero."""
        from scipy.signal import lfilter

        drops = np.empty_like(values)
        drops[0], drops[1:] = -values[0], values[:-1] - values[1:]
        result: FloatArray = lfilter([1.0], [1.0, self.memory**-1.0 - 1.0], drops)
        return result

    def thinned(self, factor: float) -> "Sums":
        """Return the sums where a step stands for ``factor`` of the steps here; the shortest memory is one of those."""
        memory = max(self.memory / factor, 1.0)
        # What a drop adds up to in the end stays the same.
        return self._replace(
            memory=memory,
            signal_scale=self.signal_scale / factor,
            noise_scale=self.noise_scale * memory / self.memory,
        )


def raised(values: FloatArray, power: float) -> FloatArray:
    """Return ``values`` to a power, without the cost of one where it is 1."""
    return values if power == 1.0 else values**power


def default_memory(curves: Sequence[Curve], stride: float) -> float:
    """Return 1000 steps of a job, or 1/24 of the longest curve where that is shorter, in steps of the curves.

    .999 is what was measured on runs of 24,000 steps and more; shorter runs get the same share.
    """
    longest = max(curve.steps for curve in curves)
    return max(min(LONGEST_MEMORY / stride, longest / 24.0), 1.0)
