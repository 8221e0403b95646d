"""SQL on recommendations."""

from typing import Any

from pacesetter.protocol import Recommendation
from sqlalchemy import delete, select, update

from pacesetter_service.database.models import RecommendationRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.errors import NotFound, Refused
from pacesetter_service.paging import bounded, newest_first, page_of
from pacesetter_service.projects import ensure_project
from pacesetter_service.views import Page, StoredRecommendation

KEPT = 1000
"""Recommendations of a project that are kept though no job runs on them, the newest."""


def insert_answer(tx: Transaction, project: str, answer: Recommendation) -> None:
    """Store an answer under its id, and drop the oldest ones that nobody used."""
    assert answer.id is not None
    ensure_project(tx, project)
    tx.execute(
        tx.insert_into(RecommendationRow).values(
            id=answer.id,
            project=project,
            target=answer.target.model_dump(mode="json"),
            answer=answer.model_dump_json(),
            applied=False,
        )
    )
    unused = (RecommendationRow.project == project, ~RecommendationRow.applied)
    oldest = tx.execute(
        select(RecommendationRow.created_at)
        .where(*unused)
        .order_by(RecommendationRow.created_at.desc())
        .offset(KEPT)
        .limit(1)
    ).scalar_one_or_none()
    if oldest is not None:
        tx.execute(delete(RecommendationRow).where(*unused, RecommendationRow.created_at <= oldest))


def get(tx: Transaction, id_: str, project: str | None = None) -> StoredRecommendation:
    """Return a recommendation, of any project where none is named. Raises NotFound (``RECOMMENDATION_NOT_FOUND``)."""
    query = select(RecommendationRow.__table__).where(RecommendationRow.id == id_)
    if project is not None:
        query = query.where(RecommendationRow.project == project)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise NotFound(
            f"no recommendation has the id {id_!r}",
            code="RECOMMENDATION_NOT_FOUND",
            hint=f"list them with GET /v1/recommendations:list; of those that no job runs on the newest {KEPT} are "
            "kept",
        )
    return _view(row)


def list_answers(
    tx: Transaction, project: str | None, page_size: int, page_token: str
) -> Page[StoredRecommendation]:
    """Return a page of recommendations, newest first. Raises Refused for a token or a size that cannot be used."""
    size = bounded(page_size)
    query = select(RecommendationRow.__table__)
    if project is not None:
        query = query.where(RecommendationRow.project == project)
    query = newest_first(
        query, RecommendationRow.created_at, RecommendationRow.id, size, page_token
    )
    rows = tx.execute(query).all()
    return page_of(rows, [_view(row) for row in rows], size)


def mark_applied(tx: Transaction, id_: str, project: str) -> None:
    """Note that a job of the project runs on a recommendation. Raises Refused (``UNKNOWN_RECOMMENDATION``)."""
    marked = tx.execute(
        update(RecommendationRow)
        .where(RecommendationRow.id == id_, RecommendationRow.project == project)
        .values(applied=True)
    )
    if marked.rowcount != 1:
        raise unknown(id_)


def require_known(tx: Transaction, id_: str, project: str) -> None:
    """Do nothing if the project has a recommendation. Raises Refused (``UNKNOWN_RECOMMENDATION``)."""
    query = select(RecommendationRow.id).where(
        RecommendationRow.id == id_, RecommendationRow.project == project
    )
    if tx.execute(query).one_or_none() is None:
        raise unknown(id_)


def unknown(id_: str) -> Refused:
    """Return the error of a job that names a recommendation which its project does not have."""
    return Refused(
        f"the project has no recommendation {id_!r}",
        code="UNKNOWN_RECOMMENDATION",
        hint="ask this service anew with POST /v1/recommendations, or leave the recommendation's id out",
    )


def _view(row: Any) -> StoredRecommendation:
    return StoredRecommendation(
        project=row.project,
        answer=Recommendation.model_validate_json(row.answer),
        applied=row.applied,
        created_at=row.created_at,
    )
