"""Fitted laws to choose by, of runs that are known exactly."""

from functools import cache

from pacesetter.schedules import Constant, Cosine
from pacesetter_search.laws import EnsembleLaw, FittedEnsemble, FittedMultiPower, Hull

from tests.search.support.loss_curves import PEAK, STEPS, curve_of, rates

WARMUP = STEPS // 20

PUBLISHED = FittedMultiPower.of(
    2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644, exact=False
).model_copy(update={"hull": Hull(peaks=(3e-4,), longest=24_000.0, curves=3)})
"""The Multi-Power Law as released for 100M parameters, with the runs that it was fitted to."""


@cache
def ensemble() -> FittedEnsemble:
    """Return the ensemble of a constant and a cosine run."""
    return EnsembleLaw().fit(
        [curve_of(rates(Constant()), seed=1), curve_of(rates(Cosine()), seed=2)]
    )


__all__ = ["PEAK", "PUBLISHED", "STEPS", "WARMUP", "ensemble"]
