"""SQL on laws, and on the groups of curves that they are fitted to."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pacesetter.protocol import Regime
from pacesetter_search.laws import parse_law
from pacesetter_search.memory import LawGroup, RunRecord
from sqlalchemy import Text, and_, delete, func, select, type_coerce

from pacesetter_service.database.models import CurveRow, LawRow, TrialRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import NotFound
from pacesetter_service.laws.messages import FitAnswer, FitCurve
from pacesetter_service.paging import bounded, newest_first, page_of
from pacesetter_service.projects import count_change
from pacesetter_service.views import FittedCurve, LawView, Page

VERSIONS = 20
"""Versions of a law that are kept."""

_NEWEST = (
    select(LawRow.project, LawRow.key, func.max(LawRow.version).label("version"))
    .group_by(LawRow.project, LawRow.key)
    .subquery()
)
_IS_NEWEST = and_(
    LawRow.project == _NEWEST.c.project,
    LawRow.key == _NEWEST.c.key,
    LawRow.version == _NEWEST.c.version,
)


@dataclass(frozen=True, slots=True)
class Stale:
    """A group of curves that no law, or an older one, was fitted to."""

    project: str
    key: str
    version: int
    """Of the newest law; 0 where there is none."""
    seen: str
    """What its curves are now: their number and last change."""
    quiet_seconds: float
    """How long they have been so."""
    busy: bool
    """Whether trials of its project run: more curves are to come, and processors have something better to do."""


@dataclass(frozen=True, slots=True)
class Group:
    """The curves that are evidence for a law, without their points."""

    records: tuple[RunRecord, ...]
    """Oldest first."""
    seen: str


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A law to be stored."""

    group: Stale
    """As it was found."""
    about: LawGroup
    """What its curves have in common."""
    seen: str
    """What its curves were when they were read."""
    answer: FitAnswer
    names: dict[str, str]
    """Of the curves, by id."""

    @property
    def evidence(self) -> list[dict[str, Any]]:
        """The curves that the law was fitted to, as they are stored."""
        return [
            {**each.model_dump(mode="json"), "id": each.name, "name": self.names[each.name]}
            for each in self.answer.fitted
        ]


@dataclass(frozen=True, slots=True)
class LawFilter:
    """Which laws a list is of; what is None leaves none out."""

    project: str | None = None
    family: str | None = None
    regime: Regime | None = None
    key: str | None = None

    def conditions(self) -> tuple[Any, ...]:
        """Return them as SQL."""
        wanted = {
            LawRow.project: self.project,
            LawRow.family: self.family,
            LawRow.regime: self.regime,
            LawRow.key: self.key,
        }
        return tuple(column == value for column, value in wanted.items() if value is not None)


def stale_groups(tx: Transaction) -> list[Stale]:
    """Return the groups whose curves changed since their newest law was fitted, longest quiet first."""
    now: datetime = tx.execute(select(utc_now())).scalar_one()
    count, last = func.count().label("number"), func.max(CurveRow.changed_at).label("changed_at")
    groups = tx.execute(
        select(CurveRow.project, CurveRow.key, count, last)
        .where(CurveRow.key != "")
        .group_by(CurveRow.project, CurveRow.key)
    )
    # A group that lost its last curve is none any more, and its law rests on nothing.
    current = {
        (row.project, row.key): (_seen(row.number, row.changed_at), row.changed_at)
        for row in groups
    }
    laws = tx.execute(
        select(LawRow.project, LawRow.key, LawRow.version, LawRow.seen).join(_NEWEST, _IS_NEWEST)
    )
    fitted = {(row.project, row.key): (row.version, row.seen) for row in laws}
    running = (
        select(TrialRow.project)
        .where(TrialRow.status == "leased", TrialRow.lease_expires_at > now)
        .distinct()
    )
    busy = set(tx.execute(running).scalars())
    found = []
    for place in current.keys() | fitted.keys():
        seen, changed = current.get(place, (_seen(0, None), None))
        version, fitted_to = fitted.get(place, (0, ""))
        if seen != fitted_to:
            quiet = float("inf") if changed is None else (now - changed).total_seconds()
            found.append(Stale(*place, version, seen, quiet, place[0] in busy))
    return sorted(found, key=lambda each: (-each.quiet_seconds, each.key))


def group_of(tx: Transaction, project: str, key: str) -> Group:
    """Return the curves that are evidence for a law, without their points."""
    rows = tx.execute(
        select(type_coerce(CurveRow.record, Text).label("record"), CurveRow.changed_at)
        .where(CurveRow.project == project, CurveRow.key == key)
        .order_by(CurveRow.created_at, CurveRow.id)
    ).all()
    last = max((row.changed_at for row in rows), default=None)
    records = tuple(RunRecord.model_validate_json(row.record) for row in rows)
    return Group(records, _seen(len(rows), last))


def points_for(tx: Transaction, records: Sequence[RunRecord]) -> tuple[FitCurve, ...]:
    """Return the stored points of some curves, in their order; without those that are gone meanwhile."""
    ids = [each.id for each in records]
    rows = tx.execute(select(CurveRow.id, CurveRow.data).where(CurveRow.id.in_(ids)))
    data = {row.id: row.data for row in rows}
    return tuple(FitCurve(name=each, data=data[each]) for each in ids if each in data)


def insert_version(tx: Transaction, new: NewVersion) -> str | None:
    """Store a new version and drop the oldest ones; return its id, None if somebody else stored it."""
    group, version = new.group, new.group.version + 1
    law_id = f"law_{secrets.token_hex(10)}"
    inserted = tx.execute(
        tx.insert_into(LawRow)
        .values(
            id=law_id,
            project=group.project,
            key=group.key,
            family=new.about.family,
            regime=new.about.regime,
            version=version,
            about=new.about.model_dump(mode="json"),
            law=new.answer.law,
            problem=new.answer.problem,
            evidence={"curves": new.evidence},
            seen=new.seen,
            seconds=new.answer.seconds,
        )
        .on_conflict_do_nothing()
        .returning(LawRow.id)
    ).one_or_none()
    if inserted is None:
        return None
    count_change(tx, group.project)
    tx.execute(
        delete(LawRow).where(
            LawRow.project == group.project,
            LawRow.key == group.key,
            LawRow.version <= version - VERSIONS,
        )
    )
    return law_id


def about_of(tx: Transaction, project: str, key: str) -> LawGroup:
    """Return what the curves of a group had in common that has none any more: its newest law knows."""
    row = tx.execute(
        select(LawRow.about)
        .where(LawRow.project == project, LawRow.key == key)
        .order_by(LawRow.version.desc())
        .limit(1)
    ).one()
    return LawGroup.model_validate(row.about)


def get(tx: Transaction, law_id: str, project: str | None = None) -> LawView:
    """Return a version of a law, of any project where none is named. Raises NotFound (``LAW_NOT_FOUND``)."""
    conditions = (LawRow.id == law_id, *LawFilter(project).conditions())
    row = tx.execute(select(LawRow.__table__).where(*conditions)).one_or_none()
    if row is None:
        raise NotFound(
            f"no law has the id {law_id!r}",
            code="LAW_NOT_FOUND",
            hint=f"list the newest laws with GET /v1/laws; of each {VERSIONS} versions are kept",
        )
    return _view(row)


def list_newest(
    tx: Transaction, wanted: LawFilter, page_size: int, page_token: str
) -> Page[LawView]:
    """Return a page of the newest law of each key, the one fitted last first. Raises Refused."""
    size = bounded(page_size)
    query = select(LawRow.__table__).join(_NEWEST, _IS_NEWEST).where(*wanted.conditions())
    query = newest_first(query, LawRow.created_at, LawRow.id, size, page_token)
    rows = tx.execute(query).all()
    return page_of(rows, [_view(row) for row in rows], size)


def newest_ids(
    tx: Transaction, project: str, *, family: str | None = None, regime: Regime | None = None
) -> tuple[str, ...]:
    """Return the ids of the newest law of each key in a project that could be fitted, the one fitted last first."""
    wanted = LawFilter(project, family, regime)
    rows = tx.execute(
        select(LawRow.id)
        .join(_NEWEST, _IS_NEWEST)
        .where(*wanted.conditions(), LawRow.problem == "")
        .order_by(LawRow.created_at.desc(), LawRow.id.desc())
    )
    return tuple(rows.scalars())


def laws_of(tx: Transaction, law_ids: Sequence[str]) -> tuple[LawView, ...]:
    """Return laws in the order of their ids; without those that are gone meanwhile."""
    rows = tx.execute(select(LawRow.__table__).where(LawRow.id.in_(law_ids)))
    found = {row.id: _view(row) for row in rows}
    return tuple(found[law_id] for law_id in law_ids if law_id in found)


def newest_law(tx: Transaction, project: str, key: str) -> LawView | None:
    """Return the newest law of a key, fitted or not; None where there is none yet."""
    row = tx.execute(
        select(LawRow.__table__)
        .where(LawRow.project == project, LawRow.key == key)
        .order_by(LawRow.version.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _view(row)


def _seen(number: int, changed_at: datetime | None) -> str:
    return str(number) if changed_at is None else f"{number} {changed_at.isoformat()}"


def _view(row: Any) -> LawView:
    return LawView(
        id=row.id,
        project=row.project,
        key=row.key,
        version=row.version,
        about=LawGroup.model_validate(row.about),
        law=parse_law(row.law) if row.law else None,
        problem=row.problem,
        evidence=tuple(FittedCurve(**each) for each in row.evidence["curves"]),
        seconds=row.seconds,
        created_at=row.created_at,
    )
