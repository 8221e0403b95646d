"""PostgreSQL: a pool of synchronous psycopg 3 connections, and one more that listens.

READ COMMITTED throughout: units of work that change a job lock its row first, so those of several replicas come
one after the other. ``NOTIFY`` only says "look again"; what is true stands in the tables, and a poll every few
seconds finds what a lost connection missed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pacesetter_service.database.store import Store, Transaction, WakeListener
from pacesetter_service.errors import Busy, value_out_of_range

T = TypeVar("T")

CHANNEL = "pacesetter_segments"
WORKERS = 8
ATTEMPTS = 5
RECONNECT_SECONDS = 1.0
_RETRIED = ("40001", "40P01")  # serialization failure, deadlock

logger = logging.getLogger(__name__)


class PostgresqlStore(Store):
    """See the module's docstring."""

    def __init__(self, url: URL, listener: WakeListener) -> None:
        super().__init__(listener)
        self.engine = create_engine(
            url,
            pool_size=WORKERS,
            max_overflow=0,
            pool_pre_ping=True,
            pool_use_lifo=True,
            isolation_level="READ COMMITTED",
            connect_args={"application_name": "pacesetter", "connect_timeout": 10},
        )
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="pacesetter-database")
        self._listening: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        ready = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(ready))
        # A replica that cannot listen yet still works, by its poll.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await ready.wait()

    async def write(self, work: Callable[[Transaction], T]) -> T:
        result, transaction = await self._in_thread(lambda: self._write(work))
        if transaction.wakes or transaction.due:
            self._listener(frozenset(transaction.wakes), frozenset(transaction.due))
        return result

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._in_thread(lambda: self._read(work))

    async def _in_thread(self, run: Callable[[], T]) -> T:
        if self._closing:
            raise Busy("the controller is shutting down")
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def _write(self, work: Callable[[Transaction], T]) -> tuple[T, Transaction]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.engine.begin() as connection:
                    transaction = Transaction(connection)
                    result = work(transaction)
                    for job in sorted(transaction.wakes):
                        connection.execute(
                            text("SELECT pg_notify(:channel, :job)"),
                            {"channel": CHANNEL, "job": job},
                        )
                    return result, transaction
            except PoolTimeout as error:
                raise Busy("every database connection is in use") from error
            except (DBAPIError, psycopg.Error) as error:
                driver_error = error.orig if isinstance(error, DBAPIError) else error
                if getattr(driver_error, "sqlstate", None) in _RETRIED and attempt < ATTEMPTS:
                    continue
                raise _translated(error) from error
        raise Busy("the database kept refusing a transaction that others contend for")

    def _read(self, work: Callable[[Transaction], T]) -> T:
        try:
            with self.engine.begin() as connection:
                return work(Transaction(connection))
        except (DBAPIError, psycopg.Error, PoolTimeout) as error:
            raise _translated(error) from error

    async def close(self) -> None:
        self._closing = True
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
        await asyncio.to_thread(self._threads.shutdown)
        self.engine.dispose()

    async def _listen(self, ready: asyncio.Event) -> None:
        """Hold the connection that listens, and open it again whenever it is lost."""
        address = self.engine.url.set(drivername="postgresql").render_as_string(False)
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    address, autocommit=True, application_name="pacesetter-listen"
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    ready.set()
                    async for notice in connection.notifies():
                        self._listener(frozenset({notice.payload}), frozenset())
            except psycopg.Error as error:
                logger.warning("lost the connection that listens: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS)


def _translated(error: Exception) -> Exception:
    """Return ``Busy`` for a database out of reach, ``Refused`` for a value it cannot hold, else what came."""
    driver_error = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver_error, psycopg.DataError):
        return value_out_of_range(driver_error)
    if isinstance(error, OperationalError | psycopg.OperationalError | PoolTimeout):
        return Busy("the database cannot be reached")
    return error
