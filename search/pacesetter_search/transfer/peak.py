r"""Where the best peak lies, from measured optima and from what is known of all.

A Bayesian linear model of log2 of the peak learning rate with the hinge in the batch,

.. math::
    \theta^* = c + u_f + v + a_N \log_2 \frac{N}{N_0} + a_D \log_2 \frac{D}{D_0} + a_B (h(B, D) - h_0)
        + s_w \log_2 m + s_L \log_2 m_L + b\,o, \quad h = \log_2 \min(B, \kappa D^{.571})

in closed form, with an effect :math:`u_f` of each family of runs and a scatter :math:`v` that near places share; kappa
and the size of the scatter are on a grid, mixed by their evidence. Rates are those of a linear decay; b is the share of
the octaves o put down to a schedule's shape that these are off by. Without data it is the hinge law, as sure as labs
agree.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from pacesetter.protocol import Parametrization

from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.transfer.hinge import BATCH_FACTOR, hinge_batch, hinge_peak
from pacesetter_search.transfer.places import Optimum, Places

REFERENCE_PARAMETERS, REFERENCE_TOKENS = 2.0**28, 2.0**34
REFERENCE = Optimum(
    REFERENCE_PARAMETERS, REFERENCE_TOKENS, hinge_batch(REFERENCE_TOKENS, factor=1e3), 1.0
)
"""Amid the fitted grid, above every hinge: at a far reference the anchor and the slopes would not be told apart."""

LABS_SD = 0.45
"""Octaves between labs: the hinge law against six optima of another code, .41."""

FAMILY_SD = LABS_SD / math.sqrt(2.0)
"""Octaves between families: half of the variance between labs, the other half being a lab's own. Nobody measured it."""

NAMES = ("anchor", "parameters", "tokens", "batch", "width", "depth", "shape", "family", "model")
PRIORS: dict[Parametrization, tuple[tuple[float, float], ...]] = {
    "standard": ((-0.65, 0.10), (-0.29, 0.06), (0.75, 0.12), (-1.0, 0.25), (-0.3, 0.4)),
    "mup": ((0.0, 0.10), (-0.29, 0.06), (0.75, 0.12), (0.0, 0.10), (0.0, 0.10)),
}
"""Mean and sd of the slopes in parameters, tokens, batch, width and depth. Under muP the size acts through width and
depth alone. [mup-and-ray 2.3]"""

SHAPE_SD = 0.25
"""Share of the octaves put down to a schedule's shape that these may be off by: the best peak of a cooldown of a fifth
is published as half of a cosine's (-1 octave), the convex bound has -.92. Judgement."""

KAPPA_SD = 0.5
KAPPAS = 10

SCATTERS = ((0.15, 0.6), (0.25, 0.3), (0.4, 0.1))
"""Of runs around the model, in octaves, with prior weights: what the features do not tell. The first is what Step Law's
cells show, the others leave room for runs that are less alike."""

SEEDS_SD = 0.1
"""Octaves that seeds and the parabola move a measured optimum by, beside what it says of itself: with the first scatter
.18, as Step Law's cells have."""

SURPRISING = 2.0
"""Standard deviations from which on optima disagree by more than they say."""

MOST_BETWEEN = 400.0
"""Octaves squared: no two optima are further apart than 44 octaves."""

EXTRAPOLATED = 0.05
"""What an octave outside of the evidence adds to that."""

Z50, Z90 = 0.6745, 1.6449


@dataclass(frozen=True, slots=True)
class PeakPrediction:
    """log2 of the best peak at a target.

    Attributes:
        mean: Octaves, that is log2 of a learning rate.
        sd: Octaves.
        terms: Variance by what it comes from, in octaves squared, largest first. What two of them share is in neither,
            so they do not add up to the whole.
    """

    mean: float
    sd: float
    terms: dict[str, float]

    def interval(self, z: float = Z90) -> tuple[float, float]:
        """Return learning rates ``z`` standard deviations below and above the mean."""
        return math.exp2(self.mean - z * self.sd), math.exp2(self.mean + z * self.sd)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """What the optima say under one hinge and one scatter."""

    kappa: float
    scatter: float
    log_evidence: float
    rows: FloatArray
    lower: FloatArray
    """Cholesky factor of the optima's covariance, (n, n)."""
    weights: FloatArray
    """That covariance's inverse times how far the optima are from what was expected, (n,)."""
    mean: FloatArray
    covariance: FloatArray
    """Of anchor and slopes, (7,) and (7, 7)."""


class PeakModel:
    """The model of what is trained alike, fitted to its optima.

    Args:
        optima: None, one or many; all of one optimizer, regime and parametrisation.
        parametrization: ``mup``: then sizes are told by width and depth, and ``anchor`` is needed without optima.
        anchor: log2 of the peak at the reference and its sd; None: the hinge law, .45 octaves with the family's effect.
        reference: Where the anchor is known; by default amid Step Law's grid, at the batch where it saturates.
        family_sd: Octaves between families.
        doubt: Times their sd that the slopes' priors are doubted: they are of language models of 60 million parameters
            and more, on data seen once.
        shared: (n,) octaves that each optimum may be off by together with all others: what they have in common that the
            model does not tell, and that more of them do not average out; empty where there is none.
        slopes: Mean and sd of the slopes in parameters, tokens, batch, width and depth; None: those of the
            parametrisation, doubted.
        saturates: Whether batches above the hinge ask for no larger rate; where that lies is known of large language
            models alone.

    Raises:
        ValueError: An optimum has an impossible count, or a rate that is not above 0.
    """

    def __init__(
        self,
        optima: Sequence[Optimum] = (),
        *,
        parametrization: Parametrization = "standard",
        anchor: tuple[float, float] | None = None,
        reference: Optimum = REFERENCE,
        family_sd: float = FAMILY_SD,
        doubt: float = 1.0,
        shared: Sequence[float] = (),
        slopes: Sequence[tuple[float, float]] | None = None,
        saturates: bool = True,
    ) -> None:
        for one in optima:
            one.check()
        self.optima = tuple(optima)
        together = np.array(shared if len(shared) else [0.0] * len(self.optima))
        self._shared = np.outer(together, together)
        self._lawful = anchor is None
        first = anchor or (_law_at_reference(), math.sqrt(LABS_SD**2 - FAMILY_SD**2))
        usual = [(mean, doubt * sd) for mean, sd in PRIORS[parametrization]]
        believed = [*(usual if slopes is None else slopes), (0.0, SHAPE_SD)]
        mean, sd = zip(first, *believed, strict=True)
        self._kappas = _kappas() if saturates else [math.inf]
        self._mean, self._variance = np.array(mean), np.diag(np.square(sd))
        self._family_variance = family_sd**2
        self._reference = Places.of([reference])
        self._places = Places.of(self.optima)
        self._noise = np.array([SEEDS_SD**2 + one.sd**2 for one in self.optima])
        self._logs = np.array([math.log2(one.lr) for one in self.optima])
        self.between = 0.0
        """Variance between alike optima, in octaves squared, beyond what they say of themselves."""
        self._fit()
        self.between = self._found_between()
        if self.between > 0.0:
            self._noise = self._noise + self.between
            self._fit()

    def _fit(self) -> None:
        self._fits = [fit for kappa in self._kappas for fit in self._fitted(kappa)]
        evidence = np.array([fit.log_evidence for fit in self._fits])
        shares = np.exp(evidence - evidence.max())
        self._shares = shares / shares.sum()

    def _found_between(self) -> float:
        """Return the least variance between optima under which what they are off by is no surprise.

        With the residuals ``r`` of the likeliest fit, the sum of their squares over the noise is compared with what it
        is expected to be; the noise grows until it lies within :data:`SURPRISING` of its own sds [Paule1982].
        """
        if len(self.optima) < 2:
            return 0.0
        fit = self._fits[int(np.argmax(self._shares))]
        values, vectors = np.linalg.eigh(fit.lower @ fit.lower.T)
        turned = vectors.T @ (self._logs - fit.rows @ self._mean)

        def surprises(between: float) -> bool:
            noise, left = self._noise + between, 1.0 / (values + between)
            found = float(noise @ np.square(vectors @ (left * turned)))
            expected = float(noise @ (np.square(vectors) @ left))
            return found > expected + SURPRISING * math.sqrt(2.0 * expected)

        low, high = 0.0, MOST_BETWEEN
        if not surprises(low):
            return 0.0
        while high - low > 1e-3 * high:
            middle = 0.5 * (low + high)
            low, high = (middle, high) if surprises(middle) else (low, middle)
        return high

    def predict(self, target: Optimum) -> PeakPrediction:
        """Return where the best peak of ``target`` lies; its ``lr`` and ``sd`` are not looked at."""
        place = Places.of([target])
        views = [_View(self, fit, place) for fit in self._fits]
        means = np.array([view.mean for view in views])
        middle = float(self._shares @ means)
        spread = float(self._shares @ np.square(means - middle))
        outside = self._outside(place)
        beyond = SEEDS_SD**2 + self.between + (EXTRAPOLATED * outside) ** 2
        total = float(self._shares @ [view.variance for view in views]) + spread + beyond
        parts = self._shares @ np.array([view.parts for view in views])
        terms = dict(zip(NAMES, map(float, parts), strict=True))
        terms["hinge"] = spread
        terms["model"] += beyond
        ordered = dict(sorted(terms.items(), key=lambda item: -item[1]))
        return PeakPrediction(middle, math.sqrt(total), ordered)

    def expect(self, targets: Sequence[Optimum]) -> tuple[FloatArray, FloatArray]:
        """Return mean and sd of log2 of the best peak at each of many places, (n,) and (n,): as :meth:`predict` does.

        Args:
            targets: At least one.
        """
        places = Places.of(targets)
        found = [self._at(fit, places) for fit in self._fits]
        means, variances = (np.array(each) for each in zip(*found, strict=True))
        middle = self._shares @ means
        outside = np.array([self._outside(Places.of([one])) for one in targets])
        beyond = SEEDS_SD**2 + self.between + np.square(EXTRAPOLATED * outside)
        total = self._shares @ (variances + np.square(means - middle)) + beyond
        return middle, np.sqrt(total)

    def _at(self, fit: _Fit, places: Places) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance at places under one fit, (n,) and (n,)."""
        rows = self.rows(places, fit.kappa)
        shared = rows @ self._variance @ fit.rows.T
        shared += self._family_variance * places.related(self._places)
        shared += fit.scatter**2 * places.nearness(self._places)
        before = np.einsum("ni,ij,nj->n", rows, self._variance, rows)
        before += self._family_variance + fit.scatter**2
        gained = np.einsum("nm,mn->n", shared, _solve(fit.lower, shared.T))
        return rows @ self._mean + shared @ fit.weights, np.maximum(before - gained, 0.0)

    def influence(self, target: Optimum) -> list[float]:
        """Return for each optimum by how many octaves the prediction moves when it moves by one."""
        place = Places.of([target])
        views = [_View(self, fit, place) for fit in self._fits]
        means = np.array([view.mean for view in views])
        # A move also changes which hinge and scatter are believed: log evidence falls by the fit's weights.
        away = self._shares * (means - self._shares @ means)
        believed = away @ np.array([fit.weights for fit in self._fits])
        moved = self._shares @ np.array([view.gains for view in views])
        return [float(value) for value in moved - believed]

    def slopes(self) -> dict[str, tuple[float, float]]:
        """Return mean and sd of each slope by name, in octaves an octave: how far the best peak follows each."""
        means = np.array([fit.mean for fit in self._fits])
        variances = np.array([np.diag(fit.covariance) for fit in self._fits])
        middle = self._shares @ means
        sds = np.sqrt(self._shares @ (variances + np.square(means - middle)))
        pairs = zip(NAMES[1:7], middle[1:], sds[1:], strict=True)
        return {name: (float(mean), float(sd)) for name, mean, sd in pairs}

    def _outside(self, place: Places) -> float:
        """Return how many octaves a place lies outside of the evidence."""
        outside = place.outside(self._places) if self.optima else math.inf
        if self._lawful or not self.optima:
            # What the law was fitted on is evidence as well: optima far away take nothing from it.
            outside = min(outside, place.outside(_CENTRE))
        return outside

    def rows(self, places: Places, kappa: float) -> FloatArray:
        """Return what multiplies anchor and slopes at places, (n, 7)."""
        slopes = places.features(kappa) - self._reference.features(kappa)
        return np.column_stack((np.ones(len(slopes)), slopes))

    def _fitted(self, kappa: float) -> list[_Fit]:
        """Return the fits at one hinge, one for each scatter."""
        rows = self.rows(self._places, kappa)
        linear = rows @ self._variance @ rows.T + np.diag(self._noise)
        linear += self._family_variance * self._places.related(self._places) + self._shared
        near = self._places.nearness(self._places)
        off = self._logs - rows @ self._mean
        fits = []
        for scatter, weight in SCATTERS:
            lower = np.linalg.cholesky(linear + scatter**2 * near)
            weights = _solve(lower, off)
            gain = _solve(lower, rows @ self._variance).T
            evidence = -0.5 * float(off @ weights) - float(np.log(np.diag(lower)).sum())
            mean, left = self._mean + gain @ off, self._variance - gain @ rows @ self._variance
            evidence += math.log(weight)
            fits.append(_Fit(kappa, scatter, evidence, rows, lower, weights, mean, left))
        return fits


class _View:
    """A place under one fit."""

    def __init__(self, model: PeakModel, fit: _Fit, place: Places) -> None:
        self._model, self._fit = model, fit
        self._row = model.rows(place, fit.kappa)[0]
        self._of_family = model._family_variance * place.related(model._places)[0]
        self._of_scatter = fit.scatter**2 * place.nearness(model._places)[0]
        linear = fit.rows @ model._variance @ self._row
        self._shared = linear + self._of_family + self._of_scatter

    @cached_property
    def gains(self) -> FloatArray:
        """By how much the mean moves with each optimum, (n,)."""
        return _solve(self._fit.lower, self._shared)

    @property
    def mean(self) -> float:
        """What is expected there."""
        expected = self._row @ self._model._mean + self._shared @ self._fit.weights
        return float(expected)

    @property
    def variance(self) -> float:
        """Of the best peak there."""
        before = self._row @ self._model._variance @ self._row + self._model._family_variance
        left = before + self._fit.scatter**2 - self._shared @ self.gains
        return max(float(left), 0.0)

    @property
    def parts(self) -> FloatArray:
        """The variance by what it comes from, (9,)."""
        slopes = self._row**2 * np.diag(self._fit.covariance)
        family = self._left(self._model._family_variance, self._of_family)
        return np.array([*slopes, family, self._left(self._fit.scatter**2, self._of_scatter)])

    def _left(self, before: float, shared: FloatArray) -> float:
        return before - float(shared @ _solve(self._fit.lower, shared))


_CENTRE = Places.of([REFERENCE])


def _law_at_reference() -> float:
    batch = hinge_batch(REFERENCE_TOKENS)
    return math.log2(hinge_peak(REFERENCE_PARAMETERS, REFERENCE_TOKENS, batch))


def _kappas() -> list[float]:
    """Return the grid of hinges: equal shares of the prior."""
    places = [(place + 0.5) / KAPPAS for place in range(KAPPAS)]
    return [BATCH_FACTOR * 2.0 ** (KAPPA_SD * NormalDist().inv_cdf(place)) for place in places]


def _solve(lower: FloatArray, right: FloatArray) -> FloatArray:
    """Return the inverse of ``lower lower^T`` times ``right``."""
    from scipy.linalg import cho_solve

    solved: FloatArray = cho_solve((lower, True), right, check_finite=False)
    return solved
