"""Runs on record, with what of them is the same for every question worked out once."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from pacesetter_search.memory.finals import best_runs
from pacesetter_search.memory.kinds import Kind
from pacesetter_search.memory.optima import Lead, leads_of
from pacesetter_search.memory.records import RunRecord


class Recorded:
    """Runs of a project by their kind.

    Threads may share one: what two of them work out at once is the same.

    Args:
        records: Of any kind.
    """

    def __init__(self, records: Iterable[RunRecord] = ()) -> None:
        self.records = tuple(records)
        self._leads: dict[Kind, tuple[Lead, ...]] = {}
        self._finals: dict[tuple[Kind, str], tuple[RunRecord, ...]] = {}

    def without(self, ids: Collection[str]) -> "Recorded":
        """Return all runs but those of some curves; this very one where it has none of them."""
        left = [one for one in self.records if one.id not in ids]
        return self if len(left) == len(self.records) else Recorded(left)

    @cached_property
    def kinds(self) -> Mapping[Kind, tuple[RunRecord, ...]]:
        """Runs of each kind that there are, in their order."""
        found: dict[Kind, list[RunRecord]] = defaultdict(list)
        for one in self.records:
            found[Kind.of(one.workload, one.regime, one.optimizer)].append(one)
        return {kind: tuple(runs) for kind, runs in found.items()}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Names of the runs by the ids of their curves."""
        return {one.id: one.name for one in self.records}

    def of(self, kind: Kind) -> tuple[RunRecord, ...]:
        """Return the runs of a kind, in their order."""
        return self.kinds.get(kind, ())

    def leads(self, kind: Kind) -> tuple[Lead, ...]:
        """Return what of them may tell best peaks."""
        if kind not in self._leads:
            self._leads[kind] = leads_of(self.of(kind))
        return self._leads[kind]

    def finals(self, kind: Kind, family: str) -> tuple[RunRecord, ...]:
        """Return the best run of each size and budget of a family."""
        if (kind, family) not in self._finals:
            self._finals[kind, family] = best_runs(self.of(kind), family)
        return self._finals[kind, family]
