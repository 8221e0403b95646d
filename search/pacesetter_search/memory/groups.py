"""Which curves one law may be fitted to: those of runs that differ in their schedule and length alone.

A law holds at one peak learning rate, size and batch. Numbers count as one within a tolerance around those of the first
run of a group, so that any two of its runs are within it as well.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from typing import Self

from pacesetter.protocol import Parametrization, Regime
from pydantic import BaseModel, ConfigDict

from pacesetter_search.memory.records import RunRecord

ALIKE = 1.02
"""Ratio of two sizes or batches up to which they count as one."""

SAME_PEAK = 1.5
"""Ratio of two peaks up to which a law holds at both."""

MOST_CURVES = 40
"""Curves in one fit, of 60 points each."""


class LawGroup(BaseModel):
    """What the runs have in common that one law is fitted to; numbers are those of its first run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    regime: Regime
    objective: str
    """Mode and name: ``min loss``."""
    optimizer: str
    parametrization: Parametrization
    width_ratio: float
    depth_ratio: float
    momentum: float
    of_validations: bool
    """Whether the points of its curves are losses of validations."""
    parameters: float | None
    batch_tokens: float | None
    peak_lr: float

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """Return the group that a run would be the first of."""
        workload = record.workload
        return cls(
            family=workload.family,
            regime=record.regime,
            objective=f"{workload.objective.mode} {workload.objective.name}",
            optimizer=record.optimizer,
            parametrization=workload.parametrization,
            width_ratio=workload.width_ratio,
            depth_ratio=workload.depth_ratio,
            momentum=record.momentum,
            # A job's points are training losses, whatever was validated at its end.
            of_validations=record.validated and record.source == "upload",
            parameters=_rounded(workload.parameters),
            batch_tokens=_rounded(workload.batch_tokens),
            peak_lr=float(f"{record.peak_lr:.6g}"),
        )

    @property
    def words(self) -> str:
        """A digest of all that has to be the same to the letter."""
        words = self.model_dump(exclude={"parameters", "batch_tokens", "peak_lr"})
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def key(self) -> str:
        """A short text that tells groups apart."""
        numbers = (self.parameters, self.batch_tokens, self.peak_lr)
        return "/".join([self.words, *("?" if one is None else f"{one:.6g}" for one in numbers)])

    def among(self, keys: Iterable[str]) -> str:
        """Return which of the groups with these keys a run belongs to that this is the group of; else its own key."""
        own = self.words
        near = [(apart, key) for key in keys if (apart := self._apart(key, own)) is not None]
        return min(near)[1] if near else self.key

    def _apart(self, key: str, own_words: str) -> float | None:
        """Return how far the numbers of a key are, 1 being the tolerance's edge; None: beyond, or another kind."""
        words, *numbers = key.split("/")
        if words != own_words or len(numbers) != 3:
            return None
        mine = (self.parameters, self.batch_tokens, self.peak_lr)
        # Half of a tolerance on either side, so that any two in a group are within the whole.
        widths = [0.5 * math.log(ratio) for ratio in (ALIKE, ALIKE, SAME_PEAK)]
        apart = 0.0
        for own, text, width in zip(mine, numbers, widths, strict=True):
            if (own is None) != (text == "?"):
                return None
            if own is not None:
                apart = max(apart, abs(math.log(own / float(text))) / width)
        return apart if apart <= 1.0 + 1e-9 else None


def law_key(record: RunRecord, keys: Iterable[str]) -> str:
    """Return the key of the law that a run is evidence for; empty where nothing says which runs it compares with.

    Args:
        record: The run.
        keys: Those of the groups that there are.
    """
    if not record.workload.family and record.workload.parameters is None:
        return ""
    return LawGroup.of(record).among(keys)


def obstacle(records: Sequence[RunRecord]) -> str | None:
    """Return why no law can be fitted to runs of one group, or None."""
    if not records:
        return "no run is left as evidence"
    if records[0].workload.objective.mode == "max":
        return "laws describe losses that fall, and the objective of these runs rises"
    if not fitted_of(records):
        return "every run diverged; a law is about runs that trained"
    return None


def fitted_of(records: Sequence[RunRecord], most: int = MOST_CURVES) -> list[RunRecord]:
    """Return the runs that a law is fitted to: none that diverged, and of many as different ones as there are.

    Args:
        records: Runs of one group, oldest first.
        most: How many to take: the newest of each shape and length in turn.
    """
    usable = [one for one in records if one.final_loss is not None]
    if len(usable) <= most:
        return usable
    cells: dict[tuple[int, int], list[RunRecord]] = {}
    for one in usable:
        cells.setdefault(_cell(one), []).append(one)
    taken: list[RunRecord] = []
    while len(taken) < most:
        for cell in cells.values():
            if cell and len(taken) < most:
                taken.append(cell.pop())
    kept = {one.id for one in taken}
    return [one for one in usable if one.id in kept]


def _cell(record: RunRecord) -> tuple[int, int]:
    """Return quarters of an octave of a shape's best peak, and half octaves of the length."""
    return round(4.0 * record.shape_octaves), round(2.0 * math.log2(record.steps))


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
