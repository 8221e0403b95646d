"""What schedules would end with, from curves of runs that have ended; the answer names the curves it rests on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pacesetter.schedules import Schedule
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pacesetter_search.laws import AnyFittedLaw, Curve, EnsembleLaw, LawNotFitted
from pacesetter_search.laws.choice import Ranking, learning_rates, rank_under, zoo
from pacesetter_search.laws.identification import misfits

LEFT_OUT = 0.02
"""Share of a run's first steps that no law is about: warm-up, and the fall from the untrained model."""

MOST_POINTS, FEWEST_POINTS, MOST_IN_ALL = 300, 60, 2400
"""Points of a curve that are fitted, in blocks of averaged losses: fewer of each where there are many curves."""

MOST_STEPS = 50_000
"""Steps of a curve in a fit, and of a candidate; of a longer run one stands for several."""

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
    """Every family of schedules at its default or typical parameters, at a length and a peak."""

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
        found = zoo(self.steps, self.base_lr, self.warmup)
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


class LawOfRuns(_Strict):
    """A law with what it rests on: all that has to be kept of a fit."""

    law: AnyFittedLaw
    """In steps of the runs."""
    evidence: tuple[Used, ...]


@dataclass(frozen=True, slots=True)
class NamedCurve:
    """A curve under the name that the answer calls it by."""

    name: str
    curve: Curve
    steps: int
    """Of the run, up to its last row."""
    stride: int = 1
    """Steps of the run that a step of the curve stands for, the same for all curves of a fit."""


def curves_of(recorded: Sequence[RecordedCurve]) -> list[NamedCurve]:
    """Return curves ready for a fit: without their first steps, averaged in blocks.

    Raises:
        ValueError: One has no finite loss left.
    """
    most = max(FEWEST_POINTS, min(MOST_POINTS, MOST_IN_ALL // max(len(recorded), 1)))
    longest = max((each.steps[-1] for each in recorded), default=1)
    return [_curve_of(each, most, -(-longest // MOST_STEPS)) for each in recorded]


def _curve_of(recorded: RecordedCurve, most: int, stride: int) -> NamedCurve:
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
    # The rate in the middle of each group, without a value for every step of a long run.
    middles = np.arange(1, int(steps[-1]) + 1, stride) + 0.5 * (stride - 1)
    every = np.interp(np.minimum(middles, steps[-1]), steps, rates)
    curve = Curve.of(every, np.where(steps >= 1.0, np.maximum(steps / stride, 1.0), 0.0), losses)
    curve = curve.after(max(1, int(LEFT_OUT * curve.steps)))
    return NamedCurve(
        recorded.name, curve.blocks(max(1, -(-curve.steps // most))), recorded.steps[-1], stride
    )


def fit_law(curves: Sequence[NamedCurve]) -> LawOfRuns:
    """Return the law of all curves, in steps of the runs, to be kept or asked at once.

    Raises:
        LawNotFitted: The curves carry no fit, or contradict each other; the message names the one.
    """
    stride, names = curves[0].stride, [each.name for each in curves]
    found = [each.curve for each in curves]
    try:
        law = EnsembleLaw(stride=stride).fit(found)
    except LawNotFitted as error:
        raise LawNotFitted(_named(str(error), names)) from error
    warnings = tuple(_named(each, names) for each in law.warnings)
    evidence = [
        Used(name=each.name, steps=each.steps, points=each.curve.losses.size, residual=float(off))
        for each, off in zip(curves, misfits(law, found), strict=True)
    ]
    in_steps = law.thinned(1.0 / stride).model_copy(update={"warnings": warnings})
    return LawOfRuns(law=in_steps, evidence=tuple(evidence))


def predict(
    curves: Sequence[NamedCurve], candidates: dict[str, Candidate], reference: str | None
) -> Predictions:
    """Return the candidates in the order of their expected final losses.

    Raises:
        LawNotFitted: The curves carry no fit.
        ValueError: There is no candidate, or ``reference`` is none of them.
    """
    return predict_under(fit_law(curves), candidates, reference)


def predict_under(
    known: LawOfRuns, candidates: dict[str, Candidate], reference: str | None
) -> Predictions:
    """Return the candidates in the order of their expected final losses under a law that was fitted before.

    Raises:
        ValueError: There is no candidate, ``reference`` is none of them, or one never leaves a rate of zero.
    """
    longest = max((one.schedule.length for one in candidates.values()), default=1)
    factor = -(-longest // MOST_STEPS)
    ranking = rank_under(
        known.law.thinned(factor),
        {
            name: learning_rates(one.schedule, one.base_lr, factor)
            for name, one in candidates.items()
        },
        reference=reference,
    )
    return Predictions(
        candidates=tuple(_placed(ranking)),
        refused=dict(ranking.refused),
        evidence=known.evidence,
        warnings=ranking.warnings,
    )


def _named(sentence: str, names: Sequence[str]) -> str:
    """Return a sentence that calls curves by their names instead of their numbers."""
    return re.sub(
        r"curve (\d+) of \d+", lambda found: f"curve {names[int(found[1]) - 1]!r}", sentence
    )


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
