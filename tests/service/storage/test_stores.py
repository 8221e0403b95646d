"""What every store owes: durable units of work, isolated from each other's failures."""

import asyncio
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pacesetter_service.canonical import canonical_json
from pacesetter_service.database import migrate, open_store
from pacesetter_service.database.models import IdempotencyRow, JobRow, ProjectRow
from pacesetter_service.database.opening import file_system_of
from pacesetter_service.database.store import Store, Transaction
from pacesetter_service.database.types import utc_now
from pacesetter_service.errors import Busy, Refused, UnsuitableDatabase
from sqlalchemy import func, insert, select

from tests.service.storage.conftest import Heard, unheard


def add_project(name: str, *, fail: bool = False) -> Callable[[Transaction], str]:
    def work(tx: Transaction) -> str:
        tx.execute(insert(ProjectRow).values(name=name))
        tx.wakes.add(name)
        if fail:
            raise RuntimeError(f"{name} failed")
        return name

    return work


def names(tx: Transaction) -> list[str]:
    return [row.name for row in tx.execute(select(ProjectRow.name).order_by(ProjectRow.name))]


async def test_a_unit_of_work_is_there_once_it_has_returned(store: Store) -> None:
    assert await store.write(add_project("a")) == "a"
    assert await store.read(names) == ["a"]


async def test_a_unit_that_fails_leaves_nothing_and_harms_no_other(
    store: Store, heard: Heard
) -> None:
    # All at once, so that SQLite takes them in one transaction.
    results = await asyncio.gather(
        *(store.write(add_project(f"{i:02}", fail=i % 3 == 0)) for i in range(30)),
        return_exceptions=True,
    )
    kept = [f"{i:02}" for i in range(30) if i % 3]
    assert [str(r) for r in results if isinstance(r, RuntimeError)] == [
        f"{i:02} failed" for i in range(0, 30, 3)
    ]
    assert await store.read(names) == kept
    woken = frozenset().union(*(wakes for wakes, _ in heard))
    assert woken == set(kept)


async def test_units_that_contend_lose_no_update(store: Store) -> None:
    def initial(tx: Transaction) -> None:
        tx.execute(insert(ProjectRow).values(name="counter"))
        now = tx.execute(select(utc_now())).scalar_one()
        tx.execute(
            insert(IdempotencyRow).values(
                scope="s", key="k", fingerprint="f", status=0, expires_at=now
            )
        )

    def increment(tx: Transaction) -> None:
        row = tx.execute(select(IdempotencyRow.status).with_for_update()).one()
        tx.execute(IdempotencyRow.__table__.update().values(status=row.status + 1))  # type: ignore[attr-defined]

    await store.write(initial)
    await asyncio.gather(*(store.write(increment) for _ in range(40)))
    assert await store.read(lambda tx: tx.execute(select(IdempotencyRow.status)).scalar_one()) == 40


async def test_time_is_in_utc_and_rises(store: Store) -> None:
    first = await store.read(lambda tx: tx.execute(select(utc_now())).scalar_one())
    await store.write(add_project("a"))
    created = await store.read(lambda tx: tx.execute(select(ProjectRow.created_at)).scalar_one())
    last = await store.read(lambda tx: tx.execute(select(utc_now())).scalar_one())
    assert first.utcoffset() is not None
    assert first <= created <= last


async def test_moments_compare_in_the_database(store: Store) -> None:
    await store.write(add_project("a"))
    now = await store.read(lambda tx: tx.execute(select(utc_now())).scalar_one())
    count = select(func.count()).select_from(ProjectRow)
    before = count.where(ProjectRow.created_at <= now)
    after = count.where(ProjectRow.created_at > now)
    assert await store.read(lambda tx: tx.execute(before).scalar_one()) == 1
    assert await store.read(lambda tx: tx.execute(after).scalar_one()) == 0


@pytest.mark.parametrize("number", [2**63, 10**30])
async def test_a_number_that_no_column_holds_is_refused(store: Store, number: int) -> None:
    beyond = select(JobRow.id).where(JobRow.last_seq == number)
    for run in (store.read, store.write):
        with pytest.raises(Refused) as error:
            await run(lambda tx: tx.execute(beyond).all())
        assert error.value.code == "VALUE_OUT_OF_RANGE"
    assert await store.read(names) == []


async def test_a_closed_store_is_busy(database_url: str) -> None:
    store = open_store(database_url, unheard)
    migrate(store.engine)
    await store.start()
    await store.close()
    with pytest.raises(Busy):
        await store.write(add_project("a"))
    with pytest.raises(Busy):
        await store.read(names)


async def test_what_was_queued_before_closing_is_written(sqlite_url: str) -> None:
    store = open_store(sqlite_url, unheard)
    migrate(store.engine)
    await store.start()
    writes = [asyncio.ensure_future(store.write(add_project(f"{i}"))) for i in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*writes) == [f"{i}" for i in range(20)]


async def test_a_locked_sqlite_file_is_busy(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacesetter_service.database.sqlite.BUSY_TIMEOUT_SECONDS", 0)
    store = open_store(sqlite_url, unheard)
    migrate(store.engine)
    await store.start()
    with closing(sqlite3.connect(tmp_path / "pacesetter.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE").close()
        with pytest.raises(Busy, match="locked"):
            await store.write(add_project("a"))
        other.execute("ROLLBACK").close()
    assert await store.write(add_project("a")) == "a"
    await store.close()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("sqlite://", "NO_DATABASE_FILE"),
        ("sqlite:///:memory:", "NO_DATABASE_FILE"),
        ("mysql://localhost/x", "UNKNOWN_DATABASE"),
        ("nonsense", "BAD_DATABASE_URL"),
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str, code: str) -> None:
    with pytest.raises(UnsuitableDatabase) as error:
        open_store(url, unheard)
    assert error.value.code == code


def test_the_file_system_of_a_path_is_that_of_its_deepest_mount() -> None:
    mounts = "/dev/a / ext4 rw 0 0\nserver:/x /home nfs4 rw 0 0\n/dev/b /home/a\\040b xfs rw 0 0\n"
    assert file_system_of(Path("/var/x.db"), mounts) == "ext4"
    assert file_system_of(Path("/home/ada/x.db"), mounts) == "nfs4"
    assert file_system_of(Path("/home/a b/x.db"), mounts) == "xfs"


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacesetter_service.database.opening.file_system_of", lambda *_: "nfs4")
    with pytest.raises(UnsuitableDatabase, match="network file system"):
        open_store(f"sqlite:///{tmp_path / 'a.db'}", unheard)


def test_canonical_json_is_sorted_and_keeps_every_number() -> None:
    value = {"b": [1e16, -0.0, 1, True, None], "a": math.nan, "c": {"x": -math.inf}}
    assert canonical_json(value) == (
        '{"a":"NaN","b":[1e+16,-0.0,1,true,null],"c":{"x":"-Infinity"}}'
    )


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\\\x00"])
def test_canonical_json_refuses_nul(text: str) -> None:
    with pytest.raises(Refused) as error:
        canonical_json({"a": text})
    assert error.value.code == "NUL_CHARACTER"


def test_canonical_json_takes_an_escaped_backslash_before_u0000() -> None:
    assert canonical_json("\\u0000") == '"\\\\u0000"'
