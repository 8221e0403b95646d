"""Several laws as one: their mean, and an uncertainty that has what no single law admits.

Laws that fit the same curves equally well disagree where it matters, and none knows its own error: the spread between
members says little about it by itself (correlation with the error from -.4 to .9 on published curves). So the variance
is the sum of what the fits leave open, of the spread, and of a law's own error on schedules that it was not fitted to.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pacesetter_search.laws.annealing import DECAY_NOT_TOLD, AnnealingLaw, FittedAnnealing
from pacesetter_search.laws.base import FittedLaw, Law, LawNotFitted, Prediction
from pacesetter_search.laws.curves import Curve, FloatArray
from pacesetter_search.laws.multi_power import FittedMultiPower, MultiPowerLaw

Member = FittedMultiPower | FittedAnnealing


class EnsembleLaw(Law):
    """Fits the annealing law and the Multi-Power Law with its prior, and takes their mean.

    On the published splits it is ahead of each of the two, also from a constant and a cosine alone, and on 124M runs it
    both predicts and orders best. A member that cannot be fitted is left out, with a warning. So is the Multi-Power Law
    where the curves do not tell the response to decay from progress, as with a cosine alone.

    Args:
        members: The laws; None: those two.
    """

    def __init__(self, members: Sequence[Law] | None = None) -> None:
        self.members = tuple(members) if members else (AnnealingLaw(), MultiPowerLaw())

    def fit(self, curves: Sequence[Curve]) -> "FittedEnsemble":
        """Return the laws fitted to ``curves``.

        Raises:
            LawNotFitted: No member can be fitted; the message is the first one's.
        """
        fitted: list[Member] = []
        warnings: dict[str, None] = {}
        failures: list[LawNotFitted] = []
        for law in self.members:
            try:
                found = law.fit(curves)
            except LawNotFitted as error:
                failures.append(error)
                warnings[f"{type(law).__name__} was left out: {error}"] = None
                continue
            assert isinstance(found, FittedMultiPower | FittedAnnealing)
            if isinstance(found, FittedMultiPower) and DECAY_NOT_TOLD in warnings:
                continue  # seven parameters, three of which nothing but the prior would tell
            fitted.append(found)
            warnings.update(dict.fromkeys(found.warnings))
        if not fitted:
            raise failures[0]
        return FittedEnsemble(
            members=tuple(fitted),
            longest=max(curve.steps for curve in curves),
            warnings=tuple(warnings),
        )


class FittedEnsemble(FittedLaw):
    """The members, and how long the longest curve was that they know."""

    LAW_ERROR: ClassVar[float] = 0.001
    """Relative error of a law on schedules that it was not fitted to: at this, 90 % intervals hold 22 of the 24 final
    losses of the published split's test curves (25M, 100M; fitted to two and to three curves)."""

    EXTRAPOLATED: ClassVar[float] = 0.003
    """What a doubling of the steps beyond the longest curve adds to it."""

    OPTIMISM: ClassVar[float] = 0.085
    OPTIMISM_SD: ClassVar[float] = 0.045
    """Share of the gain of a late decay that does not come: laws promise WSD runs too much, at every size. Mean and sd
    over the eight cases of two tails, two sizes and two sets of fitted curves (25M, 100M): .03 to .16."""

    members: tuple[Member, ...] = Field(min_length=1)
    longest: int = Field(gt=0)

    def losses(self, lrs: FloatArray) -> FloatArray:
        """Return the loss after every step of ``lrs``, (steps,)."""
        result: FloatArray = np.mean([member.losses(lrs) for member in self.members], axis=0)
        return result + self.OPTIMISM * self._late_gain(lrs, np.arange(1.0, lrs.size + 1.0))

    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return mean and sd of the loss after ``positions`` steps at rates ``lrs``."""
        rates = np.asarray(lrs, dtype=np.float64)
        places = np.atleast_1d(rates.size if positions is None else positions).astype(np.float64)
        found = [member.predict(rates, places) for member in self.members]
        means = np.array([each.mean for each in found])
        mean = np.mean(means, axis=0)
        within = np.mean([each.sd**2 for each in found], axis=0)
        between = np.var(means, axis=0, ddof=1) if len(means) > 1 else np.zeros_like(mean)
        beyond = np.maximum(np.log2(places / self.longest), 0.0)
        own = mean * (self.LAW_ERROR + self.EXTRAPOLATED * beyond)
        late = self._late_gain(rates, places)
        variance = within + between + own**2 + (self.OPTIMISM_SD * late) ** 2
        return Prediction(mean + self.OPTIMISM * late, np.sqrt(variance))

    def _late_gain(self, rates: FloatArray, places: FloatArray) -> FloatArray:
        gains = [
            member.late_gain(rates, places)
            for member in self.members
            if isinstance(member, FittedAnnealing)
        ]
        return np.maximum(gains[0], 0.0) if gains else np.zeros_like(places)
