"""SQL on projects, and the number that a project's evidence is known by.

That number counts the changes of its curves and laws. What is worked out from them is kept under it, by every replica,
and worked out anew once it is another.
"""

from sqlalchemy import select, update

from pacesetter_service.database.models import ProjectRow
from pacesetter_service.database.store import Transaction


def ensure_project(tx: Transaction, project: str) -> None:
    """Create the project if there is none."""
    if tx.execute(select(ProjectRow.name).where(ProjectRow.name == project)).first() is None:
        tx.execute(tx.insert_into(ProjectRow).values(name=project).on_conflict_do_nothing())


def count_change(tx: Transaction, project: str) -> None:
    """Note that the evidence of a project changes; the project is locked until the unit of work ends."""
    tx.execute(
        update(ProjectRow)
        .where(ProjectRow.name == project)
        .values(evidence_version=ProjectRow.evidence_version + 1)
    )


def version_of(tx: Transaction, project: str) -> int:
    """Return the number of a project's evidence; 0 where there is no such project yet."""
    query = select(ProjectRow.evidence_version).where(ProjectRow.name == project)
    return tx.execute(query).scalar_one_or_none() or 0
