"""``fidelity``: narrow or short proxies, whichever narrows the target's best peak most per FLOP."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pacesetter.protocol import ExperimentSpec, Range, TrialPlan, Value
from pacesetter.schedules import Tier
from pydantic import Field

from pacesetter_search.contract import Parameters
from pacesetter_search.studies.believing import Family, parametrization_of
from pacesetter_search.studies.cells import Cell, Names, Place, number
from pacesetter_search.studies.choosing import cells_of, exact
from pacesetter_search.studies.contract import Finished, Progress, StudyStrategy
from pacesetter_search.studies.costs import Costs
from pacesetter_search.studies.optima import Shape
from pacesetter_search.studies.result import Swept, lr_range, sweep
from pacesetter_search.studies.worth import Known, Offer, Outlook, among

LOCATED = 0.75
"""Octaves of sd from which on a cell's best rate is located: before, nothing is weighed against anything."""

LEAST_GAIN = 0.01
"""Share of the target's variance that a choice has to take away for its FLOPs to be spent."""

PATIENCE = 2
"""Times the first sweep that the cell which locates the best rate is given before the next larger one is asked."""

MOST_LOST = 3
"""Runs of a cell that may fail beyond those that were heard before it is given up; one that diverged was heard."""


class FidelityParameters(Parameters):
    """Parameters of ``fidelity``."""

    target: Place
    """Where the best peak is wanted: everything that the space has besides the learning rate."""
    names: Names = Names()
    share: Annotated[float, Field(gt=0.0, le=10.0)] = 0.15
    """Of the FLOPs of one run of the target that the whole study may spend."""
    first: Annotated[int, Field(ge=3, le=50)] = 5
    """Rates over the whole range that the cheapest cell is swept with first."""
    target_flops: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    """Of one run of the target; None: as the trials' costs make it, with the width's power known to a fifth."""
    enough: Annotated[float, Field(ge=0.0)] = 0.1
    """Octaves of sd of the target's best peak at which the study ends."""


@dataclass(frozen=True)
class Stand:
    """Where a study stands.

    Attributes:
        known: Of every cell that may be run.
        lost: Cells that fail too often, or diverge wherever they were swept.
        swept: What trials say.
        costs: What they take.
        target: Where the best peak is wanted.
        budget: FLOPs of the whole study.
        spent: FLOPs of everything that was planned.
    """

    known: dict[Cell, Known]
    lost: frozenset[Cell]
    swept: Swept
    costs: Costs
    target: Cell
    budget: float
    spent: float

    def affordable(self, runs: int, cell: Cell) -> bool:
        """Whether so many runs of a cell are within the budget."""
        return self.spent + runs * self.costs.flops(cell) <= self.budget

    def with_runs(self, cell: Cell, rates: Sequence[float]) -> "Stand":
        """Return where it stands once further runs are planned."""
        one = self.known[cell]
        known = {**self.known, cell: replace(one, planned=(*one.planned, *rates))}
        return replace(self, known=known, spent=self.spent + len(rates) * self.costs.flops(cell))


class Fidelity(StudyStrategy):
    """Chooses width, horizon and learning rate of each trial by what it tells of the target's best peak per FLOP."""

    name: ClassVar[str] = "fidelity"
    tier: ClassVar[Tier] = "experimental"
    needs: ClassVar[str] = "a target, and width or horizon in the space"
    slow: ClassVar[bool] = True
    parameters_type: ClassVar[type[Parameters]] = FidelityParameters

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        assert isinstance(parameters, FidelityParameters)
        self._wanted = parameters

    def obstacles(self, spec: ExperimentSpec) -> Iterator[str]:
        """Yield what the space lacks or has too much of, and a target that is not told or out of reach."""
        names = self._wanted.names
        try:
            lr_range(spec, names)
            parametrization_of(spec)
            cells = cells_of(spec, names)
            there = self._wanted.target.cell(spec, names)
        except ValueError as error:
            yield str(error)
            return
        if len(cells) < 2:
            yield (
                "the space leaves one cell, so there is nothing to choose between; give width or steps several values, "
                "or choose the strategy gp"
            )
        first, costs = self._wanted.first, Costs((), names)
        cheapest = min(costs.share(cell, there) for cell in cells)
        if first * cheapest > self._wanted.share:
            yield (
                f"{first} runs of the cheapest cell take {first * cheapest:.2g} of a run of the target, and `share` is "
                f"{self._wanted.share:g}; give narrower or shorter cells, fewer rates in `first`, or a larger `share`"
            )

    def propose(self, progress: Progress, most: int) -> Sequence[TrialPlan]:
        """Return trials one by one, each given those before it."""
        stand, plans = self._stand(progress), list[TrialPlan]()
        while len(plans) < most:
            chosen = self._next(progress, stand)
            if not chosen:
                break
            plans.extend(plan for plan, _, _ in chosen)
            for _, cell, rate in chosen:
                stand = stand.with_runs(cell, (rate,))
        # The rest of a pair that does not fit is offered again, alone.
        return plans[:most]

    def _next(self, progress: Progress, stand: Stand) -> list[tuple[TrialPlan, Cell, float]]:
        located = any(
            one.found is not None and one.found[1] <= LOCATED for one in stand.known.values()
        )
        return self._weighed(progress, stand) if located else self._locating(progress, stand)

    def _locating(self, progress: Progress, stand: Stand) -> list[tuple[TrialPlan, Cell, float]]:
        """Return the next run of the cheapest cell that still may show where best rates lie at all."""
        lr, first = lr_range(progress.spec, self._wanted.names), self._wanted.first
        for cell in sorted(stand.known, key=lambda each: (stand.costs.flops(each), each)):
            one = stand.known[cell]
            if cell in stand.lost or len(one.tried) >= PATIENCE * first:
                continue
            if not stand.affordable(1, cell):
                return []
            rate = _unswept(one, lr, first)
            if rate is None and one.planned:
                return []
            if rate is None:
                offer = self._outlook(progress, stand).offer(cell, stand.costs.flops(cell))
                if not offer.rates:
                    continue
                rate = offer.rates[0]
            numbers = {"first": first, "share": stand.costs.share(cell, stand.target)}
            words = cell.words(self._wanted.names, progress.spec.space)
            why = f"the cheapest cell ({words}) shows first where best rates lie at all"
            return [(self._plan(progress, cell, rate, why, numbers), cell, rate)]
        return []

    def _weighed(self, progress: Progress, stand: Stand) -> list[tuple[TrialPlan, Cell, float]]:
        """Return the runs that take most of the target's variance away per FLOP, within the budget."""
        outlook = self._outlook(progress, stand)
        if outlook.sd <= self._wanted.enough:
            return []
        offers = [
            outlook.offer(cell, stand.costs.flops(cell))
            for cell in stand.known
            if cell not in stand.lost and stand.affordable(2 if stand.known[cell].new else 1, cell)
        ]
        offers.sort(key=lambda offer: (-offer.gain, offer.cell))
        worthy = [one for one in offers if outlook.sd**2 - one.sd**2 >= LEAST_GAIN * outlook.sd**2]
        if not worthy:
            return []
        best = worthy[0]
        why, numbers = self._reason(progress, stand, outlook, worthy)
        return [
            (self._plan(progress, best.cell, rate, why, numbers), best.cell, rate)
            for rate in best.rates
        ]

    def _reason(
        self,
        progress: Progress,
        stand: Stand,
        outlook: Outlook,
        offers: Sequence[Offer],
    ) -> tuple[str, dict[str, float | str]]:
        best, target = offers[0], stand.costs.flops(stand.target)
        words = {
            one.cell: one.cell.words(self._wanted.names, progress.spec.space) for one in offers
        }
        numbers: dict[str, float | str] = {
            "sd_before": outlook.sd,
            "sd_after": best.sd,
            "flops": best.flops,
            "share": best.flops / target,
            "spent_share": stand.spent / target,
            "gain": best.gain * target,
        }
        text = (
            f"{len(best.rates)} more at {words[best.cell]} take the target's best peak from +-{outlook.sd:.3f} to "
            f"+-{best.sd:.3f} octaves for {best.flops / target:.2%} of one of its runs"
        )
        if len(offers) > 1:
            other = offers[1]
            numbers |= {"next": words[other.cell], "next_gain": other.gain * target}
            text += f", {best.gain / other.gain:.1f} times as much per FLOP as {words[other.cell]}"
        return text, numbers

    def _plan(
        self,
        progress: Progress,
        cell: Cell,
        rate: float,
        why: str,
        numbers: Mapping[str, float | str],
    ) -> TrialPlan:
        spec, names = progress.spec, self._wanted.names
        lr = lr_range(spec, names)
        values: dict[str, Value] = {
            called: exact(cell, each, called, spec)
            for each, called in names.of_cells().items()
            if called in spec.space
        }
        values[names.lr] = min(max(math.exp2(rate), lr.low), lr.high)
        return TrialPlan(parameters=values, why=why, numbers={**numbers})

    def _outlook(self, progress: Progress, stand: Stand) -> Outlook:
        spec = progress.spec
        lr = lr_range(spec, self._wanted.names)
        return Outlook(
            Family.of(spec, lr, stand.swept.unit),
            stand.target,
            stand.known,
            stand.swept.shape or Shape.usual(spec.regime),
            math.log2(lr.low),
            math.log2(lr.high),
        )

    def _stand(self, progress: Progress) -> Stand:
        names, spec = self._wanted.names, progress.spec
        swept = sweep(spec, progress.finished, names)
        costs, target = Costs(progress.finished, names), self._wanted.target.cell(spec, names)
        family = Family.of(spec, lr_range(spec, names), swept.unit)
        told = family.told(swept.densities, target)
        known = {cell: Known(found=told.get(cell)) for cell in cells_of(spec, names)}
        spent = 0.0
        for one in progress.finished:
            cell, rate = self._where(progress, one.parameters)
            spent += one.cost.flops if costs.measured else costs.flops(cell)
            if cell in known:
                known[cell] = _with(known[cell], one, rate)
        hopeless = frozenset(
            cell for cell, one in known.items() if _hopeless(one, self._wanted.first)
        )
        share = self._wanted.share * (self._wanted.target_flops or costs.flops(target))
        stand = Stand(known, hopeless, swept, costs, target, share, spent)
        for plan in progress.pending:
            cell, rate = self._where(progress, plan.parameters)
            stand = stand.with_runs(cell, (rate,))
        return stand

    def _where(self, progress: Progress, parameters: dict[str, Value]) -> tuple[Cell, float]:
        names, whole = self._wanted.names, progress.whole(parameters)
        return Cell.of(whole, names), math.log2(number(whole[names.lr], names.lr))


def _with(one: Known, trial: Finished, rate: float) -> Known:
    """Return what is known of a cell with one more trial that ended."""
    if trial.status == "failed":
        return replace(one, failed=(*one.failed, rate))
    if trial.score is None:
        return replace(one, diverged=(*one.diverged, rate))
    return replace(one, ended=(*one.ended, rate))


def _hopeless(one: Known, first: int) -> bool:
    """Return whether a cell fails too often, or a whole sweep of it diverged."""
    heard = len(one.ended) + len(one.diverged)
    return len(one.failed) >= MOST_LOST + heard or (not one.ended and heard >= first)


def _unswept(one: Known, lr: Range, first: int) -> float | None:
    """Return the lowest rate of the first sweep that was not tried; None once it was swept."""
    low, high = math.log2(lr.low), math.log2(lr.high)
    planned = (low + (high - low) * (place + 0.5) / first for place in range(first))
    return next((rate for rate in planned if not among(rate, one.tried)), None)
