"""What every way to go on ends with, by laws: of the job's own curve, and of its family's runs.

A law promises more than comes (of the gain of WSD over a cosine .3 to .6) and does not know its own error. So what each
promises is shrunk, by a share that is itself uncertain, and laws are heard as far as they are sure. A curve that shows
no decay apart from progress, as the first half of a cosine, fits any law and says nothing of what a decay brings: what
it promises may be wrong by all of it, so that no win is sure before the family's finished runs say the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from pacesetter_search.contract import JobFacts
from pacesetter_search.laws import (
    AnnealingLaw,
    Curve,
    EnsembleLaw,
    FittedLaw,
    LawNotFitted,
    MultiPowerLaw,
)
from pacesetter_search.laws.choice.ranking import SHRINK
from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.laws.differences import Differences, differences
from pacesetter_search.laws.identification import tells_decay
from pacesetter_search.strategies.horizon.candidates import Candidate
from pacesetter_search.strategies.horizon.grid import CELLS, cell, main_curve, tails, trunk
from pacesetter_search.strategies.horizon.outlook import LEAST_WIN, Outlook
from pacesetter_search.strategies.law.memory import Memory

MEMORY_SHARE = 1.0 / 24.0
"""Memory of the annealing law, as a share of the budget."""

SHRINK_SD = 0.2
"""Of the share of a promised gain that is real: .57, .51 and .30 were measured, and other schedules were not."""

LAW_ERROR = 0.002
"""Relative error of the difference of two ends that no law admits: what two equal runs of 124M differ by, or so."""

ELSEWHERE = 0.25
"""What an octave of parameters adds to it, as a share of the difference."""

UNTOLD = 1.0
"""What a curve adds that does not tell decay from progress: on a noisy quadratic laws of such ones promise a fifth, and
are wrong by twice that."""

DRAWS = 400


@dataclass(frozen=True, slots=True)
class _Voice:
    """A law that was asked."""

    name: str
    found: Differences
    error: FloatArray
    """(n,) sd of what it gets wrong without knowing."""


def outlook(
    job: JobFacts, memory: Memory, ways: Sequence[Candidate], position: int, seed: int
) -> Outlook | None:
    """Return what every way is worth, or None where no law can be fitted."""
    runs = _runs(job, memory, ways, position)
    own = _own(job, memory)
    voices = [*_of_own(own, runs), *_of_family(job, memory, runs)]
    if not voices:
        return None
    generator = np.random.default_rng(seed)
    drawn = np.array([_drawn(voice, generator) for voice in voices])  # (voices, draws, ways)
    weights = _weights(drawn)
    numbers: dict[str, JsonValue] = {"laws": [voice.name for voice in voices]}
    if own is not None:
        law, curve = own
        end = law.predict(runs[0])
        numbers["predicted_loss"] = float(end.mean[0])
        numbers["predicted_sd"] = float(end.sd[0])
        numbers["misfit"] = _misfit(law, curve)
        numbers["warnings"] = list(law.warnings)
    gains = -weights @ drawn.mean(axis=1)
    wins = weights @ np.mean(drawn < -LEAST_WIN, axis=1)
    return Outlook(ways, gains, wins, numbers)


def _runs(
    job: JobFacts, memory: Memory, ways: Sequence[Candidate], position: int
) -> list[FloatArray]:
    """Return the multipliers of every whole run, a value a cell."""
    before = trunk(job, memory.line, float(position))
    after = tails(job, [way.policy for way in ways], position, cell(job))
    return [np.concatenate([before, tail]) for tail in after]


def _own(job: JobFacts, memory: Memory) -> tuple[FittedLaw, Curve] | None:
    """Return the laws fitted to the main line so far."""
    try:
        curve = main_curve(job, memory)
        laws = EnsembleLaw([AnnealingLaw(MEMORY_SHARE * CELLS), MultiPowerLaw()])
        return laws.fit([curve]), curve
    except (LawNotFitted, ValueError, np.linalg.LinAlgError):
        return None


def _of_own(own: tuple[FittedLaw, Curve] | None, runs: Sequence[FloatArray]) -> Iterator[_Voice]:
    """Yield what the job's own curve says."""
    if own is not None:
        law, curve = own
        yield _heard("own", differences(law, runs), 0.0 if tells_decay([curve]) else UNTOLD)


def _weights(drawn: FloatArray) -> FloatArray:
    """Return the share of each voice, (voices,): the surer, the more."""
    sureness = 1.0 / np.maximum(drawn.var(axis=1).mean(axis=1), LAW_ERROR**2)
    return np.asarray(sureness / sureness.sum(), dtype=np.float64)


def _of_family(job: JobFacts, memory: Memory, runs: Sequence[FloatArray]) -> Iterator[_Voice]:
    """Yield what the laws of the family's runs say, where they reach so far."""
    base = job.groups[0].base_lr
    for known in memory.family:
        steps = _steps_of_cell(job, known.workload.batch_tokens)
        if steps is None:
            continue
        try:
            found = differences(known.law.thinned(steps), [base * run for run in runs])
        except (TypeError, ValueError):
            continue  # of a kind, or at rates, that it cannot say anything of
        yield _heard(known.id, found, ELSEWHERE * known.octaves)


def _steps_of_cell(job: JobFacts, batch: float | None) -> float | None:
    """Return how many optimizer steps a cell stands for; None where it is not known."""
    if job.budget.clock == "steps":
        return cell(job)
    return None if batch is None else cell(job) / batch


def _heard(name: str, found: Differences, elsewhere: float) -> _Voice:
    error = np.hypot(LAW_ERROR, elsewhere * found.mean)
    # The first is the line as it is, which the others are compared with.
    return _Voice(name, found, np.where(np.arange(error.size) == 0, 0.0, error))


def _drawn(voice: _Voice, generator: np.random.Generator) -> FloatArray:
    """Return draws of what every way really changes, (draws, n)."""
    kept = np.clip(generator.normal(SHRINK, SHRINK_SD, (DRAWS, 1)), 0.0, 1.0)
    fit, own = generator.standard_normal((2, DRAWS, 1))
    promised = voice.found.mean + fit * voice.found.sd
    return np.asarray(kept * promised + own * voice.error, dtype=np.float64)


def _misfit(law: FittedLaw, curve: Curve) -> float:
    """Return the mean relative error of a law on the curve that it was fitted to."""
    mean = law.predict(curve.lrs, curve.positions).mean
    return float(np.mean(np.abs(mean - curve.losses) / curve.losses))
