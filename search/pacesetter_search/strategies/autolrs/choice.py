"""Which rate to probe next, and which one the stage runs at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from pacesetter_search.contract import LogEntry
from pacesetter_search.strategies.autolrs.parameters import AutoLRSParameters
from pacesetter_search.surrogates import Response, TrainingSet, finite, training_set

if TYPE_CHECKING:
    from pacesetter_search.surrogates.gaussian_process import Surrogate

FloatArray = npt.NDArray[np.float64]

GRID = 201
"""Places at which the acquisition and the posterior are evaluated: 1/30 octave apart over a factor of 100."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is known when a rate has to be picked.

    Attributes:
        stage: Index of the stage.
        responses: Of this and recent stages.
        tried: Places that this stage has spent a probe on.
        incumbent: Place of the rate in use.
        low: Lowest place allowed.
        high: Highest place allowed.
        diverged: Lowest place that diverged in this stage; at and above it nothing is tried again.
        seed: Of everything random in the answer.
    """

    stage: int
    responses: Sequence[Response]
    tried: Sequence[float]
    incumbent: float
    low: float
    high: float
    diverged: float | None
    seed: int

    @property
    def top(self) -> float:
        """Highest place worth trying."""
        return self.high if self.diverged is None else min(self.high, self.diverged)


@dataclass(frozen=True, slots=True)
class Answer:
    """A place in the range, why, and what went into the audit trail on the way."""

    x: float
    text: str
    numbers: dict[str, JsonValue]
    log: tuple[LogEntry, ...] = ()


def next_candidate(question: Question, parameters: AutoLRSParameters) -> Answer | None:
    """Return the rate to probe next, or None if no untried one is left."""
    if not question.tried:
        x = min(max(question.incumbent, question.low), question.high)
        return Answer(x, "the rate in use", {})
    if not finite(question.responses, question.stage):
        return _lower(question)
    untried = _untried(question)
    if untried.size == 0:
        return None
    if len({one.stage for one in question.responses}) == 1 and len(question.tried) < 3:
        return _spread_out(question, untried)
    return _most_promising(question, untried, parameters)


def best(question: Question) -> Answer:
    """Return the rate of the stage: the least posterior mean between the finite responses, of which there is one.

    Not the luckiest sample: the smallest of ten noisy forecasts is too good to be true (autolrs.md W3).
    """
    known = finite(question.responses, question.stage)
    if len(known) == 1:
        return Answer(known[0].x, "the only rate with a finite forecast", {})
    _, surrogate, log = _surrogate(question)
    places = [one.x for one in known]
    grid = np.linspace(0.0, 1.0, GRID)
    inside = grid[(grid >= min(places)) & (grid <= min(max(places), question.top))]
    candidates = np.unique(np.concatenate([inside, places]))
    mean, variance = surrogate.posterior(_points(candidates, question.stage))
    index = int(np.argmin(mean))
    lucky = min(known, key=lambda one: one.mean)
    numbers: dict[str, JsonValue] = {
        "posterior_mean": float(mean[index]),
        "posterior_sd": float(np.sqrt(variance[index])),
        "probes": len(known),
        "lowest_forecast": lucky.mean,
        "lowest_forecast_at": lucky.x,
        **surrogate.hyperparameters(),
    }
    return Answer(float(candidates[index]), "the least posterior mean loss", numbers, log)


def _lower(question: Question) -> Answer | None:
    """Everything so far diverged or was not measured: go halfway down, in log scale."""
    x = 0.5 * (question.low + question.top)
    if _taken(np.array([x]), question.tried)[0]:
        return None
    return Answer(x, "halfway below what diverged", {})


def _spread_out(question: Question, untried: FloatArray) -> Answer:
    """The first probes of a job: somewhere in the widest untried stretch, drawn from its middle half."""
    marks = np.sort(np.array([question.low, *question.tried, question.top]))
    widest = int(np.argmax(np.diff(marks)))
    share = np.random.default_rng(question.seed).uniform(0.25, 0.75)
    target = marks[widest] + share * (marks[widest + 1] - marks[widest])
    x = float(untried[np.argmin(np.abs(untried - target))])
    return Answer(x, "the widest untried stretch", {})


def _most_promising(
    question: Question, untried: FloatArray, parameters: AutoLRSParameters
) -> Answer:
    from pacesetter_search.surrogates.acquisition import scores

    data, surrogate, log = _surrogate(question)
    here = data.points[data.points[:, 1] == question.stage]
    values = scores(
        surrogate,
        _points(untried, question.stage),
        here,
        name=parameters.acquisition,
        kappa=parameters.kappa,
        seed=question.seed,
    )
    index = int(np.argmax(values))
    numbers: dict[str, JsonValue] = {
        "acquisition": float(values[index]),
        **surrogate.hyperparameters(),
    }
    return Answer(float(untried[index]), f"highest {parameters.acquisition}", numbers, log)


def _surrogate(question: Question) -> tuple[TrainingSet, "Surrogate", tuple[LogEntry, ...]]:
    # Imported here: torch and BoTorch take seconds and hundreds of megabytes, and only a decision needs them.
    from pacesetter_search.surrogates.gaussian_process import fit

    data = training_set(question.responses)
    surrogate = fit(data, seed=question.seed)
    log: tuple[LogEntry, ...] = ()
    if surrogate.status == "failed":
        text = f"the surrogate could not be fitted and keeps its prior: {surrogate.detail}"
        log = (LogEntry("surrogate_not_fitted", text, {"points": int(data.losses.size)}),)
    return data, surrogate, log


def _untried(question: Question) -> FloatArray:
    """Return the grid places that may be tried, (n,)."""
    grid = np.linspace(0.0, 1.0, GRID)
    allowed = (grid >= question.low) & (grid <= question.high)
    if question.diverged is not None:
        allowed &= grid < question.diverged
    places = grid[allowed]
    return places[~_taken(places, question.tried)]


def _taken(places: FloatArray, tried: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Return which places are within half a grid cell of a tried one: the same batches would show the same again."""
    distance = np.abs(places[:, None] - np.array(tried)[None, :])
    taken: npt.NDArray[np.bool_] = np.any(distance <= 0.5 / (GRID - 1), axis=1)
    return taken


def _points(places: FloatArray, stage: int) -> FloatArray:
    return np.column_stack([places, np.full(places.size, float(stage))])
