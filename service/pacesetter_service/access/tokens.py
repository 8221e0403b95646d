"""API tokens by their HMAC; the tokens themselves are never stored."""

import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from pacesetter_service.database.models import TokenRow
from pacesetter_service.database.store import Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import Conflict, NotFound
from pacesetter_service.projects import ensure_project
from pacesetter_service.views import StoredToken

NOTE_USE_EVERY = timedelta(minutes=1)

_SELECT = select(*(column for column in TokenRow.__table__.columns if column.name != "hmac"))


def _token(row: Any) -> StoredToken:
    return StoredToken(
        id=row.id,
        name=row.name,
        project=row.project,
        scopes=tuple(json.loads(row.scopes)),
        hint=row.hint,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )


def create_token(
    tx: Transaction,
    *,
    hmac: str,
    hint: str,
    name: str,
    scopes: Sequence[str],
    project: str,
    expires_at: datetime | None,
) -> StoredToken:
    """Store a token. Raises Conflict if there is one with this HMAC."""
    ensure_project(tx, project)
    token_id = f"tok_{secrets.token_hex(10)}"
    try:
        tx.execute(
            insert(TokenRow).values(
                id=token_id,
                project=project,
                name=name,
                hmac=hmac,
                hint=hint,
                scopes=json.dumps(list(scopes)),
                expires_at=expires_at,
            )
        )
    except IntegrityError as error:
        raise Conflict(
            "this token is stored already", code="TOKEN_EXISTS", hint="make a new one"
        ) from error
    return get_token(tx, token_id)


def get_token(tx: Transaction, token_id: str) -> StoredToken:
    """Return a token. Raises NotFound."""
    row = tx.execute(_SELECT.where(TokenRow.id == token_id)).one_or_none()
    if row is None:
        raise NotFound(
            f"no token has the id {token_id!r}", code="TOKEN_NOT_FOUND", hint="list the tokens"
        )
    return _token(row)


def list_tokens(tx: Transaction, project: str | None) -> tuple[StoredToken, ...]:
    """Return all tokens, newest first."""
    query = _SELECT.order_by(TokenRow.created_at.desc(), TokenRow.id)
    if project is not None:
        query = query.where(TokenRow.project == project)
    return tuple(_token(row) for row in tx.execute(query))


def revoke_token(tx: Transaction, token_id: str) -> StoredToken:
    """Revoke a token, once. Raises NotFound."""
    tx.execute(
        update(TokenRow)
        .where(TokenRow.id == token_id, TokenRow.revoked_at.is_(None))
        .values(revoked_at=utc_now())
    )
    return get_token(tx, token_id)


def find_token(tx: Transaction, hmac: str) -> tuple[StoredToken | None, bool]:
    """Return the valid token with this HMAC, and whether its use is worth noting again."""
    row = tx.execute(
        _SELECT.add_columns(utc_now().label("now")).where(
            TokenRow.hmac == hmac, TokenRow.revoked_at.is_(None)
        )
    ).one_or_none()
    if row is None or (row.expires_at is not None and row.expires_at <= row.now):
        return None, False
    is_stale = row.last_used_at is None or row.now - row.last_used_at >= NOTE_USE_EVERY
    return _token(row), is_stale


def note_use(tx: Transaction, token_id: str) -> None:
    """Note that a token was used now."""
    tx.execute(update(TokenRow).where(TokenRow.id == token_id).values(last_used_at=utc_now()))
