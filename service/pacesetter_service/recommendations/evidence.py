"""The evidence of a project as questions are answered by it: read and worked out once for each change of it."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pacesetter.protocol import Objective, Workload
from pacesetter_search.memory import LawGroup, Recorded
from pacesetter_search.memory.kinds import Kind
from pacesetter_search.memory.laws import FamilyLaw
from pacesetter_search.recommendation import KnownCurve, KnownLaw
from sqlalchemy import select

from pacesetter_service.curves import repository as curves
from pacesetter_service.database.models import CurveRow
from pacesetter_service.database.store import Store, Transaction
from pacesetter_service.laws import repository as laws
from pacesetter_service.projects import version_of
from pacesetter_service.views import LawView

PROJECTS = 16
"""Projects whose evidence is kept in memory, those asked about last: a thousand runs take some megabytes."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a project knows.

    Attributes:
        version: Number that it is known by.
        recorded: Runs that are evidence, newest first.
        laws: The newest law of each group of curves, where all of these still are evidence.
        views: The same laws as they are stored, by their ids.
    """

    version: int
    recorded: Recorded
    laws: tuple[KnownLaw, ...]
    views: Mapping[str, LawView]

    def family_laws(self) -> list[FamilyLaw]:
        """Return the laws as a job of their family is told them."""
        return [
            FamilyLaw(
                id=known.id,
                workload=known.workload,
                kind=Kind.of(known.workload, known.regime, known.optimizer),
                momentum=known.momentum,
                peak_lr=known.peak,
                curves=len(known.curves),
                longest=known.longest,
                law=law,
            )
            for known in self.laws
            if (law := self.views[known.id].law) is not None
        ]


class EvidenceCache:
    """Evidence by project, as long as nothing of it changed, in whichever replica.

    Args:
        store: Where curves and laws are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[str, Evidence] = OrderedDict()
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, project: str) -> Evidence:
        """Return what a project knows now."""
        version = await self._store.read(lambda tx: version_of(tx, project))
        kept = self._find(project, version)
        if kept is not None:
            return kept
        # Questions that come together after a change wait for the first of them.
        async with self._reading[project]:
            kept = self._find(project, version)
            if kept is None:
                before = self._kept.get(project)
                known = {} if before is None else before.views
                kept = await self._store.read(lambda tx: read_evidence(tx, project, known))
                self._keep(project, kept)
        return kept

    def _find(self, project: str, version: int) -> Evidence | None:
        kept = self._kept.get(project)
        if kept is None or kept.version < version:
            return None
        self._kept.move_to_end(project)
        return kept

    def _keep(self, project: str, evidence: Evidence) -> None:
        self._kept[project] = evidence
        self._kept.move_to_end(project)
        while len(self._kept) > PROJECTS:
            forgotten, _ = self._kept.popitem(last=False)
            self._reading.pop(forgotten, None)


def read_evidence(tx: Transaction, project: str, known: Mapping[str, LawView]) -> Evidence:
    """Return what a project knows.

    Args:
        tx: Where to read.
        project: Evidence never crosses it.
        known: Laws that were read before, by their ids: a version of a law never changes.
    """
    version = version_of(tx, project)
    recorded = Recorded(curves.records(tx, project))
    ids = laws.newest_ids(tx, project)
    views = {law_id: known[law_id] for law_id in ids if law_id in known}
    new = laws.laws_of(tx, [law_id for law_id in ids if law_id not in views])
    views |= {law.id: law for law in new}
    current = _current(tx, project)
    found = tuple(
        known_law(views[law_id], recorded)
        for law_id in ids
        if law_id in views and current.issuperset(_curves_of(views[law_id]))
    )
    return Evidence(version, recorded, found, views)


def known_law(law: LawView, recorded: Recorded) -> KnownLaw:
    """Return a law that was fitted as recommendations take it, its curves under the names that they have now."""
    assert law.law is not None
    about = law.about
    longest = law.law.longest or max(one.steps for one in law.evidence)
    hull = law.law.hull
    return KnownLaw(
        id=law.id,
        workload=_workload(about),
        regime=about.regime,
        optimizer=about.optimizer,
        peak=about.peak_lr if hull is None else hull.highest,
        longest=longest,
        law=law.law,
        curves=tuple(
            KnownCurve(one.id, recorded.names.get(one.id, one.name)) for one in law.evidence
        ),
        momentum=about.momentum,
    )


def _workload(about: LawGroup) -> Workload:
    mode, _, name = about.objective.partition(" ")
    return Workload(
        family=about.family,
        parameters=about.parameters,
        width_ratio=about.width_ratio,
        depth_ratio=about.depth_ratio,
        parametrization=about.parametrization,
        batch_tokens=about.batch_tokens,
        objective=Objective.model_validate({"mode": mode, "name": name}),
    )


def _current(tx: Transaction, project: str) -> set[str]:
    """Return the ids of all curves that are evidence: a law that rests on another one is being fitted anew."""
    query = select(CurveRow.id).where(CurveRow.project == project, ~CurveRow.excluded)
    return set(tx.execute(query).scalars())


def _curves_of(law: LawView) -> Iterable[str]:
    return (one.id for one in law.evidence)
