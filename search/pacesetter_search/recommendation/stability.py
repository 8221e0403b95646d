"""At which peaks runs of a family held, and at which they were lost: too high a rate costs the run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pacesetter.protocol import Sweep

from pacesetter_search.memory import RunRecord
from pacesetter_search.recommendation.sweeps import diverged, stable
from pacesetter_search.recommendation.target import Target

LARGER = 2.0
"""Times the target's size up to which a run's stability says something of it, and within which sizes count as alike: a
larger model is lost earlier, under the standard parametrisation at half the rate for twice the width."""


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


def _of_runs(target: Target, runs: Sequence[RunRecord]) -> Iterator[_Seen]:
    for one in runs:
        parameters = one.workload.parameters
        if parameters is None or one.workload.family != target.family:
            continue
        if one.final_loss is None or one.completed:
            # What a rate does grows with momentum; the target's own is what limits are told in.
            lr = one.peak_lr * (1.0 - target.momentum) / (1.0 - one.momentum)
            yield _Seen(parameters, lr, one.final_loss is not None)


def _of_question(target: Target, sweeps: Sequence[Sweep]) -> Iterator[_Seen]:
    for one in target.evidence:
        if one.regime in (None, target.regime):
            yield _Seen(one.parameters, one.lr, True)
    for sweep in sweeps:
        for lr in stable(sweep, target.objective):
            yield _Seen(sweep.parameters, lr, True)
        for lr in diverged(sweep, target.objective):
            yield _Seen(sweep.parameters, lr, False)
