"""What schedules would end with, from curves of runs that have ended; the answer names the curves it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pacesetter.schedules import Schedule
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pacesetter_search.laws import AnnealingLaw, Curve, EnsembleLaw, MultiPowerLaw
from pacesetter_search.laws.choice import Ranking, rank_schedules, usual_schedules
from pacesetter_search.laws.curves import FloatArray

LEFT_OUT = 0.02
"""Share of a run's first steps that no law is about: warm-up, and the fall from the untrained model."""

MOST_POINTS, FEWEST_POINTS, MOST_IN_ALL = 300, 60, 2400
"""Points of a curve that are fitted, in blocks of averaged losses: fewer of each where there are many curves."""

MOST_STEPS = 50_000
"""Steps of a curve in a fit; of a longer run one stands for several."""

MEMORY = 1000.0
"""Of the annealing law, in steps of the run."""

LONGEST = 100_000_000
Z90 = 1.6449


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Losses = Annotated[tuple[float | None, ...], Field(min_length=1, max_length=1_000_000)]
Steps = Annotated[tuple[int, ...], Field(min_length=1, max_length=1_000_000)]


class RecordedCurve(_Strict):
    """Losses of a run with the learning rates that led to them; between two rows rates lie on a line."""

    name: str = Field(min_length=1, max_length=200)
    steps: Steps
    """Steps done when each loss was measured, from 1 on, rising."""
    lrs: Losses
    """Learning rate of each of those steps."""
    losses: Losses
    """Null where there is none."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the rate rose from zero before the first row."""

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if not len(self.steps) == len(self.lrs) == len(self.losses):
            raise ValueError(
                f"curve {self.name!r} has {len(self.steps)} steps, {len(self.lrs)} learning rates and "
                f"{len(self.losses)} losses; give each row all three"
            )
        if list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 1:
            raise ValueError(
                f"the steps of curve {self.name!r} do not rise from 1 on; sort its rows"
            )
        if self.steps[-1] > LONGEST:
            raise ValueError(f"curve {self.name!r} is longer than {LONGEST:,} steps")
        if any(lr is None or lr < 0.0 for lr in self.lrs):
            raise ValueError(f"a learning rate of curve {self.name!r} is missing or below zero")
        return self


class Candidate(_Strict):
    """A schedule in steps, at a learning rate."""

    schedule: Schedule
    base_lr: float = Field(gt=0.0, le=1e4)
    """Ignored where the schedule is in learning rates itself."""

    @model_validator(mode="after")
    def _is_not_endless(self) -> Self:
        if self.schedule.length > LONGEST:
            raise ValueError(
                f"a schedule of {self.schedule.length:,} steps is longer than {LONGEST:,}"
            )
        return self


class Usual(_Strict):
    """The usual schedules at a length and a peak."""

    steps: int = Field(ge=10, le=LONGEST)
    base_lr: float = Field(gt=0.0, le=1e4)
    warmup: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.warmup >= self.steps:
            raise ValueError(f"a warm-up of {self.warmup} leaves nothing of {self.steps} steps")
        return self

    def candidates(self) -> dict[str, Candidate]:
        """Return them by name."""
        found = usual_schedules(self.steps, self.warmup)
        return {
            name: Candidate(schedule=schedule, base_lr=self.base_lr)
            for name, schedule in found.items()
        }


class Predicted(_Strict):
    """A candidate in its place."""

    name: str
    rank: int
    loss: float
    loss_90: tuple[float, float]
    gain: float
    """Shrunken relative gain over the reference."""


class Used(_Strict):
    """A curve that was fitted."""

    name: str
    steps: int
    points: int
    residual: float
    """Mean relative error of the fit on it."""


class Predictions(_Strict):
    """The answer, best first."""

    candidates: tuple[Predicted, ...]
    refused: dict[str, str]
    evidence: tuple[Used, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NamedCurve:
    """A curve under the name that the answer calls it by."""

    name: str
    curve: Curve


def curves_of(recorded: Sequence[RecordedCurve]) -> list[NamedCurve]:
    """Return curves ready for a fit: without their first steps, averaged in blocks.

    Raises:
        ValueError: One has no finite loss left.
    """
    most = max(FEWEST_POINTS, min(MOST_POINTS, MOST_IN_ALL // max(len(recorded), 1)))
    return [_curve_of(each, most) for each in recorded]


def _curve_of(recorded: RecordedCurve, most: int) -> NamedCurve:
    """Return a curve of at most ``most`` points or so.

    Raises:
        ValueError: No finite loss is left.
    """
    steps = np.array(recorded.steps, dtype=np.float64)
    rates = np.array(recorded.lrs, dtype=np.float64)
    losses = np.array([np.nan if loss is None else loss for loss in recorded.losses])
    if 0 < recorded.warmup < steps[0]:
        steps, rates = np.append([0.0, recorded.warmup], steps), np.append([0.0, rates[0]], rates)
        losses = np.append([np.nan, np.nan], losses)
    every = np.interp(np.arange(1, int(steps[-1]) + 1), steps, rates)
    curve = Curve.of(every, steps, losses)
    curve = curve.after(max(1, int(LEFT_OUT * curve.steps)))
    return NamedCurve(recorded.name, curve.blocks(max(1, -(-curve.steps // most))))


def predict(
    curves: Sequence[NamedCurve], candidates: dict[str, Candidate], reference: str | None
) -> Predictions:
    """Return the candidates in the order of their expected final losses.

    Raises:
        LawNotFitted: The curves carry no fit.
        ValueError: There is no candidate, or ``reference`` is none of them.
    """
    longest = max(
        *(each.curve.steps for each in curves),
        *(one.schedule.length for one in candidates.values()),
    )
    factor = -(-longest // MOST_STEPS)
    law = EnsembleLaw([AnnealingLaw(max(1.0, MEMORY / factor)), MultiPowerLaw()])
    if max(each.curve.steps for each in curves) < 24 * MEMORY:
        law = EnsembleLaw()  # a memory of 1/24 of a shorter run
    thinned = [each.curve.thinned(factor) for each in curves]
    ranking = rank_schedules(
        thinned,
        {name: _rates(one, factor) for name, one in candidates.items()},
        reference=reference,
        law=law,
    )
    return Predictions(
        candidates=tuple(_placed(ranking)),
        refused=dict(ranking.refused),
        evidence=tuple(_used(curves, thinned, ranking)),
        warnings=ranking.warnings,
    )


def _rates(candidate: Candidate, factor: int) -> FloatArray:
    """Return the learning rates of a candidate, one for every ``factor`` steps."""
    schedule = candidate.schedule
    middles = np.arange(0, schedule.length, factor, dtype=np.float64) + 0.5 * (factor - 1)
    values = schedule.over(schedule.zero + np.minimum(middles, schedule.length - 1))
    rates: FloatArray = values if schedule.unit == "absolute" else values * candidate.base_lr
    return rates


def _placed(ranking: Ranking) -> list[Predicted]:
    return [
        Predicted(
            name=one.name,
            rank=one.rank,
            loss=one.loss,
            loss_90=(one.loss - Z90 * one.loss_sd, one.loss + Z90 * one.loss_sd),
            gain=one.gain,
        )
        for one in ranking.candidates
    ]


def _used(curves: Sequence[NamedCurve], thinned: Sequence[Curve], ranking: Ranking) -> list[Used]:
    found = []
    for each, curve in zip(curves, thinned, strict=True):
        mean = ranking.law.predict(curve.lrs, curve.positions).mean
        residual = float(np.mean(np.abs(mean - curve.losses) / curve.losses))
        found.append(
            Used(
                name=each.name, steps=each.curve.steps, points=curve.losses.size, residual=residual
            )
        )
    return found
