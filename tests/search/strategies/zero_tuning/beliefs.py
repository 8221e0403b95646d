"""A prior with constants of its own, so that tests of the surrogate do not move when the measured ones do."""

import math

from pacesetter_search.strategies.zero_tuning.prior import Component, Prior


def believed(*optimum: tuple[float, float, float]) -> Prior:
    """Return a prior with these (weight, mean, sd) of the optimum."""
    return Prior(
        tuple(Component(*part) for part in optimum),
        drift_mean=0.25,
        drift_sd=0.20,
        drift_noise=0.25,
        curvature_median=0.15,
        curvature_log_sd=1.0,
        curvature_ratio=1.1,
        asymmetries=((0.4, 0.3), (0.8, 0.4), (1.4, 0.3)),
        noises=((0.01, 0.35), (0.03, 0.35), (0.1, 0.2), (0.3, 0.1)),
        plateaus=((math.inf, 1.0),),
        misfit=0.3,
        thresholds=((1.0, 2.5, 0.7),),
        range_offset=3.0,
        range_sd=1.5,
    )
