"""API tokens and idempotency keys."""

import asyncio
from datetime import timedelta

import pytest
from pacesetter_service.access import idempotency, tokens
from pacesetter_service.database.store import Store, Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import Conflict, NotFound
from pacesetter_service.views import StoredToken
from sqlalchemy import select


async def create(store: Store, hmac: str, life: timedelta | None = None) -> StoredToken:
    def work(tx: Transaction) -> StoredToken:
        now = tx.execute(select(utc_now())).scalar_one()
        return tokens.create_token(
            tx,
            hmac=hmac,
            hint="abcd",
            name="ci",
            scopes=("read", "register"),
            project="default",
            expires_at=None if life is None else now + life,
        )

    return await store.write(work)


async def find(store: Store, hmac: str) -> tuple[StoredToken | None, bool]:
    return await store.read(lambda tx: tokens.find_token(tx, hmac))


async def test_a_token_is_found_by_its_hmac_only(store: Store) -> None:
    token = await create(store, "h1", timedelta(hours=1))
    assert await find(store, "h1") == (token, True)
    assert await find(store, "h2") == (None, False)
    assert token.scopes == ("read", "register")


async def test_its_use_is_noted_once_a_minute(store: Store) -> None:
    token = await create(store, "h1")
    await store.write(lambda tx: tokens.note_use(tx, token.id))
    found, is_stale = await find(store, "h1")
    assert found is not None and found.last_used_at is not None
    assert not is_stale


async def test_revoked_and_expired_tokens_are_not_found_but_listed(store: Store) -> None:
    revoked = await create(store, "h1")
    await create(store, "h2", timedelta(seconds=-1))
    first = await store.write(lambda tx: tokens.revoke_token(tx, revoked.id))
    second = await store.write(lambda tx: tokens.revoke_token(tx, revoked.id))
    assert first.revoked_at == second.revoked_at is not None
    assert await find(store, "h1") == (None, False)
    assert await find(store, "h2") == (None, False)
    assert len(await store.read(lambda tx: tokens.list_tokens(tx, "default"))) == 2
    assert await store.read(lambda tx: tokens.list_tokens(tx, "other")) == ()


async def test_a_token_is_stored_once(store: Store) -> None:
    await create(store, "h1")
    with pytest.raises(Conflict):
        await create(store, "h1")
    with pytest.raises(NotFound):
        await store.write(lambda tx: tokens.revoke_token(tx, "tok_x"))


async def begin(store: Store, fingerprint: str = "f") -> str:
    record = await store.write(lambda tx: idempotency.begin(tx, "scope", "key", fingerprint))
    return record.outcome


async def finish(store: Store, keep_seconds: float = 60.0) -> None:
    await store.write(
        lambda tx: idempotency.finish(
            tx,
            "scope",
            "key",
            status=201,
            body=b"{}\x00",
            headers={"location": "/x"},
            keep_seconds=keep_seconds,
        )
    )


async def test_a_key_is_claimed_once_however_many_try(store: Store) -> None:
    outcomes = await asyncio.gather(*(begin(store) for _ in range(8)))
    assert sorted(outcomes) == ["in_flight"] * 7 + ["new"]


async def test_a_finished_key_gives_its_reply_again(store: Store) -> None:
    await begin(store)
    await finish(store)
    record = await store.write(lambda tx: idempotency.begin(tx, "scope", "key", "f"))
    assert (record.outcome, record.status, record.body, record.headers) == (
        "finished",
        201,
        b"{}\x00",
        {"location": "/x"},
    )
    assert await begin(store, "another body") == "mismatch"


async def test_a_key_given_back_or_expired_is_new_again(store: Store) -> None:
    await begin(store)
    await store.write(lambda tx: idempotency.abandon(tx, "scope", "key"))
    assert await begin(store) == "new"
    await finish(store, keep_seconds=-1.0)
    assert await begin(store) == "new"


async def test_expired_keys_are_dropped(store: Store) -> None:
    await begin(store)
    await finish(store, keep_seconds=-1.0)
    assert await store.write(idempotency.expire) == 1
    assert await store.write(idempotency.expire) == 0
