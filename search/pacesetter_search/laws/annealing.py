r"""The learning-rate annealing law [Tissue2024, arXiv 2408.11029].

.. math::
    L = L_0 + A S_1^{-\alpha} - C S_2, \quad S_1 = \sum_i \eta_i^p, \quad
    S_2 = \sum_i m_i, \; m_i = \lambda m_{i-1} + (\eta_{i-1}^q - \eta_i^q)

The increments of the warm-up stay in :math:`S_2`, from :math:`\eta_0 = 0` (without them the published 400M curves are
predicted a fifth worse). As published p = q = 1; p about .65 and q about .47 carry a fit across peak learning rates.
The law must choose neither peak nor length: it promises a lower loss for every larger rate.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pacesetter_search.laws.base import FittedLaw, Law, Prediction, after
from pacesetter_search.laws.curves import Curve, FloatArray
from pacesetter_search.laws.fitting import HUBER, check

LONGEST_MEMORY = 1000.0
MEMORY_SHARE = 1.0 / 24.0
"""1 / (1 - lambda) in steps: .999 as measured on runs of 24,000 steps and more; the same share of shorter ones."""

FEWEST_POINTS = 8
PARAMETERS = 4
SIMILAR = 0.05
"""Share of the variance of S2 not explained by S1 alone, below which decay and progress cannot be told apart.

A cosine alone is at .02: its fit is perfect, and its predictions for a WSD run at 25M are off by ten times their sd.
"""

DECAY_NOT_TOLD = (
    "these curves do not tell the response to decay from progress; add one with a step or a cooldown (a short cooldown "
    "branch of a long run is enough)"
)

_STARTS = ((0.5, 0.5, 1.0), (0.8, 0.3, 0.3), (0.2, 0.8, 0.1), (0.9, 1.0, 0.03))
_LOWEST, _HIGHEST = (-30.0, -15.0, -4.0, -20.0), (30.0, 15.0, 2.0, 15.0)


class _Data(NamedTuple):
    """Everything a fit looks at, all curves in a row."""

    signal: FloatArray
    annealed: FloatArray
    log_losses: FloatArray
    weights: FloatArray


class AnnealingLaw(Law):
    """Fits the law. See the module's docstring for what it is.

    Args:
        memory: 1 / (1 - lambda) in steps. None: 1000, or 1/24 of the longest curve where that is shorter. Chosen by
            training cost alone it comes out wrong, so it is not fitted.
        signal_power: p.
        noise_power: q.
    """

    def __init__(
        self, memory: float | None = None, *, signal_power: float = 1.0, noise_power: float = 1.0
    ) -> None:
        self.memory = memory
        self.signal_power = signal_power
        self.noise_power = noise_power

    def fit(self, curves: Sequence[Curve]) -> "FittedAnnealing":
        """Return the law fitted to ``curves``: Huber on log loss, several starts, the best of them.

        Raises:
            LawNotFitted: Fewer than 8 points, or a loss that is not above zero.
        """
        check(curves, parameters=PARAMETERS, fewest=FEWEST_POINTS)
        longest = max(curve.steps for curve in curves)
        memory = self.memory or max(min(LONGEST_MEMORY, MEMORY_SHARE * longest), 1.0)
        shape = _Shape(memory, self.signal_power, self.noise_power, *_scales(curves))
        data = _data(curves, shape)
        fits = [_fit_from(start, data) for start in _STARTS]
        best = min(fits, key=lambda fit: float(fit.cost))
        covariance, residual = _covariance(best.jac, best.fun, data)
        return FittedAnnealing(
            memory=memory,
            signal_power=self.signal_power,
            noise_power=self.noise_power,
            signal_scale=shape.signal_scale,
            noise_scale=shape.noise_scale,
            parameters=tuple(float(value) for value in best.x),
            covariance=tuple(tuple(float(value) for value in row) for row in covariance),
            residual_sd=residual,
            warnings=tuple(_warnings(curves, data)),
        )


class FittedAnnealing(FittedLaw):
    """The law with its parameters, as logarithms of L0, A, alpha and C in scaled units of S1 and S2."""

    memory: float = Field(ge=1.0)
    signal_power: float = 1.0
    noise_power: float = 1.0
    signal_scale: float
    noise_scale: float
    parameters: tuple[float, float, float, float]
    covariance: tuple[tuple[float, float, float, float], ...]
    residual_sd: float
    """Of log loss, robust."""

    def losses(self, lrs: FloatArray) -> FloatArray:
        """Return the loss after every step of ``lrs``, (steps,); never below a thousandth of L0."""
        signal, annealed = self._shape.terms(lrs)
        return _loss(np.array(self.parameters), signal, annealed)

    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return mean and sd of the loss after ``positions`` steps at rates ``lrs``."""
        rates = np.asarray(lrs, dtype=np.float64)
        signal, annealed = (after(term, positions) for term in self._shape.terms(rates))
        theta = np.array(self.parameters)
        mean = _loss(theta, signal, annealed)
        gradient = _log_gradient(theta, signal, annealed, mean)
        spread = np.einsum("ni,ij,nj->n", gradient, np.array(self.covariance), gradient)
        return Prediction(mean, mean * np.sqrt(np.maximum(spread, 0.0) + self.residual_sd**2))

    def ends(
        self, trunk: FloatArray, tails: FloatArray, generator: np.random.Generator, draws: int
    ) -> FloatArray:
        """Return the loss at the end of each way to go on, under drawn parameters, (draws, tails).

        Args:
            trunk: (steps,) learning rates so far.
            tails: (tails, more steps) learning rates to come.
            generator: Of the draws from the parameters' distribution.
            draws: How many; the first is the fit itself.
        """
        terms = [self._shape.terms(np.concatenate([trunk, tail])) for tail in tails]
        signal = np.array([each[0][-1] for each in terms])
        annealed = np.array([each[1][-1] for each in terms])
        theta = np.array(self.parameters)
        others = generator.multivariate_normal(
            theta, np.array(self.covariance), draws - 1, method="cholesky"
        )
        drawn = np.clip(np.vstack([theta, others]), _LOWEST, _HIGHEST)
        return np.vstack([_loss(one, signal, annealed) for one in drawn])

    def late_gain(
        self, lrs: ArrayLike, positions: ArrayLike | None = None, share: float = 0.2
    ) -> FloatArray:
        """Return by how much the last part of a run lowers the loss because its rate falls, (n,).

        Args:
            lrs: (steps,) learning rates.
            positions: (n,) numbers of steps done; None: all of them.
            share: Of the steps before each position, over which the rate is held instead.
        """
        rates = np.asarray(lrs, dtype=np.float64)
        places = np.atleast_1d(rates.size if positions is None else positions).astype(np.float64)
        shape = self._shape
        signal, annealed = shape.terms(rates)
        held_from = np.maximum((1.0 - share) * places, 1.0)
        steps = places - held_from
        decay = 1.0 - 1.0 / self.memory
        # With no drop after it, the momentum there fades, and goes on adding up.
        momentum = after(np.diff(annealed, prepend=0.0), held_from)
        faded = momentum * decay * (1.0 - decay**steps) / (1.0 - decay)
        rate = after(rates, held_from) ** self.signal_power / shape.signal_scale
        theta = np.array(self.parameters)
        held = _loss(
            theta, after(signal, held_from) + rate * steps, after(annealed, held_from) + faded
        )
        return held - _loss(theta, after(signal, places), after(annealed, places))

    @property
    def _shape(self) -> "_Shape":
        return _Shape(
            self.memory,
            self.signal_power,
            self.noise_power,
            self.signal_scale,
            self.noise_scale,
        )


class _Shape(NamedTuple):
    """What is not fitted: memory, powers, and the units that keep the parameters near 1."""

    memory: float
    signal_power: float
    noise_power: float
    signal_scale: float
    noise_scale: float

    def terms(self, lrs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return S1 and S2 after every step of ``lrs``, (steps,) each."""
        from scipy.signal import lfilter

        raised = lrs**self.noise_power
        drops = -np.diff(raised, prepend=0.0)
        decay = 1.0 - 1.0 / self.memory
        momentum: FloatArray = lfilter([1.0], [1.0, -decay], drops)
        signal = np.cumsum(lrs**self.signal_power)
        return signal / self.signal_scale, np.cumsum(momentum) / self.noise_scale


def _scales(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the units of S1 (its largest value, powers aside) and of S2 (a drop of the whole peak, remembered)."""
    total = max(float(np.sum(curve.lrs)) for curve in curves)
    peak = max(float(np.max(curve.lrs)) for curve in curves)
    return total, peak * LONGEST_MEMORY


def _data(curves: Sequence[Curve], shape: _Shape) -> _Data:
    """Return the rows of all curves; a curve's weights add up to the mean number of points."""
    share = sum(curve.positions.size for curve in curves) / len(curves)
    rows = []
    for curve in curves:
        signal, annealed = (after(term, curve.positions) for term in shape.terms(curve.lrs))
        weight = np.full(signal.size, np.sqrt(share / signal.size))
        rows.append((signal, annealed, np.log(curve.losses), weight))
    return _Data(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _fit_from(start: tuple[float, float, float], data: _Data) -> Any:
    """Return SciPy's result from one start: L0 as a share of the lowest loss, alpha, and C."""
    from scipy.optimize import least_squares

    floor, alpha, response = start
    lowest, highest = np.exp(np.min(data.log_losses)), np.exp(np.max(data.log_losses))
    amplitude = max(highest - floor * lowest, 1e-3 * lowest) * np.min(data.signal) ** alpha
    guess = np.log([floor * lowest, max(amplitude, 1e-6), alpha, response * lowest])

    def residuals(theta: FloatArray) -> FloatArray:
        loss = _loss(theta, data.signal, data.annealed)
        values: FloatArray = data.weights * (np.log(loss) - data.log_losses)
        return values

    def jacobian(theta: FloatArray) -> FloatArray:
        loss = _loss(theta, data.signal, data.annealed)
        gradient = _log_gradient(theta, data.signal, data.annealed, loss)
        values: FloatArray = data.weights[:, None] * gradient
        return values

    low, high = np.array(_LOWEST), np.array(_HIGHEST)
    inside = np.clip(guess, low + 1e-6, high - 1e-6)
    return least_squares(
        residuals,
        inside,
        jac=jacobian,
        bounds=(low, high),
        loss="huber",
        f_scale=HUBER,
        max_nfev=400,
    )


def _loss(theta: FloatArray, signal: FloatArray, annealed: FloatArray) -> FloatArray:
    """Return L0 + A S1^-alpha - C S2, kept above a thousandth of L0: its logarithm is needed."""
    floor, amplitude, alpha, response = np.exp(theta)
    raw = floor + amplitude * np.maximum(signal, 1e-12) ** -alpha - response * annealed
    result: FloatArray = np.maximum(raw, 1e-3 * floor)
    return result


def _log_gradient(
    theta: FloatArray, signal: FloatArray, annealed: FloatArray, loss: FloatArray
) -> FloatArray:
    """Return the derivatives of log loss by the four logarithms, (n, 4)."""
    floor, amplitude, alpha, response = np.exp(theta)
    safe = np.maximum(signal, 1e-12)
    power = amplitude * safe**-alpha
    columns = [np.full_like(loss, floor), power, -alpha * np.log(safe) * power]
    gradient: FloatArray = np.column_stack([*columns, -response * annealed]) / loss[:, None]
    return gradient


def _covariance(
    jacobian: FloatArray, residuals: FloatArray, data: _Data
) -> tuple[FloatArray, float]:
    """Return the parameters' covariance (4, 4) and the robust sd of one residual of log loss.

    Residuals of one curve are correlated, so points count as one in about ten of them (lag-one correlation .8 to .9 on
    the published curves).
    """
    plain = residuals / data.weights
    sd = max(1.4826 * float(np.median(np.abs(plain))), 1e-6)
    information = jacobian.T @ jacobian / (10.0 * sd**2) + 1e-2 * np.eye(PARAMETERS)
    return np.asarray(np.linalg.inv(information), dtype=np.float64), sd


def _warnings(curves: Sequence[Curve], data: _Data) -> list[str]:
    found = []
    if _unexplained(data) < SIMILAR:
        found.append(DECAY_NOT_TOLD)
    peaks = [float(np.max(curve.lrs)) for curve in curves]
    if max(peaks) > 1.5 * min(peaks):
        found.append(
            "the curves have different peak learning rates, which p = q = 1 does not describe; "
            "fit each peak by itself or set the powers"
        )
    return found


def _unexplained(data: _Data) -> float:
    """Return which share of the variance of S2 a cubic in log S1 leaves."""
    log_signal = np.log(np.maximum(data.signal, 1e-12))
    terms = np.vander(log_signal - np.mean(log_signal), 4)
    fitted = terms @ np.linalg.lstsq(terms, data.annealed, rcond=None)[0]
    total = float(np.var(data.annealed))
    return float(np.var(data.annealed - fitted)) / total if total > 0.0 else 0.0
