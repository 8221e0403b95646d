"""Replies kept for ``Idempotency-Key``, by the caller's scope and key."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update

from pacesetter_service.database.models import IdempotencyRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.views import IdempotencyRecord

IN_FLIGHT_SECONDS = 60.0
"""A claim without a reply is given up after this long: whoever held it was killed."""


def _where(scope: str, key: str) -> tuple[Any, Any]:
    return IdempotencyRow.scope == scope, IdempotencyRow.key == key


def begin(tx: Transaction, scope: str, key: str, fingerprint: str) -> IdempotencyRecord:
    """Claim a key, or return what is known of it."""
    now = tx.execute(select(utc_now())).scalar_one()
    tx.execute(delete(IdempotencyRow).where(*_where(scope, key), IdempotencyRow.expires_at <= now))
    claimed = tx.execute(
        tx.insert_into(IdempotencyRow)
        .values(
            scope=scope,
            key=key,
            fingerprint=fingerprint,
            expires_at=now + timedelta(seconds=IN_FLIGHT_SECONDS),
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyRow.key)
    ).one_or_none()
    if claimed is not None:
        return IdempotencyRecord("new")
    row = tx.execute(
        select(
            IdempotencyRow.fingerprint,
            IdempotencyRow.status,
            IdempotencyRow.body,
            IdempotencyRow.headers,
        ).where(*_where(scope, key))
    ).one()
    if row.fingerprint != fingerprint:
        return IdempotencyRecord("mismatch")
    if row.status is None:
        return IdempotencyRecord("in_flight")
    return IdempotencyRecord("finished", row.status, row.body or b"", row.headers or {})


def finish(
    tx: Transaction,
    scope: str,
    key: str,
    *,
    status: int,
    body: bytes,
    headers: dict[str, str],
    keep_seconds: float,
) -> None:
    """Store the reply of a claimed key."""
    now = tx.execute(select(utc_now())).scalar_one()
    tx.execute(
        update(IdempotencyRow)
        .where(*_where(scope, key))
        .values(
            status=status,
            body=body,
            headers=headers,
            expires_at=now + timedelta(seconds=keep_seconds),
        )
    )


def abandon(tx: Transaction, scope: str, key: str) -> None:
    """Give a claimed key back."""
    tx.execute(delete(IdempotencyRow).where(*_where(scope, key), IdempotencyRow.status.is_(None)))


def expire(tx: Transaction, now: datetime | None = None) -> int:
    """Drop what has expired; return how many."""
    moment = now or tx.execute(select(utc_now())).scalar_one()
    return tx.execute(delete(IdempotencyRow).where(IdempotencyRow.expires_at <= moment)).rowcount
