"""Best peaks of sweeps, also where the objective is no loss."""

from collections.abc import Sequence

import numpy as np
from pacesetter.protocol import Objective, Sweep, SweptRun

from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.memory.kinds import SCALE
from pacesetter_search.recommendation.kinds import is_loss
from pacesetter_search.transfer.sweeps import (
    SMALL,
    Trial,
    best_peak,
    cost_of_an_octave,
    in_the_bowl,
)

FEWEST = 3
"""Peaks that tell a curvature: of a loss it is known beforehand, of another objective it is not."""

NEAR = 2
"""Runs on either side of the best one that a parabola is laid through."""


def check_sweep(sweep: Sweep, objective: Objective) -> None:
    """Check that a sweep says where its best peak lies.

    Raises:
        ValueError: It does not; the message says what it lacks.
    """
    if is_loss(objective):
        _trials(sweep)
    else:
        _bent(sweep, objective)


def peak_of(sweep: Sweep, objective: Objective) -> tuple[float, float]:
    """Return log2 of the best peak of a sweep and its sd in octaves.

    Of an objective that is no loss the runs' own parabola tells the curvature, and their values are stretched to the
    one that is known for losses.

    Raises:
        ValueError: As :func:`check_sweep`.
    """
    ratio = sweep.tokens / sweep.parameters
    if is_loss(objective):
        return best_peak(_trials(sweep, objective), ratio if sweep.parameters >= SCALE else SMALL)
    worse, curvature = _bent(sweep, objective)
    stretch = cost_of_an_octave(ratio) / curvature
    trials = []
    for run, off in zip(_ended(sweep), worse, strict=True):
        noise = objective.noise or run.sd * abs(run.loss or 0.0)
        trials.append(Trial(run.lr, 1.0 + stretch * float(off), stretch * noise))
    return best_peak(in_the_bowl(trials), ratio)


def curvature_of(sweep: Sweep, objective: Objective) -> float | None:
    """Return the relative cost of an octave as a sweep's own runs tell it; None where they do not."""
    try:
        _, curvature = _bent(sweep, objective)
    except ValueError:
        return None
    best = min(abs(run.loss or 0.0) for run in _ended(sweep))
    return curvature / best if best > 0.0 else None


def diverged(sweep: Sweep, objective: Objective) -> list[float]:
    """Return the peaks above the best one at which runs of a sweep were lost."""
    ended = _ended(sweep)
    kept = {run.lr for run in ended}
    if is_loss(objective) and ended:
        kept = {trial.lr for trial in _trials(sweep)}
    best = _best(ended, objective).lr if ended else 0.0
    return sorted(run.lr for run in sweep.runs if run.lr not in kept and run.lr > best)


def stable(sweep: Sweep, objective: Objective) -> list[float]:
    """Return the peaks at which runs of a sweep ended as the others did."""
    lost = set(diverged(sweep, objective))
    return sorted(run.lr for run in _ended(sweep) if run.lr not in lost)


def _ended(sweep: Sweep) -> list[SweptRun]:
    return [run for run in sweep.runs if run.loss is not None]


def _best(runs: Sequence[SweptRun], objective: Objective) -> SweptRun:
    sign = -1.0 if objective.mode == "max" else 1.0
    return min(runs, key=lambda run: sign * (run.loss or 0.0))


def _trials(sweep: Sweep, objective: Objective | None = None) -> list[Trial]:
    """Return the runs that end near the best of them."""
    noise = None if objective is None else objective.noise
    trials = []
    for run in _ended(sweep):
        loss = run.loss or 0.0
        relative = run.sd if noise is None or loss <= 0.0 else noise / loss
        trials.append(Trial(run.lr, loss, min(max(run.sd, relative), 1.0)))
    return in_the_bowl(trials)


def _bent(sweep: Sweep, objective: Objective) -> tuple[FloatArray, float]:
    """Return by how much each run that ended is worse than the best one, and the curvature around that one.

    Raises:
        ValueError: There are too few peaks, or the best one is at their end.
    """
    runs = _ended(sweep)
    name = sweep.name or "a sweep"
    places = np.log2([run.lr for run in runs])
    different = np.unique(places)
    if different.size < FEWEST:
        raise ValueError(
            f"{name} has runs of {different.size} peaks that ended; in an objective other than the loss a best peak "
            f"takes {FEWEST} or more, as nobody knows its curvature beforehand"
        )
    sign = -1.0 if objective.mode == "max" else 1.0
    values = sign * np.array([run.loss or 0.0 for run in runs])
    means = np.array([values[places == place].mean() for place in different])
    middle = int(np.argmin(means))
    if middle in (0, different.size - 1):
        side = "above" if middle else "below"
        raise ValueError(
            f"the best run of {name} is at the end of its peaks; add one {side} {2.0 ** different[middle]:.3g}"
        )
    near = slice(max(0, middle - NEAR), middle + NEAR + 1)
    curvature = float(np.polyfit(different[near] - different[middle], means[near], 2)[0])
    if not curvature > 0.0:
        raise ValueError(f"the runs of {name} do not bend around a best peak; repeat some of them")
    return values - means[middle], curvature
