"""Which runs of a family tell what sizes and budgets end with: the best one of each."""

import math
from collections.abc import Iterable

from pacesetter_search.memory.nearby import Nearby
from pacesetter_search.memory.records import RunRecord

ALIKE = 0.02
"""Relative difference up to which sizes and budgets count as one: then only the best run counts."""


def best_runs(runs: Iterable[RunRecord], family: str) -> tuple[RunRecord, ...]:
    """Return the best run of each size and budget of a family, lowest loss first.

    Only runs that ended with their budget count, and only validated ones where there are any: losses of the two kinds
    do not compare.
    """
    usable = [one for one in runs if one.workload.family == family and _tells(one)]
    if any(one.validated for one in usable):
        usable = [one for one in usable if one.validated]
    best: list[RunRecord] = []
    seen: Nearby[RunRecord] = Nearby(ALIKE)
    for one in sorted(usable, key=lambda each: (each.final_loss or math.inf, each.id)):
        place = _place(one)
        if not any(_alike(place, _place(other)) for other in seen.near(*place)):
            best.append(one)
            seen.add(*place, one)
    return tuple(best)


def _tells(run: RunRecord) -> bool:
    """Whether a run says what its size and budget end with."""
    known = run.workload.parameters is not None and run.tokens is not None
    return known and run.completed and run.final_loss is not None and run.final_loss > 0.0


def _place(run: RunRecord) -> tuple[float, float]:
    assert run.workload.parameters is not None
    assert run.tokens is not None
    return run.workload.parameters, run.tokens


def _alike(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=ALIKE) for a, b in zip(one, other, strict=True))
