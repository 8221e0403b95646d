r"""Where the best peak of a family lies, from its own measured optima and from what is known of all.

A Bayesian linear model of log2 of the peak learning rate with the hinge in the batch,

.. math::
    \theta^* = c + a_N \log_2 N / N_0 + a_D \log_2 D / D_0 + a_B (h(B, D) - h_0) + s_w \log_2 m + s_L \log_2 m_L,
    \quad h = \log_2 \min(B, \kappa D^{.571})

in closed form; kappa on a grid, mixed by its evidence. Without data it is the hinge law, as sure as labs agree.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.transfer.hinge import BATCH_FACTOR, BATCH_POWER, hinge_batch, hinge_peak

Parametrization = Literal["standard", "mup"]

REFERENCE_PARAMETERS, REFERENCE_TOKENS = 2.0**28, 2.0**34
"""Amid the fitted grid: at a far reference the intercept and the slopes would not be told apart."""

LABS_SD = 0.45
"""Octaves between labs: the hinge law against six optima of another code, .41."""

NAMES = ("anchor", "parameters", "tokens", "batch", "width", "depth")
PRIORS: dict[Parametrization, tuple[tuple[float, float], ...]] = {
    "standard": ((-0.65, 0.10), (-0.29, 0.06), (0.75, 0.12), (-1.0, 0.25), (-0.3, 0.4)),
    "mup": ((0.0, 0.10), (-0.29, 0.06), (0.75, 0.12), (0.0, 0.10), (0.0, 0.10)),
}
"""Mean and sd of the slopes in parameters, tokens, batch, width and depth. Under muP the size acts through width and
depth alone. [mup-and-ray 2.3]"""

KAPPA_SD = 0.5
KAPPAS = 20
LEAST_SD = 0.15
"""Of one optimum around the model, in octaves: seeds and the parabola."""

EXTRAPOLATED = 0.05
"""What an octave outside of the evidence adds to that."""

Z50, Z90 = 0.6745, 1.6449


@dataclass(frozen=True, slots=True)
class Optimum:
    """A measured best peak: of a sweep at one size, budget and batch.

    Attributes:
        parameters: Without embeddings.
        tokens: Of the whole run.
        batch: Tokens of an optimizer step.
        lr: The best peak.
        sd: Octaves that it is known to; 0: as well as the model's own scatter.
        width: Over the base width; 1 where sizes differ by parameters only.
        depth: Over the base depth.
    """

    parameters: float
    tokens: float
    batch: float
    lr: float
    sd: float = 0.0
    width: float = 1.0
    depth: float = 1.0


@dataclass(frozen=True, slots=True)
class PeakPrediction:
    """log2 of the best peak at a target.

    Attributes:
        mean: Octaves, that is log2 of a learning rate.
        sd: Octaves.
        terms: Variance by what it comes from, in octaves squared, largest first.
    """

    mean: float
    sd: float
    terms: dict[str, float]

    def interval(self, z: float = Z90) -> tuple[float, float]:
        """Return learning rates ``z`` standard deviations below and above the mean."""
        return math.exp2(self.mean - z * self.sd), math.exp2(self.mean + z * self.sd)


class PeakModel:
    """The model of one family, fitted to its optima.

    Args:
        optima: None, one or many; all of one optimizer, regime and parametrisation.
        parametrization: ``mup``: then sizes are told by width and depth, and ``anchor`` is needed without optima.
        anchor: log2 of the peak at the reference and its sd; None: the hinge law, .45 octaves.

    Raises:
        ValueError: An optimum has an impossible count, or a rate that is not above 0.
    """

    def __init__(
        self,
        optima: Sequence[Optimum] = (),
        *,
        parametrization: Parametrization = "standard",
        anchor: tuple[float, float] | None = None,
    ) -> None:
        for one in optima:
            _check(one)
        self.optima = tuple(optima)
        batch = hinge_batch(REFERENCE_TOKENS)
        law = math.log2(hinge_peak(REFERENCE_PARAMETERS, REFERENCE_TOKENS, batch))
        first = (law, LABS_SD) if anchor is None else anchor
        mean, sd = zip(first, *PRIORS[parametrization], strict=True)
        self._mean, self._variance = np.array(mean), np.diag(np.square(sd))
        self._fits = [self._fitted(kappa) for kappa in self._kappas()]
        evidence = np.array([fit[0] for fit in self._fits])
        shares = np.exp(evidence - evidence.max())
        self._shares = shares / shares.sum()

    def predict(self, target: Optimum) -> PeakPrediction:
        """Return where the best peak of ``target`` lies; its ``lr`` and ``sd`` are not looked at."""
        scatter = LEAST_SD + EXTRAPOLATED * self._outside(target)
        means, variances, parts = [], [], []
        for kappa, (_, mean, covariance) in zip(self._kappas(), self._fits, strict=True):
            row = _features(target, kappa)
            means.append(float(row @ mean))
            variances.append(float(row @ covariance @ row))
            parts.append(row**2 * np.diag(covariance))
        middle = float(self._shares @ means)
        spread = float(self._shares @ np.square(np.array(means) - middle))
        variance = float(self._shares @ variances) + spread + scatter**2
        terms = dict(zip(NAMES, map(float, self._shares @ np.array(parts)), strict=True))
        terms["hinge"], terms["model"] = spread, scatter**2
        ordered = dict(sorted(terms.items(), key=lambda item: -item[1]))
        return PeakPrediction(middle, math.sqrt(variance), ordered)

    def influence(self, target: Optimum) -> list[float]:
        """Return for each optimum by how many octaves the prediction moves when it moves by one."""
        if not self.optima:
            return []
        moved = np.array([_features(target, kappa) @ self._gain(kappa) for kappa in self._kappas()])
        return [float(value) for value in self._shares @ moved]

    def _kappas(self) -> list[float]:
        """Return the grid of hinges: equal shares of the prior."""
        places = [(place + 0.5) / KAPPAS for place in range(KAPPAS)]
        return [BATCH_FACTOR * 2.0 ** (KAPPA_SD * NormalDist().inv_cdf(place)) for place in places]

    def _rows(self, kappa: float) -> FloatArray:
        return np.array([_features(one, kappa) for one in self.optima])

    def _total(self, rows: FloatArray) -> FloatArray:
        """Return the covariance of what was seen, (n, n)."""
        noise = np.diag([LEAST_SD**2 + one.sd**2 for one in self.optima])
        total: FloatArray = rows @ self._variance @ rows.T + noise
        return total

    def _gain(self, kappa: float) -> FloatArray:
        """Return what turns a difference from what was expected into one of the coefficients, (6, n)."""
        rows = self._rows(kappa)
        gain: FloatArray = np.linalg.solve(self._total(rows), rows @ self._variance).T
        return gain

    def _fitted(self, kappa: float) -> tuple[float, FloatArray, FloatArray]:
        """Return log evidence, mean and covariance of the coefficients at one hinge."""
        if not self.optima:
            return 0.0, self._mean, self._variance
        rows, gain = self._rows(kappa), self._gain(kappa)
        total = self._total(rows)
        off = np.array([math.log2(one.lr) for one in self.optima]) - rows @ self._mean
        _, logdet = np.linalg.slogdet(total)
        evidence = -0.5 * float(off @ np.linalg.solve(total, off) + logdet)
        return evidence, self._mean + gain @ off, self._variance - gain @ rows @ self._variance

    def _outside(self, target: Optimum) -> float:
        """Return how many octaves the target lies outside of the optima, in parameters and tokens together."""
        known = self.optima or (_CENTRE,)
        return sum(
            max(0.0, min(math.log2(value(one)) for one in known) - math.log2(value(target)))
            + max(0.0, math.log2(value(target)) - max(math.log2(value(one)) for one in known))
            for value in (_parameters, _tokens)
        )


_CENTRE = Optimum(REFERENCE_PARAMETERS, REFERENCE_TOKENS, hinge_batch(REFERENCE_TOKENS), 1.0)


def _parameters(one: Optimum) -> float:
    return one.parameters


def _tokens(one: Optimum) -> float:
    return one.tokens


def _features(one: Optimum, kappa: float) -> FloatArray:
    """Return what multiplies anchor and slopes, (6,)."""
    hinge = math.log2(min(one.batch, kappa * one.tokens**BATCH_POWER))
    reference = math.log2(kappa * REFERENCE_TOKENS**BATCH_POWER)
    return np.array(
        [
            1.0,
            math.log2(one.parameters / REFERENCE_PARAMETERS),
            math.log2(one.tokens / REFERENCE_TOKENS),
            hinge - reference,
            math.log2(one.width),
            math.log2(one.depth),
        ]
    )


def _check(one: Optimum) -> None:
    counts = (one.parameters, one.tokens, one.batch, one.lr, one.width, one.depth)
    if not all(math.isfinite(count) and count > 0.0 for count in counts) or not one.sd >= 0.0:
        raise ValueError(
            f"{one} is impossible; counts, rates and ratios are above 0, an sd is not below it"
        )
    if one.batch > one.tokens:
        raise ValueError(f"{one} has a batch larger than its tokens; give both in tokens")
