"""Tokens and idempotency keys, as the controller hands them out."""

from collections.abc import Sequence
from datetime import datetime

from pacesetter_service.access import idempotency, tokens
from pacesetter_service.database.store import Store
from pacesetter_service.views import IdempotencyRecord, StoredToken


class AccessCalls:
    """What a controller answers of who may ask, and of what was asked before.

    Args:
        store: Where tokens and keys are.
        idempotency_seconds: How long the reply of a key is kept.
    """

    def __init__(self, store: Store, idempotency_seconds: float) -> None:
        self._store = store
        self._idempotency_seconds = idempotency_seconds

    async def create_token(
        self,
        *,
        hmac: str,
        hint: str,
        name: str,
        scopes: Sequence[str],
        project: str = "default",
        expires_at: datetime | None = None,
    ) -> StoredToken:
        """Store a token by its HMAC. Raises Conflict (``TOKEN_EXISTS``)."""
        return await self._store.write(
            lambda tx: tokens.create_token(
                tx,
                hmac=hmac,
                hint=hint,
                name=name,
                scopes=scopes,
                project=project,
                expires_at=expires_at,
            )
        )

    async def list_tokens(self, project: str | None = None) -> tuple[StoredToken, ...]:
        """Return all tokens, revoked and expired ones too, newest first."""
        return await self._store.read(lambda tx: tokens.list_tokens(tx, project))

    async def revoke_token(self, token_id: str) -> StoredToken:
        """Revoke a token; once more changes nothing. Raises NotFound."""
        return await self._store.write(lambda tx: tokens.revoke_token(tx, token_id))

    async def find_token(self, hmac: str) -> StoredToken | None:
        """Return the token with this HMAC if it is neither revoked nor expired, noting its use (once a minute)."""
        token, is_stale = await self._store.read(lambda tx: tokens.find_token(tx, hmac))
        if token is not None and is_stale:
            token_id = token.id
            await self._store.write(lambda tx: tokens.note_use(tx, token_id))
        return token

    async def begin_idempotent(self, scope: str, key: str, fingerprint: str) -> IdempotencyRecord:
        """Claim an ``Idempotency-Key`` within ``scope`` (the caller's token)."""
        return await self._store.write(lambda tx: idempotency.begin(tx, scope, key, fingerprint))

    async def finish_idempotent(
        self,
        scope: str,
        key: str,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Store the reply of a claimed key."""
        await self._store.write(
            lambda tx: idempotency.finish(
                tx,
                scope,
                key,
                status=status,
                body=body,
                headers=headers or {},
                keep_seconds=self._idempotency_seconds,
            )
        )

    async def abandon_idempotent(self, scope: str, key: str) -> None:
        """Give a claimed key back: the request failed and may be tried again."""
        await self._store.write(lambda tx: idempotency.abandon(tx, scope, key))
