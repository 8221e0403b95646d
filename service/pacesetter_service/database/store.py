"""What a database does for the controller: run units of work, durably, one after the other where they meet.

Repositories are plain functions of a :class:`Transaction`, written once against SQLAlchemy's synchronous
``Connection``. That one form serves both databases: on SQLite a single writer thread runs many units of work in one
transaction (group commit: 1,115 reports/s against 220-333 through an asynchronous driver), on PostgreSQL a small
pool of threads runs each in its own. Threads cost nothing here, since a unit of work waits for the database most of
its time, and there is one code path to test.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import Executable

T = TypeVar("T")


@dataclass(slots=True)
class Transaction:
    """A unit of work's view of the database, and what shall follow once it is committed."""

    connection: Connection
    wakes: set[str] = field(default_factory=set)
    """Jobs with new segments, or whose state their streams must look at; names of queues that have new trials."""
    due: set[str] = field(default_factory=set)
    """Jobs with an event that the planning process has to see."""

    @property
    def is_postgresql(self) -> bool:
        return self.connection.dialect.name == "postgresql"

    def insert_into(self, table: Any) -> Any:
        """Return an INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        return postgresql.insert(table) if self.is_postgresql else sqlite.insert(table)

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement."""
        return self.connection.execute(statement, parameters)


WakeListener = Callable[[frozenset[str], frozenset[str]], None]
"""Called on the event loop after a commit, with the jobs to wake and the jobs to plan."""


class Store(ABC):
    """Runs units of work. All methods are called on the event loop; units of work run on other threads."""

    engine: Engine

    def __init__(self, listener: WakeListener) -> None:
        self._listener = listener

    @abstractmethod
    async def start(self) -> None:
        """Begin to serve."""

    @abstractmethod
    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in a transaction and return what it returned once that is durable.

        An exception of ``work`` leaves nothing behind. It may be run more than once, so it has no other effects.

        Raises:
            Busy: The database is locked, or too much is queued.
        """

    @abstractmethod
    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in a transaction that sees one moment of the database and writes nothing.

        Raises:
            Busy: The database is locked.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what is queued and close every connection."""
