r"""The learning-rate annealing law [Tissue2024, arXiv 2408.11029].

.. math::
    L = L_0 + A S_1^{-\alpha} - C S_2

with the sums of :mod:`pacesetter_search.laws.sums`. The increments of the warm-up stay in :math:`S_2`, from
:math:`\eta_0 = 0` (without them the published 400M curves are predicted a fifth worse). As published p = q = 1.
The law must choose neither peak nor length: it promises a lower loss for every larger rate. Steps at a rate of exactly
zero move nothing here; as published they keep lowering the loss.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pacesetter_search.laws.base import Hull, Law, after, asked
from pacesetter_search.laws.curves import Curve, FloatArray
from pacesetter_search.laws.fitting import Fit, Prior, Rows, fitted, prepared
from pacesetter_search.laws.identification import falls_sharply, one_peak_warnings
from pacesetter_search.laws.parametric import FittedParametric, from_fit
from pacesetter_search.laws.sums import Sums, default_memory, raised

FEWEST_POINTS = 8
PARAMETERS = 4

MEMORIES = (0.5, 1.0, 2.0)
"""Over the default memory: what the curves may choose from where one has a step or a short cooldown."""

_STARTS = ((0.5, 0.5, 1.0), (0.8, 0.3, 0.3), (0.2, 0.8, 0.1), (0.9, 1.0, 0.03))
"""L0 as a share of the lowest loss, alpha, and C over it."""

_LOWEST, _HIGHEST = np.array([-30.0, -15.0, -4.0, -20.0]), np.array([30.0, 15.0, 2.0, 15.0])


class AnnealingLaw(Law):
    """Fits the law. See the module's docstring for what it is.

    Args:
        memory: 1 / (1 - lambda) in steps of the curves. None: 1000 steps of the job, or 1/24 of the longest curve where
            that is shorter; half or twice of it where a curve with a step or a short cooldown is described better so.
            Chosen by the cost of smooth curves it comes out wrong.
        stride: Steps of the job that a step of the curves stands for.
        signal_power: p.
        noise_power: q.
    """

    def __init__(
        self,
        memory: float | None = None,
        *,
        stride: float = 1.0,
        signal_power: float = 1.0,
        noise_power: float = 1.0,
    ) -> None:
        self.memory = memory
        self.stride = stride
        self.signal_power = signal_power
        self.noise_power = noise_power

    def fit(self, curves: Sequence[Curve]) -> "FittedAnnealing":
        """Return the law fitted to ``curves``: Huber on log loss, several starts, the best of them.

        Raises:
            LawNotFitted: Fewer than 8 points, losses that are not above zero or all the same, or rates that are all
                zero or in different units.
        """
        moved = prepared(curves, parameters=PARAMETERS, fewest=FEWEST_POINTS)
        fits = [self._fitted(moved, memory) for memory in self._memories(moved)]
        found, sums = min(fits, key=lambda each: each[0].cost)
        return FittedAnnealing(
            **sums._asdict(),
            **from_fit(found),
            hull=Hull.of(moved),
            warnings=tuple(one_peak_warnings(moved, "fit each peak by itself, or AcrossPeaksLaw")),
        )

    def _memories(self, curves: Sequence[Curve]) -> list[float]:
        if self.memory is not None:
            return [self.memory]
        usual = default_memory(curves, self.stride)
        factors = MEMORIES if falls_sharply(curves) else (1.0,)
        return [max(factor * usual, 1.0) for factor in factors]

    def _fitted(self, curves: Sequence[Curve], memory: float) -> tuple[Fit, Sums]:
        sums = Sums.of(curves, memory, signal_power=self.signal_power, noise_power=self.noise_power)
        pairs = [tuple(after(term, c.positions) for term in sums.terms(c.lrs)) for c in curves]
        signal, annealed = (np.concatenate(column) for column in zip(*pairs, strict=True))
        rows = Rows.of(curves)
        return (
            fitted(
                lambda theta: annealing_loss(theta, signal, annealed),
                rows,
                [_start(each, rows, float(np.min(signal))) for each in _STARTS],
                (_LOWEST, _HIGHEST),
                Prior.none(PARAMETERS),
            ),
            sums,
        )


class FittedAnnealing(FittedParametric):
    """The law with its parameters, as logarithms of L0, A, alpha and C in scaled units of S1 and S2."""

    names: ClassVar[tuple[str, ...]] = ("L0", "A", "alpha", "C")

    kind: Literal["annealing"] = "annealing"
    memory: float = Field(ge=1.0)
    signal_power: float = 1.0
    noise_power: float = 1.0
    signal_scale: float
    noise_scale: float
    parameters: tuple[float, float, float, float]

    def evaluate(self, lrs: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses, never below a thousandth of L0, and their derivatives by the four logarithms."""
        signal, annealed = (after(term, positions) for term in self._sums.terms(lrs))
        return annealing_loss(np.array(self.parameters), signal, annealed)

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
        whole = [asked(np.concatenate([trunk, tail]), None)[0] for tail in tails]
        terms = [self._sums.terms(rates) for rates in whole]
        signal = np.array([each[0][-1] for each in terms])
        annealed = np.array([each[1][-1] for each in terms])
        theta = np.array(self.parameters)
        others = generator.multivariate_normal(
            theta, np.array(self.covariance), draws - 1, method="cholesky"
        )
        drawn = np.clip(np.vstack([theta, others]), _LOWEST, _HIGHEST)
        return np.vstack([annealing_loss(one, signal, annealed)[0] for one in drawn])

    def late_gain(
        self, lrs: ArrayLike, positions: ArrayLike | None = None, share: float = 0.2
    ) -> FloatArray:
        """Return by how much the last part of a run lowers the loss because its rate falls, (n,).

        Args:
            lrs: (steps,) learning rates.
            positions: (n,) numbers of steps done; None: all of them.
            share: Of the steps before each position, over which the rate is held instead.
        """
        rates, places = asked(lrs, positions)
        sums = self._sums
        momenta = sums.momentum(raised(rates, sums.noise_power))
        annealed = np.cumsum(momenta) / sums.noise_scale
        signal = np.cumsum(raised(rates, sums.signal_power)) / sums.signal_scale
        held_from = np.maximum((1.0 - share) * places, 1.0)
        steps = places - held_from
        decay = 1.0 - 1.0 / sums.memory
        # With no drop after it, the momentum there fades, and goes on adding up.
        faded = after(momenta, held_from) * decay * (1.0 - decay**steps) / (1.0 - decay)
        level = raised(after(rates, held_from), sums.signal_power) / sums.signal_scale
        theta = np.array(self.parameters)
        held = annealing_loss(
            theta,
            after(signal, held_from) + level * steps,
            after(annealed, held_from) + faded / sums.noise_scale,
        )[0]
        return held - annealing_loss(theta, after(signal, places), after(annealed, places))[0]

    @property
    def _sums(self) -> Sums:
        own = Sums(
            self.memory,
            self.signal_power,
            self.noise_power,
            self.signal_scale,
            self.noise_scale,
        )
        return own if self.stride == 1.0 else own.thinned(self.stride)


def annealing_loss(
    theta: FloatArray, signal: FloatArray, annealed: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return L0 + A S1^-alpha - C S2, kept above a thousandth of L0, and its derivatives by the logarithms, (n, 4)."""
    floor, amplitude, alpha, response = np.exp(theta)
    safe = np.maximum(signal, 1e-12)
    power = amplitude * safe**-alpha
    drop = response * annealed
    gradient = np.column_stack(
        [np.full_like(power, floor), power, -alpha * np.log(safe) * power, -drop]
    )
    return np.maximum(floor + power - drop, 1e-3 * floor), gradient


def _start(start: tuple[float, float, float], rows: Rows, least_signal: float) -> FloatArray:
    floor, alpha, response = start
    lowest = float(np.exp(np.min(rows.log_losses)))
    highest = float(np.exp(np.max(rows.log_losses)))
    amplitude = max(highest - floor * lowest, 1e-3 * lowest) * least_signal**alpha
    guess: FloatArray = np.log([floor * lowest, max(amplitude, 1e-6), alpha, response * lowest])
    return guess
