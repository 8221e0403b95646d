"""SQL on curves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pacesetter.curves import Points
from pacesetter.protocol import Regime
from pacesetter_search.memory import CurveSource, LawGroup, RunRecord, law_key
from sqlalchemy import Text, delete, select, type_coerce, update

from pacesetter_service.curves.packing import packed, unpacked
from pacesetter_service.database.models import CurveRow, LawRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import Conflict, NotFound
from pacesetter_service.paging import bounded, newest_first, page_of
from pacesetter_service.projects import count_change, ensure_project
from pacesetter_service.views import Page, StoredCurve

_RECORD = type_coerce(CurveRow.record, Text).label("record")
"""As the text that it is: pydantic reads it faster than a dictionary."""

_LISTED = select(
    *(column for column in CurveRow.__table__.columns if column.name not in ("record", "data")),
    _RECORD,
)


@dataclass(frozen=True, slots=True)
class NewCurve:
    """A curve to be stored."""

    project: str
    record: RunRecord
    points: Points


@dataclass(frozen=True, slots=True)
class CurveFilter:
    """Which curves a list is of; what is None or empty leaves none out."""

    project: str | None = None
    family: str | None = None
    regime: Regime | None = None
    source: CurveSource | None = None
    job: str | None = None

    def conditions(self) -> tuple[Any, ...]:
        """Return them as SQL."""
        wanted = {
            CurveRow.project: self.project,
            CurveRow.family: self.family,
            CurveRow.regime: self.regime,
            CurveRow.source: self.source,
            CurveRow.job: self.job,
        }
        return tuple(column == value for column, value in wanted.items() if value is not None)


def insert(tx: Transaction, curve: NewCurve) -> bool:
    """Store the curve of an upload or a trial; return False if it is there already, by its id."""
    ensure_project(tx, curve.project)
    count_change(tx, curve.project)
    inserted = tx.execute(
        tx.insert_into(CurveRow)
        .values(**_values(tx, curve))
        .on_conflict_do_nothing()
        .returning(CurveRow.id)
    ).one_or_none()
    return inserted is not None


def put_job_curve(tx: Transaction, curve: NewCurve) -> None:
    """Store the curve of a job, in place of the one that an earlier end of it left."""
    count_change(tx, curve.project)
    values = _values(tx, curve)
    kept = ("id", "project", "job")
    left_out = tx.execute(
        select(CurveRow.excluded).where(CurveRow.job == curve.record.job)
    ).scalar_one_or_none()
    if left_out:
        values["key"] = ""
    changed = {name: value for name, value in values.items() if name not in kept}
    tx.execute(
        tx.insert_into(CurveRow)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[CurveRow.job], set_={**changed, "changed_at": utc_now()}
        )
    )


def get(tx: Transaction, curve_id: str, project: str | None = None) -> StoredCurve:
    """Return a curve, of any project where none is named. Raises NotFound (``CURVE_NOT_FOUND``)."""
    conditions = (CurveRow.id == curve_id, *CurveFilter(project).conditions())
    row = tx.execute(_LISTED.where(*conditions)).one_or_none()
    if row is None:
        raise _not_found(curve_id)
    return _view(row)


def list_curves(
    tx: Transaction, wanted: CurveFilter, page_size: int, page_token: str
) -> Page[StoredCurve]:
    """Return a page of curves, newest first. Raises Refused for a token or a size that cannot be used."""
    size = bounded(page_size)
    query = _LISTED.where(*wanted.conditions())
    query = newest_first(query, CurveRow.created_at, CurveRow.id, size, page_token)
    rows = tx.execute(query).all()
    return page_of(rows, [_view(row) for row in rows], size)


def points_of(
    tx: Transaction, curve_ids: Sequence[str], project: str | None = None
) -> list[tuple[StoredCurve, Points]]:
    """Return curves with their points, in the order of their ids. Raises NotFound for the first that is not there."""
    conditions = (CurveRow.id.in_(curve_ids), *CurveFilter(project).conditions())
    rows = tx.execute(_LISTED.add_columns(CurveRow.data).where(*conditions))
    found = {row.id: (_view(row), unpacked(row.data)) for row in rows}
    for curve_id in curve_ids:
        if curve_id not in found:
            raise _not_found(curve_id)
    return [found[curve_id] for curve_id in curve_ids]


def records(
    tx: Transaction, project: str, regime: Regime | None = None, most: int = 5000
) -> tuple[RunRecord, ...]:
    """Return the records that are evidence in a project, those left out by a person excepted, newest first.

    Args:
        tx: Where to read.
        project: Evidence never crosses it.
        regime: Of that regime alone; None: of all.
        most: How many, the newest: a thousand take some 10 ms.
    """
    query = (
        select(_RECORD)
        .where(*CurveFilter(project, regime=regime).conditions(), ~CurveRow.excluded)
        .order_by(CurveRow.created_at.desc(), CurveRow.id.desc())
        .limit(most)
    )
    return tuple(RunRecord.model_validate_json(row.record) for row in tx.execute(query))


def change(
    tx: Transaction, curve_id: str, project: str | None, name: str | None, excluded: bool | None
) -> StoredCurve:
    """Rename a curve, or leave it out as evidence; return it as it is then. Raises NotFound."""
    curve = get(tx, curve_id, project)
    renamed = name is not None and name != curve.name
    turned = excluded is not None and excluded != curve.excluded
    if not (renamed or turned):
        return curve
    count_change(tx, curve.project)
    values: dict[str, Any] = {}
    if renamed:
        record = curve.record.model_copy(update={"name": name})
        values |= {"name": name, "record": record.model_dump(mode="json")}
    if turned:
        key = "" if excluded else _key(tx, curve.project, curve.record)
        values |= {"excluded": excluded, "key": key, "changed_at": utc_now()}
    tx.execute(update(CurveRow).where(CurveRow.id == curve_id).values(values))
    return get(tx, curve_id, project)


def remove(tx: Transaction, curve_id: str, project: str | None) -> None:
    """Delete an uploaded curve. Raises NotFound, or Conflict for a job's (``CURVE_OF_A_JOB``)."""
    curve = get(tx, curve_id, project)
    if curve.source == "job":
        raise Conflict(
            f"curve {curve_id} is of job {curve.job}",
            code="CURVE_OF_A_JOB",
            hint='leave it out as evidence: PATCH it with {"excluded": true}',
        )
    count_change(tx, curve.project)
    tx.execute(delete(CurveRow).where(CurveRow.id == curve_id))


def _values(tx: Transaction, curve: NewCurve) -> dict[str, Any]:
    record, steps, lrs = curve.record, *curve.points.with_warmup()
    risen = steps.size - curve.points.steps.size
    losses = np.append(np.full(risen, np.nan), curve.points.losses)
    whole = Points(steps, lrs, losses)
    return {
        "id": record.id,
        "project": curve.project,
        "source": record.source,
        "job": record.job,
        "name": record.name,
        "family": record.workload.family,
        "regime": record.regime,
        "optimizer": record.optimizer,
        "record": record.model_dump(mode="json"),
        "points": steps.size,
        "data": packed(whole),
        "key": _key(tx, curve.project, record),
    }


def _key(tx: Transaction, project: str, record: RunRecord) -> str:
    """Return the key of the law that a run is evidence for, among those that there are.

    The project must be locked, as :func:`count_change` does: two first runs of a group must not make two groups.
    """
    return law_key(record, _keys(tx, project, LawGroup.of(record).words))


def _keys(tx: Transaction, project: str, words: str) -> Iterable[str]:
    for table in (CurveRow, LawRow):
        rows = tx.execute(
            select(table.key)
            .where(table.project == project, table.key.startswith(f"{words}/"))
            .distinct()
        )
        yield from rows.scalars()


def _view(row: Any) -> StoredCurve:
    return StoredCurve(
        id=row.id,
        project=row.project,
        source=row.source,
        job=row.job,
        name=row.name,
        record=RunRecord.model_validate_json(row.record),
        points=row.points,
        key=row.key,
        excluded=row.excluded,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def _not_found(curve_id: str) -> NotFound:
    return NotFound(
        f"no curve has the id {curve_id!r}",
        code="CURVE_NOT_FOUND",
        hint="list the curves with GET /v1/curves",
    )
