"""How often 90 % intervals of the final loss hold it on curves that were not fitted, and how many those really are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pacesetter_search.laws import EnsembleLaw, FittedLaw

from benchmarks.laws.fits import (
    OURS,
    clustered,
    cooldowns,
    fits,
    fits_of_three,
    others,
)
from benchmarks.public_curves import FITTED, TESTED, Run, multi_power_curve
from benchmarks.reporting import Report

Z90 = 1.645


@dataclass(frozen=True)
class Judged:
    """A final loss beside its prediction."""

    peak: float
    steps: int
    error: float
    sd: float

    @property
    def held(self) -> bool:
        """Whether the interval holds it."""
        return abs(self.error) <= Z90 * self.sd


def coverage(report: Report) -> None:
    """Add coverage, the effective number of curves and widths, from two and from three fitted curves.

    Runs of one peak share a trunk and a fit, so whole cells (peak and length) are drawn for the interval.
    """
    _rows(report, "124M, two curves fitted", _judged(fits(OURS), others()), bars=True)
    fitted = {run.name for run in cooldowns().values()}
    rest = [run for run in others() if run.name not in fitted]
    _rows(report, "124M, three curves fitted", _judged(fits_of_three(OURS), rest), bars=False)
    held, total = _published()
    report.row(f"25M and 100M, {total} final losses that set the laws' own error: held", held, "")


def _judged(laws: Mapping[float, FittedLaw], runs: Sequence[Run]) -> list[Judged]:
    found = []
    for run in runs:
        end = laws[run.lr].predict(run.curve.lrs, [run.curve.positions[-1]])
        found.append(Judged(run.lr, run.steps, run.final - float(end.mean[0]), float(end.sd[0])))
    return found


def _rows(report: Report, name: str, judged: Sequence[Judged], *, bars: bool) -> None:
    cells: dict[tuple[float, int], list[bool]] = defaultdict(list)
    for one in judged:
        cells[one.peak, one.steps].append(one.held)
    share, low, high = clustered(list(cells.values()))
    words = f"{name}, 90 % interval of the final loss: holds it, {len(judged)} curves in {len(cells)} cells"
    report.row(
        f"{words} (90 % from {low:.0f} to {high:.0f})",
        share,
        "%",
        *(("holds 90", low <= 90.0 <= high) if bars else ()),
    )
    report.row(f"{name}, effective number of independent curves", effective_number(judged), "")
    report.row(
        f"{name}, width of that interval",
        float(np.mean([2.0 * Z90 * one.sd for one in judged])),
        "nats",
    )
    off = float(np.sqrt(np.mean([(one.error / one.sd) ** 2 for one in judged])))
    report.row(f"{name}, errors over their sd, root mean square", off, "")


def effective_number(judged: Sequence[Judged]) -> float:
    """Return how many independent curves have as sure a mean error as these, by how much errors have in common.

    Errors over their sd are taken to correlate equally within a cell (peak and length), and equally, as a rule less,
    within a peak; what the pairs show is never counted below zero.
    """
    scores = np.array([one.error / one.sd for one in judged])
    peaks = np.array([one.peak for one in judged])
    steps = np.array([one.steps for one in judged])
    same_peak = peaks[:, None] == peaks[None, :]
    same_cell = same_peak & (steps[:, None] == steps[None, :])
    apart = ~np.eye(scores.size, dtype=bool)
    products = np.outer(scores, scores) / np.mean(scores**2)
    total = float(scores.size)
    for pairs in (same_cell & apart, same_peak & ~same_cell):
        count = int(np.count_nonzero(pairs))
        if count:
            total += count * min(max(float(np.mean(products[pairs])), 0.0), 1.0)
    return scores.size**2 / total


def _published() -> tuple[float, int]:
    """Return how many final losses of the published split's test curves are held, and of how many."""
    held = []
    for size in (25, 100):
        for runs in (FITTED, FITTED[1::-1]):
            law = EnsembleLaw().fit([multi_power_curve(size, run) for run in runs])
            for name in TESTED:
                curve = multi_power_curve(size, name)
                end = law.predict(curve.lrs, [curve.positions[-1]])
                held.append(abs(curve.losses[-1] - end.mean[0]) <= Z90 * end.sd[0])
    return float(sum(held)), len(held)
