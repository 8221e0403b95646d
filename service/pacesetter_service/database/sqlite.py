"""SQLite: one writer thread with group commit, readers beside it (WAL).

Units of work queue up while a transaction is being committed, and the next transaction takes all of them at once,
each under a savepoint of its own: the more writers, the fewer commits a unit of work costs. A caller hears of its
result only after the commit.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from pacesetter_service.database.store import Store, Transaction, WakeListener
from pacesetter_service.errors import Busy, value_out_of_range

T = TypeVar("T")

MAX_GROUP = 256
"""Units of work in one transaction: bounds how long the first one waits for the last."""
MAX_QUEUE = 4096
BUSY_TIMEOUT_SECONDS = 10
READERS = 3


@dataclass(slots=True)
class _Item:
    """A queued unit of work and whoever waits for it."""

    work: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    transaction: Transaction | None = None
    result: Any = None
    error: BaseException | None = None


def sqlite_engine(path: Path, *, begin: str = "BEGIN IMMEDIATE") -> Engine:
    """Return an engine on a file, whose transactions start with ``begin`` (the driver's own BEGIN is off)."""
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_SECONDS},
        pool_size=READERS,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, record: object) -> None:
        del record
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
            "cache_size=-32768",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _translated(error: BaseException) -> BaseException:
    """Return ``Busy`` for a locked database, ``Refused`` for a value it cannot hold, anything else as it is."""
    if isinstance(error, OverflowError):
        return value_out_of_range(error)
    if isinstance(error, OperationalError):
        error = error.orig or error
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return Busy("the database is locked by another process")
    return error


class SqliteStore(Store):
    """See the module's docstring."""

    def __init__(self, path: Path, listener: WakeListener) -> None:
        super().__init__(listener)
        self.engine = sqlite_engine(path)
        self._read_engine = sqlite_engine(path, begin="BEGIN")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="pacesetter-read")
        self._queue: deque[_Item] = deque()
        self._work_arrived = threading.Condition()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._write_all, name="pacesetter-write")

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def write(self, work: Callable[[Transaction], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._work_arrived:
            if self._closing:
                raise Busy("the controller is shutting down")
            if len(self._queue) >= MAX_QUEUE:
                raise Busy("too many writes are queued")
            self._queue.append(_Item(work, future))
            self._work_arrived.notify()
        return await future

    async def read(self, work: Callable[[Transaction], T]) -> T:
        if self._closing:
            raise Busy("the controller is shutting down")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Callable[[Transaction], T]) -> T:
        try:
            with self._read_engine.begin() as connection:
                return work(Transaction(connection))
        except (OperationalError, OverflowError) as error:
            raise _translated(error) from error

    async def close(self) -> None:
        with self._work_arrived:
            self._closing = True
            self._work_arrived.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._readers.shutdown)
        self._read_engine.dispose()
        self.engine.dispose()

    def _next_group(self) -> list[_Item]:
        """Wait for work and take what is there; empty once the store is closing and nothing is left."""
        with self._work_arrived:
            while not self._queue and not self._closing:
                self._work_arrived.wait()
            return [self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))]

    def _write_all(self) -> None:
        while group := self._next_group():
            try:
                with self.engine.begin() as connection:
                    for item in group:
                        self._run_one(connection, item, alone=len(group) == 1)
            except BaseException as error:
                # The transaction as a whole is gone, so nothing in it happened.
                for item in group:
                    item.error = item.error or _translated(error)
            self._resolve(group)

    @staticmethod
    def _run_one(connection: Connection, item: _Item, *, alone: bool) -> None:
        item.transaction = Transaction(connection)
        if alone:
            item.result = item.work(item.transaction)
            return
        # The driver's own, since SQLAlchemy's savepoints cost as much as a whole report.
        driver: Any = connection.connection.driver_connection
        driver.execute("SAVEPOINT unit").close()
        try:
            item.result = item.work(item.transaction)
        except Exception as error:
            item.error = _translated(error)
            if not driver.in_transaction:
                raise  # the database gave up the whole transaction (disk full, I/O error)
            driver.execute("ROLLBACK TO unit").close()
        driver.execute("RELEASE unit").close()

    def _resolve(self, group: list[_Item]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._deliver, group)

    def _deliver(self, group: list[_Item]) -> None:
        wakes: set[str] = set()
        due: set[str] = set()
        for item in group:
            if item.error is None and item.transaction is not None:
                wakes |= item.transaction.wakes
                due |= item.transaction.due
            if item.future.done():
                continue
            if item.error is not None:
                item.future.set_exception(item.error)
            else:
                item.future.set_result(item.result)
        if wakes or due:
            self._listener(frozenset(wakes), frozenset(due))
