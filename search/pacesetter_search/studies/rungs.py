"""``rungs``: complete short schedules at rising horizons, over fewer and fewer rates.

Stopping a decaying schedule early favours low rates: a high one looks worse until its decay. So every trial here is a
whole schedule, and how the best rate moves as schedules get longer is modelled, not ignored.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pacesetter.protocol import ExperimentSpec, TrialPlan, Value
from pacesetter.schedules import Tier
from pydantic import Field, JsonValue

from pacesetter_search.contract import Parameters
from pacesetter_search.studies.believing import Family, parametrization_of
from pacesetter_search.studies.cells import Cell, Names
from pacesetter_search.studies.choosing import cells_of, exact
from pacesetter_search.studies.contract import Finished, Progress, StudyStrategy
from pacesetter_search.studies.optima import Shape, edge_of
from pacesetter_search.studies.result import lr_range, runs_of, sweep
from pacesetter_search.studies.worth import OFFSETS, among, information

COVERED = 1.3
"""Standard deviations on either side of the expected best rate that a rung spans: 80 %."""

WIDEST = 2.0
"""Octaves on either side at the most."""

MOST_ADDED = 3
"""Rates added to a rung whose best one is at its end."""


class RungsParameters(Parameters):
    """Parameters of ``rungs``."""

    names: Names = Names()
    first: Annotated[int, Field(ge=3, le=50)] = 7
    """Rates over the whole range at the shortest horizon."""
    each: Annotated[int, Field(ge=2, le=50)] = 3
    """Rates at every longer one."""


class Rungs(StudyStrategy):
    """Runs whole schedules at rising horizons, each over rates around where the shorter ones put the best one."""

    name: ClassVar[str] = "rungs"
    tier: ClassVar[Tier] = "experimental"
    needs: ClassVar[str] = "learning rate and steps in the space, nothing else"
    slow: ClassVar[bool] = True
    parameters_type: ClassVar[type[Parameters]] = RungsParameters

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        self._wanted = parameters if isinstance(parameters, RungsParameters) else RungsParameters()

    def obstacles(self, spec: ExperimentSpec) -> Iterator[str]:
        """Yield what the space has too much or too little of."""
        names = self._wanted.names
        try:
            lr_range(spec, names)
            parametrization_of(spec)
            cells = cells_of(spec, names)
        except ValueError as error:
            yield str(error)
            return
        others = sorted(spec.space.keys() - {names.lr, names.steps})
        if others:
            yield (
                f"{', '.join(others)} is in the space, and rungs differ in learning rate and steps alone; fix it, or "
                "choose the strategy fidelity"
            )
        if names.steps not in spec.space or len(cells) < 2:
            yield (
                f"the space has no two values of {names.steps!r}, so there is no longer rung; give it several, or "
                "choose the strategy gp"
            )
            return
        trials = self._wanted.first + (len(cells) - 1) * self._wanted.each
        if trials > spec.max_trials:
            yield (
                f"{len(cells)} rungs take {trials} trials or more, and `max_trials` is {spec.max_trials}; raise that, "
                "or give fewer horizons, or fewer rates in `first` and `each`"
            )

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        """Return what is left of the running rung; the next one begins when all of it has ended."""
        names, ended = self._wanted.names, list[Finished]()
        for place, cell in enumerate(cells_of(progress.spec, names)):
            here = [one for one in progress.finished if Cell.of(one.parameters, names) == cell]
            running = sum(
                Cell.of(progress.whole(one.parameters), names) == cell for one in progress.pending
            )
            rates, why, numbers = self._rung(progress, ended, cell)
            left = rates[len(here) + running :]
            if not left and not running:
                left = self._added(progress, here, rates)
                why, numbers = "the best rate was at the end of those of this rung", {}
            if left or running:
                of = {"rung": place + 1, "steps": cell.steps, **numbers}
                return [self._plan(progress, cell, rate, why, of) for rate in left[:most]]
            ended.extend(here)
        return ()

    def _rung(
        self, progress: Progress, ended: Sequence[Finished], cell: Cell
    ) -> tuple[list[float], str, dict[str, JsonValue]]:
        """Return the rates of a rung by what shorter ones showed, log2 of them, with the reason."""
        lr = lr_range(progress.spec, self._wanted.names)
        low, high = math.log2(lr.low), math.log2(lr.high)
        swept = sweep(progress.spec, ended, self._wanted.names)
        if not swept.densities:
            evenly = _evenly(low, high, self._wanted.first)
            return evenly, "the whole range at the shortest horizon", {}
        family = Family.of(progress.spec, lr, swept.unit)
        model = family.model(family.told(swept.densities, cell), cell)
        (mean,), (sd,) = model.expect([family.place(cell)])
        half = _half(
            float(mean),
            float(sd),
            self._wanted.each,
            swept.shape or Shape.usual(progress.spec.regime),
        )
        half = min(half, 0.5 * (high - low))
        middle = min(max(float(mean), low + half), high - half)
        rates = _evenly(middle - half, middle + half, self._wanted.each)
        drift, drift_sd = model.slopes()["tokens"]
        why = (
            f"shorter rungs put the best rate at {self._wanted.names.steps} {cell.steps:g} at "
            f"{math.exp2(float(mean)):.3g}, +-{float(sd):.2f} octaves"
        )
        numbers: dict[str, JsonValue] = {
            "expected_log2_lr": float(mean),
            "expected_sd": float(sd),
            "drift": drift,
            "drift_sd": drift_sd,
        }
        return rates, why, numbers

    def _added(
        self, progress: Progress, here: Sequence[Finished], rates: Sequence[float]
    ) -> list[float]:
        """Return a rate beyond a rung that has ended where its best one is at the end; none where it need not.

        A rate that failed is one of the rung as well, and is not run again.
        """
        lr = lr_range(progress.spec, self._wanted.names)
        done = [one for one in here if one.status == "done"]
        if not done or len(here) >= len(rates) + MOST_ADDED:
            return []
        runs = runs_of(done, self._wanted.names)
        edge, apart = edge_of(runs), rates[1] - rates[0]
        tried = [run.log2_lr for run in runs_of(here, self._wanted.names)]
        beyond = min(tried) - apart if edge in ("low", "none_ended") else max(tried) + apart
        inside = math.log2(lr.low) <= beyond <= math.log2(lr.high)
        return [beyond] if edge is not None and inside and not among(beyond, tried) else []

    def _plan(
        self, progress: Progress, cell: Cell, rate: float, why: str, numbers: dict[str, JsonValue]
    ) -> TrialPlan:
        names, lr = self._wanted.names, lr_range(progress.spec, self._wanted.names)
        parameters: dict[str, Value] = {
            names.steps: exact(cell, "steps", names.steps, progress.spec),
            names.lr: min(max(math.exp2(rate), lr.low), lr.high),
        }
        return TrialPlan(parameters=parameters, why=why, numbers=numbers)


def _half(mean: float, sd: float, count: int, shape: Shape) -> float:
    """Return how far on either side a rung reaches: as far as its runs tell most, and over what is likely.

    Rates that are too close differ by less than their noise, those that are far apart by what the landscape gets wrong.
    """

    def told(half: float) -> float:
        return information(_evenly(mean - half, mean + half, count), mean, sd, shape)

    return max(float(max(OFFSETS, key=told)), min(COVERED * sd, WIDEST))


def _evenly(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * index / (count - 1) for index in range(count)]
