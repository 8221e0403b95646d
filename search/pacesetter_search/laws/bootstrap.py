r"""How far a fit would move on other noise of the same kind: the residual block bootstrap, in one step.

Residuals of a curve move together (lag-one correlation .8 to .9 on public curves), so they are drawn in blocks. Around
the optimum a draw moves the parameters by :math:`H^{-1} J^T \psi^*`, one Newton step. The mean over all draws of
overlapping blocks is known in closed form [Kunsch1989, Annals of Statistics 17]: the autocovariance of the residuals
under Bartlett's weights. So nothing is drawn, and equal curves give equal covariances.
"""

from collections.abc import Sequence

import numpy as np

from pacesetter_search.laws.curves import FloatArray


def block_bootstrap(
    jacobian: FloatArray,
    scores: FloatArray,
    sizes: Sequence[int],
    *,
    curvature: FloatArray,
    prior: FloatArray,
) -> FloatArray:
    """Return the covariance of the parameters, (p, p).

    Args:
        jacobian: (n, p) weighted derivatives of the residuals by the parameters.
        scores: (n,) weighted residuals as the cost counts them, bounded where it is robust.
        sizes: Rows of each curve; blocks do not reach across curves.
        curvature: (p, p) second derivative of the cost, the prior's part included.
        prior: (p, p) covariance of the prior's own pull, as a prior is uncertain as well.
    """
    length = block_length(scores, sizes)
    covariances = autocovariance(scores, sizes, length)
    spread = _spread(jacobian, covariances, sizes)
    inverse = np.linalg.inv(curvature)
    # What was fitted away: residuals are smaller than errors by as much as parameters were free to follow them.
    effective = scores.size * covariances[0] / max(_long_run(covariances), 1e-300)
    used = float(np.trace(inverse @ (jacobian.T @ jacobian)))
    inflation = effective / max(effective - used, 1.0) if effective > 1.0 else 1.0
    result: FloatArray = inverse @ (max(inflation, 1.0) * spread + prior) @ inverse
    return 0.5 * (result + result.T)


def block_length(scores: FloatArray, sizes: Sequence[int]) -> int:
    """Return the length of a block by the plug-in rule for an autoregression [Andrews1991, Econometrica 59]."""
    longest = max(sizes)
    if longest < 3 or not np.any(scores):
        return 1
    variance, following = autocovariance(scores, sizes, 2)
    correlation = float(np.clip(following / variance, 0.0, 0.97))
    slowness = 4.0 * correlation**2 / ((1.0 - correlation) ** 2 * (1.0 + correlation) ** 2)
    return int(np.clip(np.ceil(1.1447 * (slowness * longest) ** (1.0 / 3.0)), 1, longest // 2))


def autocovariance(scores: FloatArray, sizes: Sequence[int], lags: int) -> FloatArray:
    """Return the autocovariance of all curves at lags 0 to ``lags`` - 1, (lags,)."""
    parts = np.split(scores, np.cumsum(sizes)[:-1])
    sums = [
        sum(float(part[lag:] @ part[: part.size - lag]) for part in parts if part.size > lag)
        for lag in range(lags)
    ]
    return np.array(sums) / scores.size


def _long_run(covariances: FloatArray) -> float:
    """Return the variance that a sum of many has per member, under Bartlett's weights."""
    weights = 1.0 - np.arange(covariances.size) / covariances.size
    return float(2.0 * weights @ covariances - covariances[0])


def _spread(jacobian: FloatArray, covariances: FloatArray, sizes: Sequence[int]) -> FloatArray:
    """Return the covariance of the sum of derivative times residual, (p, p)."""
    total = np.zeros((jacobian.shape[1], jacobian.shape[1]))
    for part in np.split(jacobian, np.cumsum(sizes)[:-1]):
        for lag, covariance in enumerate(covariances[: part.shape[0]]):
            weight = (1.0 - lag / covariances.size) * covariance
            products = weight * (part[lag:].T @ part[: part.shape[0] - lag])
            total += products if lag == 0 else products + products.T
    return total
