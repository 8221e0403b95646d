"""The searches that people run by hand, paid out of the same number of steps."""

from collections.abc import Sequence

from benchmarks.quality.engine import Outcome, shaped, train
from benchmarks.quality.score import Score, scored
from benchmarks.quality.tasks.base import Task

SWEEP_SHARE = 1 / 16
SWEEP_FACTORS = (0.25, 1.0, 4.0)
"""Around the default: a sweep of three has to guess its range too."""
HORIZON_EXPONENT = -0.3
"""The best rate falls with the length at fixed batch as D^-.32 [Bjorck2024, arXiv 2409.19913]."""

HALVING_OCTAVES = (-7, -5, -3, -1, 1, 3, 5, 7)
HALVING_RUNGS = ((8, 1 / 128), (4, 1 / 64), (2, 1 / 32))
"""Runs and their share of T; a sixteenth each."""


def three_point_sweep(task: Task, steps: int, total: int, seed: int) -> Score:
    """Try three rates for T/16, carry the best over with D^-.3, put what is left into the run."""
    length = max(1, round(steps * SWEEP_SHARE))
    rates = [task.default_lr * factor for factor in SWEEP_FACTORS]
    tried = _try(task, rates, length, seed)
    carried = rates[_ranking(tried)[0]] * (1 / SWEEP_SHARE) ** HORIZON_EXPONENT
    return _final(task, carried, total, tried, seed)


def successive_halving(task: Task, steps: int, total: int, seed: int) -> Score:
    """Try eight rates briefly, the better half for twice as long, and so on; put what is left into the run."""
    rates = [task.default_lr * 2.0**octave for octave in HALVING_OCTAVES]
    spent: list[Outcome] = []
    for count, share in HALVING_RUNGS:
        rates = rates[:count]
        tried = _try(task, rates, max(1, round(steps * share)), seed)
        spent.extend(tried)
        rates = [rates[index] for index in _ranking(tried)]
    return _final(task, rates[0], total, spent, seed)


def _try(task: Task, rates: Sequence[float], length: int, seed: int) -> list[Outcome]:
    return [train(task, shaped("linear", length), lr, length, seed) for lr in rates]


def _ranking(tried: Sequence[Outcome]) -> list[int]:
    """Return indices from the best on split A to the worst; of equals the lower rate first."""
    return sorted(range(len(tried)), key=lambda index: tried[index].A)


def _final(task: Task, lr: float, total: int, spent: Sequence[Outcome], seed: int) -> Score:
    searched = sum(outcome.steps for outcome in spent)
    steps = total - searched
    outcome = train(task, shaped("linear", steps), lr, steps, seed)
    seconds = sum(outcome.seconds for outcome in spent)
    return scored(outcome, searched=searched, search_seconds=seconds)
