"""What each way to go on is worth at the end of the budget, by laws fitted to everything the job has shown.

Two laws look at the main line and at every probe of the job's life: the spectral law, which describes a noisy
quadratic, and the annealing law, which describes language models. Each speaks through many members (bootstrap, draws of
its parameters) and weighs by how well it fits. Two errors that members cannot know of are laid over them: what laws
promise is shrunk and may be wrong (LAW_ERROR), and what is concluded from short anneals favours rates that are too low,
the more so the further the end is (BIAS). The second is a prior on octaves; it tilts every candidate by the octaves
that it gains or loses in the sum of its rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from pacesetter_search.contract import JobFacts
from pacesetter_search.laws import AnnealingLaw, Curve, FittedLaw, LawNotFitted, SpectralLaw
from pacesetter_search.strategies.horizon.candidates import Candidate
from pacesetter_search.strategies.horizon.grid import (
    CELLS,
    TAIL_CELLS,
    cell,
    fork_curve,
    main_curve,
    tails,
    trunk,
)
from pacesetter_search.strategies.horizon.memory import Memory
from pacesetter_search.strategies.horizon.worth import BIAS_MEAN, BIAS_SD, CURVATURE, LAW_ERROR

FloatArray = npt.NDArray[np.float64]

DRAWS = 24
"""Draws of the annealing law's parameters, as many as the spectral law has members."""

ERRORS = 40
"""Draws of the two errors for each member."""

SHRINKAGE = 0.5
"""Mean of what a real gain is of the promised one [schedules-and-laws 0.4]."""

LEAST_MISFIT = 1e-3

LEAST_WIN = 1e-3
"""Relative loss below which a win is none."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The posterior over candidates; the first is the schedule as it is.

    Attributes:
        candidates: The ways to go on.
        gains: (n,) posterior mean of the relative loss saved at the end of the budget.
        wins: (n,) posterior probability that something is saved.
        numbers: What it rests on, for the audit trail.
    """

    candidates: Sequence[Candidate]
    gains: FloatArray
    wins: FloatArray
    numbers: dict[str, JsonValue]

    def best(self, probability: float) -> int:
        """Return the index with the largest mean gain of those that win with ``probability``; 0 if none does."""
        sure = np.where((self.wins >= probability) & (self.gains > 0.0), self.gains, 0.0)
        return int(np.argmax(sure))

    def most_promising(self) -> int:
        """Return the index of the largest mean gain, however unsure."""
        return int(np.argmax(self.gains))


def slope(job: JobFacts, memory: Memory) -> float:
    """Return the fall of the main line's log loss per doubling of its steps, over its last two doublings, 0 to 2."""
    places, losses, counts = (np.asarray(column) for column in memory.track.points())
    if places.size < 4:
        return 0.0
    recent = (places >= 0.25 * places[-1]) & (places >= 0.005 * job.budget.total) & (losses > 0.0)
    if np.count_nonzero(recent) < 4:
        return 0.0
    x, y = np.log2(places[recent]), np.log(losses[recent])
    fall = -np.polyfit(x, y, 1, w=np.sqrt(counts[recent]))[0]
    return float(np.clip(fall, 0.0, 2.0))


def outlook(
    job: JobFacts, memory: Memory, ways: Sequence[Candidate], position: int, seed: int
) -> Outlook | None:
    """Return what every candidate is worth, or None where the laws cannot be fitted."""
    try:
        main = main_curve(job, memory)
        forks = [
            fork_curve(job, memory, fork)
            for fork in memory.forks
            if len(fork.losses) >= 3 and not fork.diverged
        ]
        return _weighed(job, memory, ways, position, [main, *forks], np.random.default_rng(seed))
    except (LawNotFitted, ValueError, np.linalg.LinAlgError):
        return None


def _weighed(
    job: JobFacts,
    memory: Memory,
    ways: Sequence[Candidate],
    position: int,
    curves: Sequence[Curve],
    generator: np.random.Generator,
) -> Outlook:
    before = trunk(job, memory.line, float(position))
    policies = [way.policy for way in ways]
    stride = (job.budget.total - position) / TAIL_CELLS / cell(job)
    coarse = tails(job, policies, position, stride * cell(job))
    fine = tails(job, policies, position, cell(job))
    spectral = SpectralLaw(CELLS, seed=int(generator.integers(2**31))).fit(curves)
    annealing = AnnealingLaw(CELLS / 24).fit(curves)
    ends = [
        spectral.ends(before, coarse, stride),
        annealing.ends(before, fine, generator, DRAWS),
    ]
    misfits = [_misfit(law, curves) for law in (spectral, annealing)]
    trust = np.array(misfits) ** -2.0 / np.sum(np.array(misfits) ** -2.0)
    weights = np.repeat(trust / [len(one) for one in ends], [len(one) for one in ends])
    logs = np.log(np.vstack(ends))
    effects = logs - logs[:, :1]
    octaves = np.log2(np.maximum(np.sum(coarse, axis=1), 1e-12) / max(np.sum(coarse[0]), 1e-12))
    doublings = np.log2(job.budget.total / max(_seen(curves, job), 1.0))
    tilt = 2.0 * CURVATURE * slope(job, memory) * doublings * octaves
    real = _with_errors(effects, tilt, generator)
    mean = np.einsum("m,mec->c", weights, real) / real.shape[1]
    wins = np.einsum("m,mec->c", weights, real < -LEAST_WIN) / real.shape[1]
    numbers: dict[str, JsonValue] = {
        "trust_in_spectral_law": float(trust[0]),
        "spectral_misfit": misfits[0],
        "annealing_misfit": misfits[1],
        "slope": slope(job, memory),
        "doublings_ahead": float(doublings),
        "predicted_loss": float(np.exp(np.sum(weights * logs[:, 0]))),
        "predicted_log_sd": float(np.sqrt(np.sum(weights * _squares(logs[:, 0], weights)))),
    }
    return Outlook(ways, -mean, wins, numbers)


def _with_errors(
    effects: FloatArray, tilt: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """Return effects (members, candidates) under draws of the laws' and the horizon's error, (members, draws, n).

    The mean of the horizon's bias counts against lower rates only, which is where short anneals mislead. For a higher
    one it would be a promise that nothing measured, and the annealing law makes that promise already.
    """
    size = (effects.shape[0], ERRORS, 1)
    kept = np.clip(generator.normal(SHRINKAGE, LAW_ERROR * SHRINKAGE, size), 0.0, 1.0)
    bias = np.where(tilt < 0.0, BIAS_MEAN, 0.0) + BIAS_SD * generator.standard_normal(size)
    return np.asarray(kept * effects[:, None, :] - tilt * bias, dtype=np.float64)


def _misfit(law: FittedLaw, curves: Sequence[Curve]) -> float:
    """Return the root mean square of the law's errors of log loss, each curve weighing the same."""
    squares = [
        np.mean(np.log(law.predict(curve.lrs, curve.positions).mean / curve.losses) ** 2)
        for curve in curves
    ]
    return max(float(np.sqrt(np.mean(squares))), LEAST_MISFIT)


def _seen(curves: Sequence[Curve], job: JobFacts) -> float:
    """Return the furthest position that any loss was measured at."""
    return max(float(curve.positions[-1]) for curve in curves) * cell(job)


def _squares(values: FloatArray, weights: FloatArray) -> FloatArray:
    result: FloatArray = (values - np.sum(weights * values)) ** 2
    return result
