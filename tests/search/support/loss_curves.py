"""Loss curves whose law is known, and every law that can be fitted to them."""

from collections.abc import Callable, Mapping

import numpy as np
from pacesetter.schedules import WSD, Constant, Cosine, Schedule, Warmup
from pacesetter.schedules.families import AnyFamily
from pacesetter_search.laws import (
    AcrossPeaksLaw,
    AnnealingLaw,
    BaselineLaw,
    ConvexBoundLaw,
    Curve,
    EnsembleLaw,
    FittedMultiPower,
    FunctionalScalingLaw,
    Law,
    MultiPowerLaw,
    SpectralLaw,
)
from pacesetter_search.laws.curves import FloatArray

STEPS, PEAK = 4000, 3e-4
TRUE = FittedMultiPower.of(3.0, 0.5, 0.5, 360.0, 2.0, 0.6, 0.64, exact=False)

LAWS: Mapping[str, Callable[[], Law]] = {
    "across peaks": AcrossPeaksLaw,
    "annealing": AnnealingLaw,
    "baseline": BaselineLaw,
    "convex bound": ConvexBoundLaw,
    "ensemble": EnsembleLaw,
    "functional": FunctionalScalingLaw,
    "multi-power": MultiPowerLaw,
    "spectral": lambda: SpectralLaw(members=4),
}


def rates(body: AnyFamily, steps: int = STEPS, peak: float = PEAK) -> FloatArray:
    """Return the learning rates of a schedule with a warm-up of a twentieth, none of them zero."""
    warmup = Warmup(length=max(1, steps // 20), start=0.01)
    schedule = Schedule(length=steps, warmup=warmup, body=body)
    values: FloatArray = peak * schedule.over(np.arange(steps, dtype=np.float64))
    return values


def curve_of(lrs: FloatArray, *, noise: float = 3e-4, seed: int = 0, every: int = 40) -> Curve:
    """Return what the true law measures under ``lrs``, from a tenth of the run on."""
    places = np.arange(lrs.size // 10, lrs.size + 1, every)
    drawn = np.random.default_rng(seed).standard_normal(places.size)
    return Curve.of(lrs, places, TRUE.predict(lrs, places).mean * np.exp(noise * drawn))


def usual_curves(name: str) -> list[Curve]:
    """Return a constant, a cosine and a WSD run, of two peaks for the law that needs them."""
    bodies: tuple[AnyFamily, ...] = (Constant(), Cosine(), WSD(cooldown=0.2))
    peaks = (PEAK, PEAK, PEAK / 2.0) if name == "across peaks" else (PEAK,) * 3
    return [
        curve_of(rates(body, peak=peak), seed=seed)
        for seed, (body, peak) in enumerate(zip(bodies, peaks, strict=True))
    ]
