"""What a study believes of best learning rates across its cells: the Bayesian model of peaks, with a study's priors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pacesetter.protocol import ExperimentSpec, Parametrization, Range

from pacesetter_search.memory.kinds import SCALE
from pacesetter_search.studies.cells import Cell
from pacesetter_search.studies.optima import Density
from pacesetter_search.transfer.peak import PRIORS, PeakModel
from pacesetter_search.transfer.places import Optimum
from pacesetter_search.transfer.practice import FIELD_SD

DOUBT = 2.5
"""Times their sd that the slopes in tokens and batch are doubted below the sizes that they were measured at: small
models lose .2 to .5 octaves a doubling of the steps and not always .29 [25 and 15 drawn language models]."""

REPEATED = (-0.05, 0.2)
"""Slope in tokens where data are seen twice or more: it may stay, fall fast or rise [24 drawn tasks, see ``drift_of``
of ``zero_tuning``]."""

ALONE = 10.0
"""Octaves: nothing is known of a best rate beforehand."""

Normal: TypeAlias = tuple[float, float]
"""Mean and sd of log2 of a best rate."""

PARAMETERS = (0.0, 1e-6)
"""Slope in parameters: width and depth tell the size, and it is not counted twice."""

PASSES = 3
"""Times that every cell is heard again in the light of the others."""


@dataclass(frozen=True, slots=True)
class Family:
    """What all cells of a study have in common.

    Attributes:
        parametrization: Of the models.
        large: Whether they are of the sizes that the published slopes were measured at.
        anchor: log2 of the best peak at the target, mean and sd, before anything is measured.
        unit: Tokens of one unit of batch in one step.
        repeats: Whether the target sees its data twice or more.
    """

    parametrization: Parametrization
    large: bool
    anchor: tuple[float, float]
    unit: float = 1.0
    repeats: bool = False

    @classmethod
    def of(cls, spec: ExperimentSpec, lr: Range, unit: float = 1.0) -> "Family":
        """Return what an experiment says of it: the middle of its rates, as surely as practice or half of them."""
        low, high = math.log2(lr.low), math.log2(lr.high)
        return cls(
            parametrization=parametrization_of(spec),
            large=(spec.workload.parameters or 0.0) >= SCALE and spec.regime == "pretrain",
            anchor=(0.5 * (low + high), max(FIELD_SD, 0.5 * (high - low))),
            unit=unit,
            repeats=(spec.workload.epochs or 1.0) >= 2.0,
        )

    def place(self, cell: Cell, found: Normal | None = None) -> Optimum:
        """Return a cell as a place of the model, with its best rate where that is known."""
        return Optimum(
            parameters=1.0,
            tokens=cell.steps * cell.batch * self.unit,
            batch=cell.batch * self.unit,
            lr=1.0 if found is None else math.exp2(found[0]),
            sd=0.0 if found is None else found[1],
            width=cell.width,
            depth=cell.depth,
        )

    def model(self, known: Mapping[Cell, Normal], target: Cell) -> PeakModel:
        """Return the model of best peaks given those of some cells.

        Its reference is amid those cells: how far the target lies from them is in the slopes' terms, not the anchor's.
        """
        optima = [self.place(cell, one) for cell, one in known.items()]
        return PeakModel(
            optima,
            anchor=self.anchor,
            reference=_middle(optima) if optima else self.place(target),
            family_sd=0.0,
            slopes=self.slopes(),
            saturates=self.large,
        )

    def told(self, densities: Mapping[Cell, Density], target: Cell) -> dict[Cell, Normal]:
        """Return what each cell tells of its own best rate as a normal, in the light of what the others tell.

        Two runs alone may leave open which of two far rates is best, and settle it together with a neighbour. Cells
        that tell nothing are left out.
        """
        alone = {
            cell: density.given(0.5 * float(density.grid[0] + density.grid[-1]), ALONE)
            for cell, density in densities.items()
        }
        sds = {cell: math.inf if one is None else one[1] for cell, one in alone.items()}
        surest = sorted(densities, key=lambda cell: (sds[cell], cell))
        told: dict[Cell, Normal] = {}
        for _ in range(PASSES):
            for cell in surest:
                others = {each: one for each, one in told.items() if each != cell}
                (mean,), (sd,) = self.model(others, target).expect([self.place(cell)])
                one = densities[cell].given(float(mean), float(sd))
                if one is not None:
                    one = _within(one, float(mean), alone[cell], densities[cell])
                told = others if one is None else {**others, cell: one}
        return told

    def slopes(self) -> list[tuple[float, float]]:
        """Return mean and sd of the slopes in parameters, tokens, batch, width and depth, as believed beforehand."""
        _, tokens, batch, width, depth = PRIORS[self.parametrization]
        doubt = 1.0 if self.large else DOUBT
        return [
            PARAMETERS,
            REPEATED if self.repeats else (tokens[0], doubt * tokens[1]),
            (batch[0], doubt * batch[1]),
            width,
            depth,
        ]


def _within(one: Normal, belief: float, alone: Normal | None, density: Density) -> Normal:
    """Return what a cell tells with its mean no further out than the cell by itself and the belief have it.

    Where the two contradict each other in their tails, the normal that would say the same has its mean octaves beyond
    both [two cells 2.4 octaves apart, one doubling of the steps: both were moved to 3 octaves above either].
    """
    low, high = float(density.grid[0]), float(density.grid[-1])
    if alone is not None:
        low = max(low, min(belief, alone[0]) - alone[1])
        high = min(high, max(belief, alone[0]) + alone[1])
    return min(max(one[0], low), high), one[1]


def parametrization_of(spec: ExperimentSpec) -> Parametrization:
    """Return how the models of an experiment are parametrised: as their workload says, or as their proxy is told.

    Raises:
        ValueError: The two contradict each other, or it is searched: each has priors of its own.
    """
    if "parametrization" in spec.space:
        raise ValueError(
            "parametrization is in the space, and best rates follow the width otherwise in each; search one at a time, "
            "with it in `fixed`"
        )
    told = spec.fixed.get("parametrization")
    if told is None:
        return spec.workload.parametrization
    named: Parametrization = "mup" if told == "mup" else "standard"
    # A workload that says standard may just not have said anything.
    if named != "mup" and spec.workload.parametrization == "mup":
        raise ValueError(
            f"the workload's parametrization is 'mup', and trials are given {told!r}; say the same in both, or leave "
            "out the workload's"
        )
    return named


def _middle(optima: Sequence[Optimum]) -> Optimum:
    """Return the place amid others on the scale of octaves."""

    def mean(values: Sequence[float]) -> float:
        return math.exp2(math.fsum(map(math.log2, values)) / len(values))

    return Optimum(
        parameters=1.0,
        tokens=mean([one.tokens for one in optima]),
        batch=mean([one.batch for one in optima]),
        lr=1.0,
        width=mean([one.width for one in optima]),
        depth=mean([one.depth for one in optima]),
    )
