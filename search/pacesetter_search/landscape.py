"""How much worse a run ends at a rate ``d`` octaves from the best one."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]

CURVATURE = 0.15
"""Second derivative of the final log loss over ``log2`` of the rate, at its best: half an octave costs an eighth of it,
.4 to 12 % in a pilot of small trainings; images of a drawn development set have .14 (Adam) and .22 (SGD)."""

CURVATURE_OF = {"pretrain": 0.03, "continued": 0.03}
"""By regime: 25 drawn small language models have .02 to .03, large ones .01 [Step Law grid]."""

CURVATURE_LOG_SD = 1.0
"""Standard deviation of its natural log between trainings."""


def curvature_of(regime: str) -> float:
    """Return the median curvature of a regime's trainings."""
    return CURVATURE_OF.get(regime, CURVATURE)


_LARGEST_EXPONENT = 40.0
"""Beyond it every loss is at the ceiling."""


def rise(
    octaves: FloatArray, curvature: FloatArray, asymmetry: FloatArray, ceiling: float | FloatArray
) -> FloatArray:
    """Return the rise of the loss ``octaves`` away from the optimum, in units of the score (log loss as a rule).

    The LINEX form ``curvature / asymmetry^2 (exp(asymmetry d) - asymmetry d - 1)`` [Varian1975]: quadratic near 0 with
    second derivative ``curvature``, exponential above, linear below. It saturates at ``ceiling``, the loss of a run
    that learned nothing.

    Args:
        octaves: ``log2`` of the rate minus ``log2`` of the best one.
        curvature: Second derivative at the optimum, broadcast against ``octaves``.
        asymmetry: Above 0; the larger, the worse is too high a rate than too low a one.
        ceiling: Above 0; may be of the same shape.
    """
    exponent = np.minimum(asymmetry * octaves, _LARGEST_EXPONENT)
    free = curvature / asymmetry**2 * (np.expm1(exponent) - exponent)
    saturated: FloatArray = -ceiling * np.expm1(-free / ceiling)
    return saturated


def divergence(octaves: FloatArray, thresholds: Sequence[tuple[float, float, float]]) -> FloatArray:
    """Return the probability that a run ``octaves`` above the optimum diverges: that its threshold lies below.

    Args:
        octaves: ``log2`` of the rate minus ``log2`` of the best one.
        thresholds: Logistics ``(weight, offset, width)`` of the octaves between the optimum and the threshold.
    """
    probability: FloatArray = np.zeros_like(octaves)
    for weight, offset, width in thresholds:
        probability = probability + weight * 0.5 * (
            1.0 + np.tanh((octaves - offset) / (2.0 * width))
        )
    return probability
