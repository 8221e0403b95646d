"""What a study teaches: the best rate of each of its cells, and of a target that none of its trials were."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from pacesetter.protocol import ExperimentSpec, Range

from pacesetter_search.recommendation.peak import WORDS
from pacesetter_search.studies.believing import Family
from pacesetter_search.studies.cells import Cell, Names, Place, by_cell, number
from pacesetter_search.studies.choosing import MOST_CELLS
from pacesetter_search.studies.contract import Finished, ended_in
from pacesetter_search.studies.costs import Costs
from pacesetter_search.studies.optima import Density, Found, Run, Shape, find
from pacesetter_search.transfer.peak import Z50, Z90, PeakModel, PeakPrediction
from pacesetter_search.transfer.sweeps import cost_of_an_octave

SAYS_NOTHING = 1.5
"""Octaves of sd from which on a cell by itself does not say where its best rate lies."""

FAR = 2.0
"""Octaves outside of the cells in tokens or width from which on a warning says so."""


@dataclass(frozen=True, slots=True)
class CellOptimum:
    """The best rate of a cell.

    Attributes:
        cell: Where.
        tokens: Of one of its trials.
        trials: With a result, diverged ones among them.
        diverged: How many of them did.
        found: log2 of the best rate with its sd; None: all of its trials diverged, or one alone ended.
        best_lr: Of the trial that ended best.
        best_loss: What it ended with.
    """

    cell: Cell
    tokens: float
    trials: int
    diverged: int
    found: Found | None
    best_lr: float | None
    best_loss: float | None

    @property
    def lr(self) -> float | None:
        """The best rate."""
        return None if self.found is None else math.exp2(self.found.mean)


@dataclass(frozen=True, slots=True)
class TransferStudy:
    """The answer of a study.

    Attributes:
        target: Where the best peak was asked for.
        cells: In order of width, depth, steps and batch.
        shape: What cells share.
        model: Of best peaks over cells.
        peak: log2 of the target's best peak, with its sd and what that comes from.
        dominant: What widens the interval most, in words.
        relative_loss_of_missing: Expected, because the best peak is known only so far.
        flops: Of all trials; 0 where the proxy counts none.
        share: That over one run of the target.
        warnings: What has to be minded.
    """

    target: Cell
    cells: tuple[CellOptimum, ...]
    shape: Shape | None
    model: PeakModel
    peak: PeakPrediction
    dominant: str
    relative_loss_of_missing: float
    flops: float
    share: float | None
    warnings: tuple[str, ...]

    @property
    def lr(self) -> float:
        """The target's best peak."""
        return math.exp2(self.peak.mean)

    @property
    def interval_50(self) -> tuple[float, float]:
        """Rates between which it lies with 50 %."""
        return self.peak.interval(Z50)

    @property
    def interval_90(self) -> tuple[float, float]:
        """Rates between which it lies with 90 %."""
        return self.peak.interval(Z90)

    @property
    def slopes(self) -> dict[str, tuple[float, float]]:
        """Mean and sd of how the best peak follows tokens, batch, width and depth, in octaves an octave."""
        found = self.model.slopes()
        return {name: found[name] for name in ("tokens", "batch", "width", "depth")}


@dataclass(frozen=True, slots=True)
class Swept:
    """Trials by cell, as far as they say where best rates lie.

    Attributes:
        optima: Of every cell with a trial that has a result.
        densities: Of the same cells, where a run ended.
        shape: None where no cell has a run that ended.
        unit: Tokens of one unit of batch in one step.
    """

    optima: tuple[CellOptimum, ...]
    densities: dict[Cell, Density]
    shape: Shape | None
    unit: float


def transfer_study(
    spec: ExperimentSpec,
    finished: Sequence[Finished],
    target: Place | None = None,
    names: Names | None = None,
) -> TransferStudy:
    """Return what a study's trials say of the best peak at a target.

    Args:
        spec: With a range of learning rates in its space.
        finished: In any order; failed trials are not looked at.
        target: In the proxy's own parameters; None: the widest, deepest and longest of what the trials have.
        names: What the proxy calls learning rate, steps, width, depth and batch; None: that.

    Raises:
        ValueError: There is no range of learning rates, a parameter that tells cells apart is no number above 0, the
            target is not among what the trials have, or trials differ in what is neither, or are of too many cells.
    """
    names = names or Names()
    lr = lr_range(spec, names)
    ended = ended_in(spec, finished)
    swept = sweep(spec, ended, names)
    costs = Costs(ended, names)
    here = at(spec, target, swept, names)
    family = Family.of(spec, lr, swept.unit)
    model = family.model(family.told(swept.densities, here), here)
    peak = model.predict(family.place(here))
    flops = math.fsum(one.cost.flops for one in finished)
    return TransferStudy(
        target=here,
        cells=swept.optima,
        shape=swept.shape,
        model=model,
        peak=peak,
        dominant=dominant(peak),
        relative_loss_of_missing=_missing(swept.shape, peak),
        flops=flops,
        share=flops / costs.flops(here) if costs.measured else None,
        warnings=(*_warnings(spec, swept, here, names), *_outside(peak, ended, names)),
    )


def lr_range(spec: ExperimentSpec, names: Names) -> Range:
    """Return the range of learning rates of an experiment.

    Raises:
        ValueError: Its space has none in octaves.
    """
    lr = spec.space.get(names.lr)
    if not isinstance(lr, Range) or lr.scale != "log2" or lr.integer:
        raise ValueError(
            f"the space has no range {names.lr!r} in octaves; search the learning rate as "
            f'{{"{names.lr}": {{"kind": "range", "low": 0.001, "high": 0.1}}}}, or name it in `names`'
        )
    return lr


def sweep(spec: ExperimentSpec, finished: Sequence[Finished], names: Names) -> Swept:
    """Return the best rate of each cell.

    Raises:
        ValueError: Trials differ in a parameter that is neither the learning rate nor tells cells apart, in one that
            does and is no number above 0, or are of too many cells.
    """
    _comparable(spec, finished, names)
    if any(names.lr not in one.parameters for one in finished):
        raise ValueError(
            f"trials have no {names.lr!r}: each was a search of its own, whose schedule is in its result"
        )
    cells = by_cell(finished, names)
    if len(cells) > MOST_CELLS:
        raise ValueError(
            f"the trials are of {len(cells)} cells, and no more than {MOST_CELLS} are weighed against each other; give "
            "those of fewer widths, depths, horizons or batches"
        )
    runs = {cell: runs_of(trials, names) for cell, trials in cells.items()}
    told = [cell for cell, each in runs.items() if any(run.loss is not None for run in each)]
    found, shape = find([runs[cell] for cell in told], spec.regime) if told else ([], None)
    best = {cell: one for cell, (one, _) in zip(told, found, strict=True)}
    unit = _unit(cells)
    optima = tuple(
        _optimum(cell, trials, best.get(cell), names, unit) for cell, trials in cells.items()
    )
    densities = {cell: density for cell, (_, density) in zip(told, found, strict=True)}
    return Swept(optima, densities, shape, unit)


def _comparable(spec: ExperimentSpec, finished: Sequence[Finished], names: Names) -> None:
    """Raise ValueError if trials with a result differ in more than learning rate and cell: they share no best rate."""
    others = sorted(spec.space.keys() - {names.lr, *names.of_cells().values()})
    done = [one.parameters for one in finished if one.status == "done"]
    values = {
        name: {(isinstance(each[name], bool), each[name]) for each in done if name in each}
        for name in others
    }
    differing = [name for name in others if len(values[name]) > 1]
    if differing:
        raise ValueError(
            f"trials of a cell differ in {', '.join(differing)} as well, so they share no best rate; give those of one "
            "value each, or search with it in `fixed`"
        )


def runs_of(trials: Sequence[Finished], names: Names) -> list[Run]:
    """Return trials of a cell as runs."""
    return [Run(math.log2(number(one.parameters[names.lr], names.lr)), one.score) for one in trials]


def at(spec: ExperimentSpec, target: Place | None, swept: Swept, names: Names) -> Cell:
    """Return the cell that is asked for."""
    if target is not None:
        return target.cell(spec, names)
    if not swept.optima:
        raise ValueError("no trial has ended and no target is given; give one, or wait for a trial")
    cells = [one.cell for one in swept.optima]
    return Cell(*(max(getattr(cell, each.name) for cell in cells) for each in fields(Cell)))


def _optimum(
    cell: Cell, trials: Sequence[Finished], found: Found | None, names: Names, unit: float
) -> CellOptimum:
    ended = [one for one in trials if one.score is not None]
    best = min(ended, key=lambda one: (one.score, one.number), default=None)
    return CellOptimum(
        cell=cell,
        tokens=cell.steps * cell.batch * unit,
        trials=len(trials),
        diverged=len(trials) - len(ended),
        found=found,
        best_lr=None if best is None else number(best.parameters[names.lr], names.lr),
        best_loss=None if best is None else best.score,
    )


def _unit(cells: dict[Cell, list[Finished]]) -> float:
    """Return the tokens of one unit of batch in one step, as trials count them; 1 where they do not."""
    for cell, trials in cells.items():
        for one in trials:
            if one.score is not None and one.cost.tokens > 0.0 and one.cost.steps > 0:
                return max(one.cost.tokens / (one.cost.steps * cell.batch), 1e-9)
    return 1.0


def dominant(peak: PeakPrediction) -> str:
    """Return in words what widens the interval most."""
    name, variance = next(iter(peak.terms.items()))
    words = {**WORDS, "anchor": "how well the cells themselves are known"}[name]
    return f"{words}: +-{math.sqrt(variance):.2f} octaves of +-{peak.sd:.2f}"


def _missing(shape: Shape | None, peak: PeakPrediction) -> float:
    if shape is None:
        return cost_of_an_octave(math.inf) * peak.sd**2
    return math.expm1(0.5 * shape.curvature * peak.sd**2)


def _outside(peak: PeakPrediction, finished: Sequence[Finished], names: Names) -> Iterator[str]:
    rates = [number(one.parameters[names.lr], names.lr) for one in finished if one.status == "done"]
    if not rates or min(rates) <= math.exp2(peak.mean) <= max(rates):
        return
    yield (
        f"the answer, {math.exp2(peak.mean):.3g}, lies outside of the rates that were run, {min(rates):.3g} to "
        f"{max(rates):.3g}: believe the interval, or run rates around it"
    )


def _warnings(spec: ExperimentSpec, swept: Swept, target: Cell, names: Names) -> Iterator[str]:
    speaking = [
        one for one in swept.optima if one.found is not None and one.found.sd <= SAYS_NOTHING
    ]
    if not speaking:
        yield "no cell says where its best rate lies: the answer is what was believed beforehand; run more rates"
        return
    if len(speaking) == 1 and speaking[0].cell != target:
        yield (
            "one cell alone says where its best rate lies, so how that moves is what published slopes say; add a cell "
            "of another width or horizon"
        )
    for one in speaking:
        assert one.found is not None
        if one.found.edge is not None:
            side = "below" if one.found.edge == "low" else "above"
            yield (
                f"at {one.cell.words(names, spec.space)} the best of {one.trials} rates is not bounded on both sides; "
                f"add one {side} {one.best_lr:.3g}"
            )
    for name, called in names.of_cells().items():
        values = [getattr(one.cell, name) for one in speaking]
        outside = math.log2(getattr(target, name) / max(values))
        if outside > FAR:
            yield (
                f"the target's {called} lies {outside:.1f} octaves above that of all cells: believe the interval, not "
                "the point"
            )
