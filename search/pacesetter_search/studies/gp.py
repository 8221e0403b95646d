"""``gp``: a Gaussian process of the loss over the space, and the points that promise to improve on the best one."""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pacesetter.protocol import Choice, ExperimentSpec, Parameter, TrialPlan, Value
from pacesetter.schedules import Tier
from pydantic import Field

from pacesetter_search.contract import Parameters
from pacesetter_search.studies.contract import Finished, Progress, StudyStrategy
from pacesetter_search.studies.random_search import covering
from pacesetter_search.studies.space import FloatArray, Key, Space, place_of, same
from pacesetter_search.surrogates import Response, training_set

MOST_TRIALS, MOST_COLUMNS = 1_000, 100

CANDIDATES = 512
"""Points of the space that are weighed against each other, and as many around the best of those that ended."""

NEARBY = (0.2, 0.05)
"""Share of each range, one standard deviation, by which half of the candidates lie around the best trials."""

BEST = 3
"""Trials that they lie around."""


class GPParameters(Parameters):
    """Parameters of ``gp``."""

    initial: Annotated[int, Field(ge=2, le=1_000)] | None = None
    """Points that cover the space before the process is asked; None: two more than twice its dimensions."""


class GaussianProcessSearch(StudyStrategy):
    """Models the loss over the whole space and tries what promises most, pending trials taken into account."""

    name: ClassVar[str] = "gp"
    tier: ClassVar[Tier] = "experimental"
    slow: ClassVar[bool] = True
    parameters_type: ClassVar[type[Parameters]] = GPParameters

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._wanted = parameters if isinstance(parameters, GPParameters) else GPParameters()

    def obstacles(self, spec: ExperimentSpec) -> Iterator[str]:
        """Yield that the process would take minutes for a plan."""
        if spec.max_trials > MOST_TRIALS:
            yield (
                f"`max_trials` is {spec.max_trials}, and a Gaussian process of more than {MOST_TRIALS} trials takes "
                "longer than a trial; lower it, or choose the strategy random"
            )
        space = Space.of(spec.space)
        columns = sum(
            len(each.values) if isinstance(each, Choice) else 1 for _, each in space.parameters
        )
        if columns > MOST_COLUMNS:
            yield (
                f"ranges and values of choices make {columns} dimensions, and a Gaussian process says nothing beyond "
                f"{MOST_COLUMNS}; fix some, or choose the strategy random"
            )

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        """Return covering points first; then, one by one, what promises most given all before it."""
        space = progress.space
        initial = self._wanted.initial or 2 * len(space.names) + 2
        begun = covering(space, initial, progress.seed)
        if progress.planned < len(begun) or not _informed(progress):
            points = covering(space, progress.planned + most, progress.seed)
            return [
                TrialPlan(parameters=point, why="a point of the cover that the model starts from")
                for point in points[progress.planned :]
            ]
        return self._promising(progress, most)

    def _promising(self, progress: Progress, most: int) -> list[TrialPlan]:
        # BoTorch takes seconds to load, and only the planning process needs it.
        from pacesetter_search.studies.improvement import Improvement

        space, trials = progress.space, progress.done
        data = np.array([encoded(space, one.parameters) for one in trials])
        losses = training_set([_response(one) for one in trials]).losses
        pending = [encoded(space, one.parameters) for one in progress.pending]
        improvement = Improvement(data, losses, seed=progress.seed)
        points, tried, plans = _candidates(progress), set(progress.tried), list[TrialPlan]()
        while len(plans) < most:
            points = [point for point in points if space.key(point) not in tried]
            if not points:
                break
            rows = np.array([encoded(space, point) for point in points])
            values = improvement.values(rows, np.array(pending).reshape(-1, data.shape[1]))
            best = int(np.argmax(values))
            mean, sd = improvement.expected(rows[best])
            why = (
                f"the model of {len(trials)} trials expects it {abs(mean):.2f} spreads "
                f"{'below' if mean < 0.0 else 'above'} their median, +-{sd:.2f}"
            )
            numbers = {"mean": mean, "sd": sd, "log_improvement": float(values[best])}
            plans.append(TrialPlan(parameters=points[best], why=why, numbers={**numbers}))
            pending.append(rows[best])
            tried.add(space.key(points[best]))
        return plans


def encoded(space: Space, values: dict[str, Value]) -> FloatArray:
    """Return a point as the model sees it: ranges as places in [0, 1] on their scale, choices one-hot.

    One-hot columns are divided by the root of 2, so that two values of a choice are as far apart as the ends of a
    range. Whole numbers are where they are after rounding: the model never sees a point that cannot be run.
    """
    columns: list[float] = []
    for name, parameter in space.parameters:
        columns.extend(_columns(parameter, values[name]))
    return np.array(columns, dtype=np.float64)


def _columns(parameter: Parameter, value: Value) -> list[float]:
    if isinstance(parameter, Choice):
        return [2.0**-0.5 if same(each, value) else 0.0 for each in parameter.values]
    assert not isinstance(value, str)
    return [place_of(parameter, float(value))]


def _response(one: Finished) -> Response:
    """Return a trial for standardising: a diverged one stands a spread above the worst that ended, and no further."""
    if one.score is None:
        return Response(0, 0.0, status="diverged")
    return Response(0, 0.0, one.score)


def _informed(progress: Progress) -> bool:
    """Whether two trials ended: before that no loss is better than another."""
    return sum(one.score is not None for one in progress.finished) >= 2


def _candidates(progress: Progress) -> list[dict[str, Value]]:
    """Return different points: half of them cover the space, half lie around the best trials."""
    space, generator = progress.space, progress.generator()
    points = covering(space, CANDIDATES, int(generator.integers(2**32)))
    scored = [(one.score, one.number, one) for one in progress.finished if one.score is not None]
    best = [one for _, _, one in sorted(scored, key=lambda each: each[:2])[:BEST]]
    for index in range(CANDIDATES):
        around = _places(space, best[index % len(best)].parameters)
        sd = NEARBY[index % len(NEARBY)]
        moved = np.clip(around + sd * generator.standard_normal(around.size), 0.0, 1.0)
        points.append(space.point(moved))
    found: dict[Key, dict[str, Value]] = {}
    for point in points:
        found.setdefault(space.key(point), point)
    return list(found.values())


def _places(space: Space, values: dict[str, Value]) -> FloatArray:
    """Return the places of a point in [0, 1], one a name; of a choice the middle of its part."""
    places = []
    for name, parameter in space.parameters:
        value = values[name]
        if isinstance(parameter, Choice):
            index = next(place for place, each in enumerate(parameter.values) if same(each, value))
            places.append((index + 0.5) / len(parameter.values))
        else:
            assert not isinstance(value, str)
            places.append(place_of(parameter, float(value)))
    return np.array(places, dtype=np.float64)
