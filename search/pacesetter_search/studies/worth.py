"""What further runs of a cell would tell of the target's best rate, in closed form.

A run ``d`` octaves from the best rate ends above it by ``c (d^2 / 2 + a d^3 / 6)`` in log loss, to the third order of
the landscape. Its level, curvature ``c`` and asymmetry ``a`` are unknown beside the best rate, so what runs tell of
that is what the others leave over: a Schur complement of the linearised model's precision. A cell's best rate known so
well is then a measurement of the Bayesian model of peaks, and the variance of the target's best peak that it leaves
follows without sampling.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pacesetter_search.landscape import FloatArray
from pacesetter_search.studies.believing import Family, Normal
from pacesetter_search.studies.cells import Cell
from pacesetter_search.studies.optima import LEAST_PRECISION, Shape

OFFSETS: FloatArray = np.arange(0.25, 2.01, 0.25)
"""Octaves from where the best rate is expected at which runs are considered. Further out they diverge or level out."""

SAME = 1e-6
"""Octaves up to which two rates are one: a plan has the rate and not its logarithm."""


def information(rates: Sequence[float], best: float, sd: float, shape: Shape) -> float:
    """Return how well runs of a cell tell its best rate, as a precision: one over octaves squared.

    Args:
        rates: log2 of them.
        best: log2 of where the best rate is expected.
        sd: How surely.
        shape: Of the landscape.
    """
    if len(rates) < 2:
        return 0.0
    away = np.array(rates) - best
    bent = np.square(away) + sd**2
    risen = shape.curvature * (0.5 * bent + shape.asymmetry * away**3 / 6.0)
    weights = 1.0 / (shape.noise**2 + np.square(shape.misfit * risen))
    rows = np.column_stack(
        (
            shape.curvature * (away + 0.5 * shape.asymmetry * bent),
            np.ones_like(away),
            shape.curvature_log_sd * risen,
            shape.asymmetry_sd * shape.curvature * away**3 / 6.0,
        )
    )
    # Curvature and asymmetry are in units of what is known of them beforehand, the level is not known at all.
    precision = rows.T @ (weights[:, None] * rows) + np.diag([0.0, 0.0, 1.0, 1.0])
    across = precision[0, 1:]
    left = precision[0, 0] - across @ np.linalg.solve(precision[1:, 1:], across)
    return max(float(left), 0.0)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a cell, and what will be.

    Attributes:
        found: What its runs tell of its best rate; None: nothing yet.
        ended: log2 of the rates of runs that ended.
        planned: Of those that run, or are about to.
        diverged: Of those that did.
        failed: Of those that say nothing.
    """

    found: Normal | None = None
    ended: tuple[float, ...] = ()
    planned: tuple[float, ...] = ()
    diverged: tuple[float, ...] = ()
    failed: tuple[float, ...] = ()

    @property
    def rates(self) -> tuple[float, ...]:
        """Those that a loss is known of, or will be."""
        return self.ended + self.planned

    @property
    def tried(self) -> tuple[float, ...]:
        """All of them, whatever became of each."""
        return self.rates + self.diverged + self.failed

    @property
    def new(self) -> bool:
        """Whether no run of it has told anything, or will."""
        return not (self.rates or self.diverged)

    def lost(self, rate: float) -> bool:
        """Whether a run at a rate is not worth trying: it failed, or lies above one that diverged, or next to it.

        A rate that diverged below one that ended did so by chance, and bars itself alone.
        """
        above = [each for each in self.diverged if each > max(self.ended, default=-math.inf)]
        barred = bool(above) and rate > min(above) - float(OFFSETS[0])
        return barred or among(rate, self.diverged + self.failed)

    def precision(self, best: float, sd: float, shape: Shape) -> float:
        """Return how well its best rate will be known once what is planned has ended."""
        all_of_them = information(self.rates, best, sd, shape)
        if self.found is None:
            return all_of_them
        # What ended says what it says, and not what it was expected to.
        gained = all_of_them - information(self.ended, best, sd, shape)
        return self.found[1] ** -2 + max(gained, 0.0)


def among(rate: float, others: Iterable[float]) -> bool:
    """Return whether a rate is one of some others, log2 of all."""
    return any(abs(rate - other) <= SAME for other in others)


@dataclass(frozen=True, slots=True)
class Offer:
    """Further runs of a cell.

    Attributes:
        cell: Of them.
        rates: log2 of each; none where all that would be offered are lost.
        flops: Of all of them.
        sd: Of the target's best peak once they have ended, in octaves.
        gain: Fall of its variance per FLOP.
    """

    cell: Cell
    rates: tuple[float, ...]
    flops: float
    sd: float
    gain: float


class Outlook:
    """What is believed now, and what offers would make of it.

    Args:
        family: What cells have in common.
        target: Where the best peak is wanted.
        known: Of each cell that may be run.
        shape: Of the landscape, as far as it is known.
        lowest: log2 of the lowest rate that may be run.
        highest: Of the highest one.
    """

    def __init__(
        self,
        family: Family,
        target: Cell,
        known: Mapping[Cell, Known],
        shape: Shape,
        lowest: float,
        highest: float,
    ) -> None:
        self._family, self._target, self._shape = family, target, shape
        self._known = dict(known)
        self._lowest, self._highest = lowest, highest
        found = {cell: one.found for cell, one in known.items() if one.found is not None}
        places = [family.place(cell) for cell in self._known]
        means, sds = family.model(found, target).expect(places)
        self._expected = {
            cell: (min(max(float(mean), lowest), highest), float(sd))
            for cell, mean, sd in zip(self._known, means, sds, strict=True)
        }

    @cached_property
    def sd(self) -> float:
        """Of the target's best peak once everything that is planned has ended, in octaves."""
        return self._sd_with(self._known)

    def offer(self, cell: Cell, flops: float) -> Offer:
        """Return the runs of a cell that tell most for their FLOPs: one where it has some, else two or three.

        Args:
            cell: One of the known ones.
            flops: Of one run of it.
        """
        one = self._known[cell]
        sets = self._first(cell) if one.new else self._singles(cell)
        best, sd = self._expected[cell]
        # Of as many runs those that tell most of the cell; how many is weighed at the target.
        chosen = [
            max(each, key=lambda rates: information((*one.rates, *rates), best, sd, self._shape))
            for each in (
                [rates for rates in some if not any(map(one.lost, rates))] for some in sets
            )
            if each
        ]
        return max(
            (self._offered(cell, rates, flops) for rates in chosen),
            key=lambda offer: offer.gain,
            default=Offer(cell, (), 0.0, self.sd, 0.0),
        )

    def _offered(self, cell: Cell, rates: tuple[float, ...], flops: float) -> Offer:
        one = self._known[cell]
        after = replace(one, planned=one.planned + rates)
        sd = self._sd_with({**self._known, cell: after})
        cost = flops * len(rates)
        return Offer(cell, rates, cost, sd, (self.sd**2 - sd**2) / cost)

    def _first(self, cell: Cell) -> list[list[tuple[float, ...]]]:
        best, _ = self._expected[cell]
        pairs = [(self._kept(best - away), self._kept(best + away)) for away in OFFSETS]
        return [[*pairs], [(low, best, high) for low, high in pairs]]

    def _singles(self, cell: Cell) -> list[list[tuple[float, ...]]]:
        best, _ = self._expected[cell]
        return [[(self._kept(best + away),) for away in (0.0, *OFFSETS, *-OFFSETS)]]

    def _kept(self, rate: float) -> float:
        return min(max(float(rate), self._lowest), self._highest)

    def _sd_with(self, known: Mapping[Cell, Known]) -> float:
        measured = {}
        for cell, one in known.items():
            best, sd = self._expected[cell]
            precision = one.precision(best, sd, self._shape)
            if precision > LEAST_PRECISION:
                mean = best if one.found is None else one.found[0]
                measured[cell] = (mean, 1.0 / math.sqrt(precision))
        return (
            self._family.model(measured, self._target).predict(self._family.place(self._target)).sd
        )
