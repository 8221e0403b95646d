"""At which peaks runs of a family held, and at which they were lost: too high a rate costs the run."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pacesetter.protocol import Source, Sweep

from pacesetter_search.memory import RunRecord
from pacesetter_search.recommendation.sweeps import diverged, stable
from pacesetter_search.recommendation.target import Target

LARGER = 2.0
"""Times the target's size up to which a run's stability says something of it, and within which sizes count as alike: a
larger model is lost earlier, under the standard parametrisation at half the rate for twice the width."""

SHOWN = 20
"""Runs that are named for it: the nearest in size and budget."""


@dataclass(frozen=True, slots=True)
class Stability:
    """Peaks of the family's widest runs.

    Attributes:
        highest: Largest one at which a run held; None: none did.
        lowest_lost: Least one above it at which a run was lost; None: none was.
    """

    highest: float | None = None
    lowest_lost: float | None = None

    def limit(self, supported: float) -> float | None:
        """Return the rate that is not to be exceeded; None where nothing is known.

        Args:
            supported: Rate that the best peak lies above as likely as three to one: where nothing was lost so far,
                runs may go beyond what was tried up to there.
        """
        if self.lowest_lost is not None:
            return self.highest if self.highest is not None else 0.5 * self.lowest_lost
        if self.highest is None:
            return None
        return max(self.highest, supported)


@dataclass(frozen=True, slots=True)
class _Seen:
    parameters: float
    lr: float
    held: bool


def stability_of(target: Target, runs: Sequence[RunRecord], sweeps: Sequence[Sweep]) -> Stability:
    """Return what runs of the target's kind and family, and its own evidence, say."""
    assert target.parameters is not None
    largest = LARGER * target.parameters
    seen = [
        one
        for one in (*_of_runs(target, runs), *_of_question(target, sweeps))
        if one.parameters <= largest
    ]
    widest = max((one.parameters for one in seen if one.held), default=0.0)
    held = [one.lr for one in seen if one.held and LARGER * one.parameters >= widest]
    highest = max(held, default=None)
    lost = [one.lr for one in seen if not one.held and (highest is None or one.lr > highest)]
    return Stability(highest, min(lost, default=None))


def sources(target: Target, runs: Sequence[RunRecord]) -> list[Source]:
    """Return the runs of the family that tell which peaks hold, the nearest first; their weight is 0.

    They hold the rate back, or let it go, whatever they say of the best peak.
    """
    asked = target.asked()

    def apart(run: RunRecord) -> tuple[float, str]:
        parameters, tokens = run.workload.parameters, run.tokens or asked.tokens
        assert parameters is not None
        octaves = math.log2(parameters / asked.parameters), math.log2(tokens / asked.tokens)
        return math.hypot(*octaves), run.id

    near = [one for one in runs if _tells(target, one) and _size(one) <= LARGER * asked.parameters]
    return [
        Source(kind="run", name=one.name, id=one.id, lr=one.peak_lr)
        for one in sorted(near, key=apart)[:SHOWN]
    ]


def _tells(target: Target, run: RunRecord) -> bool:
    """Whether a run says something of the peak that it was at: it held to its end, or was lost."""
    known = run.workload.parameters is not None and run.workload.family == target.family
    return known and (run.final_loss is None or run.completed)


def _size(run: RunRecord) -> float:
    assert run.workload.parameters is not None
    return run.workload.parameters


def _of_runs(target: Target, runs: Sequence[RunRecord]) -> Iterator[_Seen]:
    for one in runs:
        if _tells(target, one):
            # What a rate does grows with momentum; the target's own is what limits are told in.
            lr = one.peak_lr * (1.0 - target.momentum) / (1.0 - one.momentum)
            yield _Seen(_size(one), lr, one.final_loss is not None)


def _of_question(target: Target, sweeps: Sequence[Sweep]) -> Iterator[_Seen]:
    for one in target.evidence:
        if one.regime in (None, target.regime):
            yield _Seen(one.parameters, one.lr, True)
    for sweep in sweeps:
        for lr in stable(sweep, target.objective):
            yield _Seen(sweep.parameters, lr, True)
        for lr in diverged(sweep, target.objective):
            yield _Seen(sweep.parameters, lr, False)
