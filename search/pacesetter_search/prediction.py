"""What schedules would end with, from curves of runs that have ended; the answer names the curves it rests on."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import numpy as np
from pacesetter.curves import Points
from pacesetter.curves.points import LONGEST
from pacesetter.schedules import Schedule
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pacesetter_search.laws import AnyFittedLaw
from pacesetter_search.laws.choice import (
    Ranking,
    Tuned,
    learning_rates,
    makers,
    rank_under,
    zoo,
)
from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.laws.stored import MOST_STEPS, FittedTo, NamedCurve, fit_stored
from pacesetter_search.losses import LARGEST_LOSS

BEYOND = 16
"""Lengths of the longest fitted run beyond which no law is asked: four doublings, which nobody measured."""

MOST_TUNED = 1_000_000
"""Steps of a run that schedules are made for: some of its values are needed one by one."""

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
    tune: bool = False
    """Whether to make schedules for the law as well: the best parameters of each family, and a free shape."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.tune and self.steps > MOST_TUNED:
            raise ValueError(
                f"schedules are made for runs of at most {MOST_TUNED:,} steps, not {self.steps:,}; leave tune out"
            )
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


class Made(_Strict):
    """A schedule that was made for the law: what that promises it is no evidence, so its loss is left out."""

    name: str
    rank: int
    """Its place among all candidates and what was made: being made for the law alone puts it above most."""
    gain: float
    """Shrunken relative gain over the reference."""
    parameters: dict[str, float]
    """Of the family; empty for a free shape."""
    schedule: Schedule
    warnings: tuple[str, ...]


class Predictions(_Strict):
    """The answer, best first."""

    candidates: tuple[Predicted, ...]
    tuned: tuple[Made, ...] = ()
    """What was made for the law, where that was asked for, best first."""
    refused: dict[str, str]
    evidence: tuple[FittedTo, ...]
    warnings: tuple[str, ...]


def curves_of(recorded: Sequence[RecordedCurve]) -> list[NamedCurve]:
    """Return curves that came with a question under their names."""
    return [NamedCurve(each.name, _points(each)) for each in recorded]


def _points(recorded: RecordedCurve) -> Points:
    losses = np.array([np.nan if loss is None else loss for loss in recorded.losses])
    with np.errstate(invalid="ignore"):
        losses[np.abs(losses) >= LARGEST_LOSS] = np.inf
    steps, lrs = (np.array(each, dtype=np.float64) for each in (recorded.steps, recorded.lrs))
    return Points(steps, lrs, losses, recorded.warmup)


def predict(
    curves: Sequence[NamedCurve],
    candidates: dict[str, Candidate],
    reference: str | None,
    tune: Usual | None = None,
) -> Predictions:
    """Return the candidates in the order of their expected final losses, by a law fitted to ``curves``.

    Raises:
        LawNotFitted: The curves carry no fit.
        ValueError: There is no candidate, or ``reference`` is none of them; a curve has no finite loss left.
    """
    return predict_by(*fit_stored(curves), candidates, reference, tune)


def predict_by(
    law: AnyFittedLaw,
    evidence: tuple[FittedTo, ...],
    candidates: dict[str, Candidate],
    reference: str | None,
    tune: Usual | None = None,
) -> Predictions:
    """Return the candidates in the order of their expected final losses, by a law that was fitted before.

    Args:
        law: The law, in steps of the runs.
        evidence: The curves that it was fitted to.
        candidates: Schedules by their names.
        reference: The one that gains are measured against; None: the last in order.
        tune: What schedules are to be made for as well; its candidates are among ``candidates``.

    Raises:
        ValueError: There is no candidate, ``reference`` is none of them, or one never leaves a rate of zero.
    """
    if not candidates or (reference is not None and reference not in candidates):
        raise ValueError(f"give candidates, and a reference among {sorted(candidates)}")
    longest = max((each.steps for each in evidence), default=law.longest)
    beyond = {
        name: f"its {one.schedule.length:,} steps are more than {BEYOND} times the {longest:,} of the longest "
        "fitted run"
        for name, one in candidates.items()
        if longest is not None and one.schedule.length > BEYOND * longest
    }
    kept = {name: one for name, one in candidates.items() if name not in beyond}
    if not kept:
        return Predictions(candidates=(), refused=beyond, evidence=evidence, warnings=law.warnings)
    factor = -(-max(one.schedule.length for one in kept.values()) // MOST_STEPS)
    coarse = law.thinned(factor)
    rates = {name: learning_rates(one.schedule, one.base_lr, factor) for name, one in kept.items()}
    ranking = rank_under(coarse, rates, reference=reference if reference not in beyond else None)
    tuned, not_tuned = _tuned(law, tune, ranking, rates, reference) if tune else ((), {})
    return Predictions(
        candidates=tuple(_placed(ranking)),
        tuned=tuned,
        refused=beyond | dict(ranking.refused) | not_tuned,
        evidence=evidence,
        warnings=ranking.warnings,
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


def _tuned(
    law: AnyFittedLaw,
    tune: Usual,
    ranking: Ranking,
    rates: Mapping[str, FloatArray],
    reference: str | None,
) -> tuple[tuple[Made, ...], dict[str, str]]:
    """Return what was made for the law, in its place among the candidates, and why other things could not be.

    Args:
        law: In steps of the runs.
        tune: What to make schedules for.
        ranking: Of the candidates.
        rates: Of the candidates, as the law of ``ranking`` takes them.
        reference: That gains were to be measured against.
    """
    if law.longest is not None and tune.steps > BEYOND * law.longest:
        why = f"{tune.steps:,} steps are more than {BEYOND} times the {law.longest:,} of the longest fitted run"
        return (), {"tune": why}
    made: dict[str, Tuned] = {}
    refused: dict[str, str] = {}
    for name, make in makers(tune.steps, tune.base_lr, tune.warmup).items():
        if name in rates:
            refused[name] = "a candidate has this name; call that otherwise"
            continue
        try:
            made[name] = make(law)
        except ValueError as error:
            refused[name] = str(error)
    stride = round(ranking.law.stride / law.stride)
    new = {name: learning_rates(one.schedule, tune.base_lr, stride) for name, one in made.items()}
    placed = [one.name for one in ranking.candidates]
    base = reference if reference in placed else next(reversed(placed), None)
    everything = rank_under(ranking.law, {**rates, **new}, reference=base)
    found = [
        Made(
            name=one.name,
            rank=one.rank,
            gain=one.gain,
            parameters=dict(made[one.name].parameters),
            schedule=made[one.name].schedule,
            warnings=made[one.name].warnings[len(law.warnings) :],
        )
        for one in everything.candidates
        if one.name in made
    ]
    outside = {name: why for name, why in everything.refused.items() if name in made}
    return tuple(found), refused | outside
