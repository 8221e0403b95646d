"""Laws of a family's runs, as a job of the family is told them."""

import math
from collections.abc import Sequence

from pacesetter.protocol import Workload
from pydantic import BaseModel, ConfigDict, Field

from pacesetter_search.laws import AnyFittedLaw
from pacesetter_search.memory.kinds import Kind

LAWS = "laws"
"""Under which name a job's first event carries them."""

MOST = 3
SIZES_APART = 2.0
"""Octaves of parameters within which a law of another size says what decays do: it hardly depends on size."""

LENGTHS_APART = 2.0
"""Octaves of steps between the longest run and a job within which a law says what its decays do."""

PEAKS_APART = math.log2(1.5)
"""Octaves between peaks within which a law holds."""


class FamilyLaw(BaseModel):
    """A law fitted to runs of a family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    workload: Workload
    kind: Kind
    momentum: float = 0.0
    peak_lr: float = Field(gt=0.0)
    """Of the runs, as their optimizer took it."""
    curves: int = Field(gt=0)
    longest: int = Field(gt=0)
    """Steps of the longest run."""
    law: AnyFittedLaw
    """In steps of the runs."""
    octaves: float = Field(default=0.0, ge=0.0)
    """Of parameters and of steps, between its runs and the job that is told it."""


def laws_for(
    laws: Sequence[FamilyLaw],
    workload: Workload,
    kind: Kind,
    *,
    momentum: float,
    peak_lr: float,
    steps: float,
) -> list[FamilyLaw]:
    """Return the laws that say what decays do to a run of ``workload``, nearest in size first.

    Args:
        laws: Of a project.
        workload: Of the run, with parameters and batch.
        kind: What laws never cross.
        momentum: Of its optimizer.
        peak_lr: Of its base schedule.
        steps: Of its budget.
    """
    near = [
        law.model_copy(
            update={"octaves": _octaves(law.workload, workload) + _longer(law.longest, steps)}
        )
        for law in laws
        if law.kind == kind
        and law.workload.family == workload.family
        and law.momentum == momentum
        and _close(law.workload.batch_tokens, workload.batch_tokens)
        and abs(math.log2(law.peak_lr / peak_lr)) <= PEAKS_APART
        and _octaves(law.workload, workload) <= SIZES_APART
        and _longer(law.longest, steps) <= LENGTHS_APART
    ]
    return sorted(near, key=lambda law: (law.octaves, -law.curves, law.id))[:MOST]


def _octaves(one: Workload, other: Workload) -> float:
    if one.parameters is None or other.parameters is None:
        return math.inf
    return abs(math.log2(one.parameters / other.parameters))


def _longer(longest: int, steps: float) -> float:
    return abs(math.log2(longest / steps))


def _close(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and math.isclose(one, other, rel_tol=0.02)
