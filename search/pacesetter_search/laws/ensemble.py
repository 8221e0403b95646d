"""Several laws as one: their mean, and an uncertainty that has what no single law admits.

Laws that fit the same curves equally well disagree where it matters, and none knows its own error: the spread between
members says little about it by itself (correlation with the error from -.4 to .9 on published curves). So the variance
is the sum of what the fits leave open, of the spread, and of a law's own error on schedules that it was not fitted to.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pacesetter_search.laws.annealing import AnnealingLaw, FittedAnnealing
from pacesetter_search.laws.base import FittedLaw, Hull, Law, LawNotFitted, Prediction
from pacesetter_search.laws.convex import FittedConvexBound
from pacesetter_search.laws.curves import Curve, FloatArray
from pacesetter_search.laws.functional import FittedFunctional
from pacesetter_search.laws.identification import (
    DECAY_NOT_TOLD,
    PEAKS_APART,
    misfit_warnings,
    misfits,
)
from pacesetter_search.laws.multi_power import FittedMultiPower, MultiPowerLaw

_Members = FittedAnnealing | FittedConvexBound | FittedFunctional | FittedMultiPower
_MEMBERS = get_args(_Members)

Member = Annotated[_Members, Field(discriminator="kind")]

CONTRADICTED = 0.1
"""Mean relative error on a fitted curve at which curves contradict each other: other units, data or sizes."""


class EnsembleLaw(Law):
    """Fits the annealing law and the Multi-Power Law with its prior, and takes their mean.

    On the published splits it is ahead of each of the two, also from a constant and a cosine alone, and on 124M runs it
    both predicts and orders best. A member that cannot be fitted is left out, with a warning. So is the Multi-Power Law
    where the curves do not tell the response to decay from progress, as with a cosine alone.

    Args:
        members: The laws; None: those two.
        stride: Steps of the job that a step of the curves stands for, where ``members`` is None.
    """

    def __init__(self, members: Sequence[Law] | None = None, *, stride: float = 1.0) -> None:
        self.members = tuple(members or (AnnealingLaw(stride=stride), MultiPowerLaw()))

    def fit(self, curves: Sequence[Curve]) -> "FittedEnsemble":
        """Return the laws fitted to ``curves``.

        Raises:
            LawNotFitted: No member can be fitted, and the message is the first one's; or a curve contradicts the
                others.
        """
        fitted: list[_Members] = []
        warnings: dict[str, None] = {}
        failures: list[LawNotFitted] = []
        for law in self.members:
            try:
                found = law.fit(curves)
            except LawNotFitted as error:
                failures.append(error)
                warnings[f"{type(law).__name__} was left out: {error}"] = None
                continue
            if not isinstance(found, _MEMBERS):
                raise TypeError(f"{type(law).__name__} is no member of an ensemble; give another")
            if isinstance(found, FittedMultiPower) and DECAY_NOT_TOLD in warnings:
                continue  # seven parameters, three of which nothing but the prior would tell
            fitted.append(found)
            warnings.update(dict.fromkeys(found.warnings))
        if not fitted:
            raise failures[0]
        moved = [curve for curve in curves if curve.peak > 0.0]
        law_of_all = FittedEnsemble(members=tuple(fitted), hull=Hull.of(moved))
        warnings.update(dict.fromkeys(_described(law_of_all, curves)))
        return law_of_all.model_copy(update={"warnings": tuple(warnings)})


def _described(law: "FittedEnsemble", curves: Sequence[Curve]) -> list[str]:
    """Return a sentence for each curve that the law does not describe.

    Raises:
        LawNotFitted: One is so far off that curves contradict each other.
    """
    errors = misfits(law, curves)
    worst = int(np.argmax(errors))
    if errors[worst] > CONTRADICTED:
        raise LawNotFitted(
            f"curve {worst + 1} of {errors.size} lies {100.0 * errors[worst]:.0f} % off what fits the curves best; "
            "leave it out, or fit curves of one model, data set and unit (a run that diverged is none)"
        )
    return misfit_warnings(errors)


class FittedEnsemble(FittedLaw):
    """The members, and the error that none of them admits."""

    LAW_ERROR: ClassVar[float] = 0.001
    """Relative error of a law on schedules that it was not fitted to: at this, 90 % intervals hold 22 of the 24 final
    losses of the published split's test curves (25M, 100M; fitted to two and to three curves)."""

    EXTRAPOLATED: ClassVar[float] = 0.003
    """What a doubling of the steps beyond the longest curve adds to it."""

    OFF_PEAK: ClassVar[float] = 0.02
    """What an octave from the nearest fitted peak adds: laws of one peak are off by .020 to .029 there."""

    BETWEEN_PEAKS: ClassVar[float] = 0.012
    """What several peaks in one fit add: laws of one peak are off by .011 to .012 between two of them."""

    OPTIMISM: ClassVar[float] = 0.085
    OPTIMISM_SD: ClassVar[float] = 0.045
    """Share of the gain of a late decay that does not come: laws promise WSD runs too much, at every size. Mean and sd
    over the eight cases of two tails, two sizes and two sets of fitted curves (25M, 100M): .03 to .16."""

    kind: Literal["ensemble"] = "ensemble"
    members: tuple[Member, ...] = Field(min_length=1)
    hull: Hull

    def losses(self, lrs: ArrayLike) -> FloatArray:
        """Return the loss after every step of ``lrs``, (steps,)."""
        rates = np.asarray(lrs, dtype=np.float64)
        mean = np.mean([member.losses(rates) for member in self._strided], axis=0)
        late = self._late_gain(rates, np.arange(1.0, rates.size + 1.0))
        result: FloatArray = mean + self.OPTIMISM * late
        return result

    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return mean and sd of the loss after ``positions`` steps at rates ``lrs``."""
        rates = np.asarray(lrs, dtype=np.float64)
        places = np.atleast_1d(rates.size if positions is None else positions).astype(np.float64)
        found = [member.predict(rates, places) for member in self._strided]
        means = np.array([each.mean for each in found])
        mean = np.mean(means, axis=0)
        within = np.mean([each.sd**2 for each in found], axis=0)
        between = np.var(means, axis=0, ddof=1) if len(means) > 1 else np.zeros_like(mean)
        own = mean * self._own_error(float(np.max(rates)), places)
        late = self._late_gain(rates, places)
        variance = within + between + own**2 + (self.OPTIMISM_SD * late) ** 2
        return Prediction(mean + self.OPTIMISM * late, np.sqrt(variance))

    @property
    def _strided(self) -> list[_Members]:
        if self.stride == 1.0:
            return list(self.members)
        return [member.thinned(self.stride) for member in self.members]

    def _own_error(self, peak: float, places: FloatArray) -> FloatArray:
        """Return the relative error of the laws themselves, (n,)."""
        several = self.hull.highest > PEAKS_APART * self.hull.peaks[0]
        constant = self.LAW_ERROR + (self.BETWEEN_PEAKS if several else 0.0)
        beyond = self.EXTRAPOLATED * self.hull.doublings(places * self.stride)
        result: FloatArray = constant + self.OFF_PEAK * self.hull.octaves(peak) + beyond
        return result

    def _late_gain(self, rates: FloatArray, places: FloatArray) -> FloatArray:
        gains = [
            member.late_gain(rates, places)
            for member in self._strided
            if isinstance(member, FittedAnnealing)
        ]
        return np.maximum(gains[0], 0.0) if gains else np.zeros_like(places)
