r"""A law with every memory: the noisy quadratic, or functional scaling law, with a free spectrum.

.. math::
    L = L_0 + \sum_r a_r e^{-r S} + \sum_r b_r \, r \int e^{-r (S - S')} \eta \, dS', \qquad S = \sum_i \eta_i

with :math:`a, b \ge 0` on a grid of rates :math:`r`: each direction of curvature forgets its start and averages its
noise at a rate of its own. It is the expected loss of stochastic gradient descent on a quadratic, and with power laws
for a and b the functional scaling law [Li2025, arXiv 2509.19189]; unlike the annealing law it gains nothing from steps
at zero, and pays for rates that are too high. It is linear in its coefficients, so its fit has no starts and no
failures; what the curves leave open shows in the spread of bootstrap members, and grows with the distance ahead.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pacesetter_search.laws.base import FittedLaw, Hull, Law, Prediction, after, asked
from pacesetter_search.laws.curves import Curve, FloatArray, thinned
from pacesetter_search.laws.fitting import prepared

RATES = 16
"""Memories, log-spaced: about one an octave and a half between the shortest measured and three runs."""

FASTEST = 20.0
"""Inverse of the shortest memory, in steps at the peak rate: a step of a grid stands for several of the job's."""

MEMBERS = 24
BLOCK = 5
"""Residuals are resampled in blocks, as neighbours are correlated."""

FEWEST_POINTS = 8

MOST_STEPS = 20_000
"""Steps that are gone through one by one; of a longer run one stands for several."""

_FLOOR_SD = 1e-3
"""Relative error of the law itself that no fit denies."""


class SpectralLaw(Law):
    """Fits the law by non-negative least squares on relative errors.

    Args:
        horizon: Steps that will be predicted; the slowest memory is a third of what they make of S. None: as fitted.
        members: Bootstrap refits.
        seed: Of the bootstrap.
    """

    def __init__(
        self, horizon: int | None = None, *, members: int = MEMBERS, seed: int = 0
    ) -> None:
        self.horizon = horizon
        self.members = members
        self.seed = seed

    def fit(self, curves: Sequence[Curve]) -> "FittedSpectrum":
        """Return the law fitted to ``curves``.

        Raises:
            LawNotFitted: Fewer than 8 points, losses that are not above zero or all the same, or rates that are all
                zero or in different units.
        """
        # In an order of their own, so that the bootstrap does not depend on the order in which they were given.
        moved = sorted(
            prepared(curves, parameters=2 * RATES + 1, fewest=FEWEST_POINTS),
            key=lambda curve: (-curve.steps, float(np.sum(curve.lrs)), float(curve.losses[-1])),
        )
        factor = -(-max(curve.steps for curve in moved) // MOST_STEPS)
        return self._fitted([curve.thinned(factor) for curve in moved], factor).model_copy(
            update={"hull": Hull.of(moved)}
        )

    def _fitted(self, curves: Sequence[Curve], factor: int) -> "FittedSpectrum":
        """Return the law of steps of which each curve's stands for ``factor``."""
        losses = np.concatenate([curve.losses for curve in curves])
        weights = _weights(curves) / losses
        generator = np.random.default_rng(self.seed)
        # Where a memory lies between two of the grid is not known either, so every member has a grid of its own.
        shifts = np.append(0.0, generator.uniform(-0.7, 0.7, self.members))
        rates = _rates(curves, (self.horizon or 0) / factor)[None, :] * 2.0 ** shifts[:, None]
        designs = _designs(curves, rates)
        fitted, residual = _central(designs[0], losses, weights)
        coefficients = []
        for member in range(self.members):
            drawn = fitted * np.exp(_resampled(residual, generator))
            design = designs[member + 1]
            if member % 2:
                design[:, 0] = 0.0  # a floor and a very slow memory look alike so far
            coefficients.append(_solve(design, drawn, weights))
        sd = float(np.sqrt(np.mean(residual**2)))
        return FittedSpectrum(
            rates=tuple(tuple((row / factor).tolist()) for row in rates[1:]),
            coefficients=tuple(tuple(row.tolist()) for row in coefficients),
            residual_sd=max(sd, _FLOOR_SD),
        )


class FittedSpectrum(FittedLaw):
    """The law's members: a spectrum each."""

    kind: Literal["spectral"] = "spectral"
    rates: tuple[tuple[float, ...], ...]
    coefficients: tuple[tuple[float, ...], ...]
    """Floor, then the signal's and the noise's weight at each rate."""
    residual_sd: float

    def members(self, lrs: FloatArray, positions: ArrayLike | None = None) -> FloatArray:
        """Return every member's losses after ``positions`` steps (all of them by default), (members, n)."""
        every = np.arange(1.0, lrs.size + 1.0) if positions is None else np.asarray(positions)
        factor = -(-lrs.size // MOST_STEPS)
        rates = np.array(self.rates) * (self.stride * factor)
        designs = _terms(thinned(lrs, factor), np.maximum(every / factor, 1.0), rates)
        losses = np.einsum("mnc,mc->mn", designs, np.array(self.coefficients))
        result: FloatArray = np.maximum(losses, 1e-12)
        return result

    def ends(self, trunk: FloatArray, tails: FloatArray, stride: float = 1.0) -> FloatArray:
        """Return every member's loss at the end of each way to go on, (members, tails).

        Args:
            trunk: (steps,) learning rates so far.
            tails: (tails, more) learning rates to come; all at once, as a loop over them costs a second.
            stride: Steps that each of them stands for.
        """
        rates, weights = np.array(self.rates) * self.stride, np.array(self.coefficients)
        count = rates.shape[1]
        noise = _terms(trunk, None, rates)[:, :, 1 + count :]
        noise = np.repeat(noise, len(tails), axis=1)
        changes = np.vstack([_changes(tail) for tail in tails])
        for step, change in zip(tails.T, changes.T, strict=True):
            lr = step[None, :, None]
            noise = _passed(noise, stride * lr * rates[:, None, :], lr, change[None, :, None])
        total = float(np.sum(trunk)) + stride * np.sum(tails, axis=1)
        signal = np.exp(-total[None, :, None] * rates[:, None, :])
        losses = weights[:, :1] + np.einsum("mtr,mr->mt", signal, weights[:, 1 : 1 + count])
        losses += np.einsum("mtr,mr->mt", noise, weights[:, 1 + count :])
        result: FloatArray = np.maximum(losses, 1e-12)
        return result

    def predict(self, lrs: ArrayLike, positions: ArrayLike | None = None) -> Prediction:
        """Return mean and sd of the loss after ``positions`` steps at rates ``lrs``."""
        logs = np.log(self.members(*asked(lrs, positions)))
        mean = np.exp(np.mean(logs, axis=0))
        return Prediction(mean, mean * np.sqrt(np.var(logs, axis=0) + self.residual_sd**2))


def _rates(curves: Sequence[Curve], horizon: float) -> FloatArray:
    """Return the central grid, from a third of what the longest run, or ``horizon`` steps, make of S."""
    peak = max(curve.peak for curve in curves)
    longest = max(*(float(np.sum(curve.lrs)) for curve in curves), peak * horizon)
    return np.geomspace(1.0 / (3.0 * longest), FASTEST / peak, RATES)


def _terms(lrs: FloatArray, positions: ArrayLike | None, rates: FloatArray) -> FloatArray:
    """Return floor, signal and noise terms after ``positions`` steps, (members, n, 1 + 2 rates)."""
    flat = rates.ravel()
    noise = np.empty((lrs.size, flat.size))
    state = np.zeros_like(flat)
    for step, (lr, change) in enumerate(zip(lrs, _changes(lrs), strict=True)):
        state = _passed(state, lr * flat, lr, change)
        noise[step] = state
    signal = np.exp(-np.outer(after(np.cumsum(lrs), positions), flat))
    pair = [part.reshape(-1, *rates.shape) for part in (signal, after(noise, positions))]
    stacked = np.concatenate([np.ones((len(signal), rates.shape[0], 1)), *pair], axis=2)
    return np.swapaxes(stacked, 0, 1)


def _passed(
    state: FloatArray, exponent: FloatArray, lr: FloatArray, change: FloatArray
) -> FloatArray:
    """Return the noise terms after one more step, whose rate moves linearly by ``change`` around its mean ``lr``.

    A step may stand for many, and memories are shorter than that: they see the rate at its end, not its mean.
    """
    kept = np.exp(-exponent)
    forgotten = 1.0 - kept
    # The integral of a linear rate against the memory, which is lr * forgotten where the rate does not move.
    late = np.where(exponent > 1e-3, 1.0 - forgotten / np.maximum(exponent, 1e-12), 0.5 * exponent)
    result: FloatArray = state * kept + (lr - 0.5 * change) * forgotten + change * late
    return result


def _changes(lrs: FloatArray) -> FloatArray:
    """Return by how much the rate moves within each step: the smaller of its differences to both sides, 0 at a turn."""
    if lrs.size < 2:
        return np.zeros_like(lrs)
    steps = np.diff(lrs)
    before, behind = np.append(steps[0], steps), np.append(steps, steps[-1])
    smaller = np.where(np.abs(before) < np.abs(behind), before, behind)
    return np.asarray(np.where(before * behind > 0.0, smaller, 0.0), dtype=np.float64)


def _designs(curves: Sequence[Curve], rates: FloatArray) -> FloatArray:
    """Return the terms at every measured point, (members, points, 1 + 2 rates)."""
    parts = [_terms(curve.lrs, curve.positions, rates) for curve in curves]
    return np.concatenate(parts, axis=1)


def _central(
    design: FloatArray, losses: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return fitted values and residuals of log loss, (n,) each."""
    fitted = np.maximum(design @ _solve(design, losses, weights), 1e-3 * np.min(losses))
    used = min(2 * RATES, losses.size // 4)
    return fitted, np.log(losses / fitted) * np.sqrt(losses.size / (losses.size - used))


def _weights(curves: Sequence[Curve]) -> FloatArray:
    """Return weights that let a curve count as the square root of its points: forks are few and decide the most."""
    sizes = [curve.positions.size for curve in curves]
    share = np.array([np.sqrt(np.sqrt(max(sizes) / size)) for size in sizes])
    return np.repeat(share, sizes)


def _solve(design: FloatArray, losses: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the non-negative coefficients with the least weighted squares."""
    from scipy.optimize import nnls

    scale = np.maximum(np.sqrt(np.mean((design * weights[:, None]) ** 2, axis=0)), 1e-12)
    scaled = design * weights[:, None] / scale
    try:
        solution, _ = nnls(scaled, losses * weights, maxiter=50 * design.shape[1])
    except RuntimeError:  # no convergence: SciPy's active set cycles on nearly equal columns
        ridge = 1e-6 * np.eye(design.shape[1])
        solution = np.maximum(
            np.linalg.solve(scaled.T @ scaled + ridge, scaled.T @ (losses * weights)), 0.0
        )
    result: FloatArray = solution / scale
    return result


def _resampled(residuals: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Return residuals drawn in blocks, with a random sign each, (n,)."""
    size = residuals.size
    count = -(-size // BLOCK)
    starts = generator.integers(0, max(size - BLOCK, 0) + 1, count)
    signs = generator.choice([-1.0, 1.0], count)
    index = np.minimum(starts[:, None] + np.arange(BLOCK), size - 1)
    drawn: FloatArray = (residuals[index] * signs[:, None]).ravel()[:size]
    return drawn
