"""Bring the schema up to date, one process at a time."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from pacesetter_service.errors import SchemaTooNew, StorageError

_LOCK = 0x9ACE5E77  # any number that nothing else on the server uses as its advisory lock


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", "pacesetter_migrations:")
    configuration.set_main_option("path_separator", "os")
    return configuration


def latest_revision() -> str:
    """Return the revision that this release works with."""
    head = ScriptDirectory.from_config(_configuration()).get_current_head()
    assert head is not None
    return head


@contextlib.contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    """Yield a connection while no other process migrates the same database."""
    if engine.dialect.name == "sqlite":
        path = Path(f"{engine.url.database}.lock")
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with engine.begin() as connection:
                yield connection
        return
    with engine.begin() as connection:
        # Held to the end of the transaction, so a killed process leaves no lock behind.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        yield connection


def _check_not_newer(connection: Connection) -> str | None:
    """Return the revision of the database (None: empty). Raises SchemaTooNew."""
    current = MigrationContext.configure(connection).get_current_revision()
    script = ScriptDirectory.from_config(_configuration())
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise SchemaTooNew(
            f"the database has schema {current}, which this release does not know",
            code="SCHEMA_TOO_NEW",
            hint="install the release that wrote it, or a newer one",
        )
    return current


def migrate(engine: Engine) -> str:
    """Upgrade to the latest revision under a lock; return it.

    Raises:
        SchemaTooNew: A newer release wrote the database.
    """
    with _locked(engine) as connection:
        if _check_not_newer(connection) != latest_revision():
            configuration = _configuration()
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")
    return latest_revision()


def check_schema(engine: Engine) -> None:
    """Return if the schema is the one this release works with.

    Raises:
        SchemaTooNew: A newer release wrote the database.
        StorageError: It is older, or empty (``SCHEMA_TOO_OLD``).
    """
    with engine.connect() as connection:
        current = _check_not_newer(connection)
    if current != latest_revision():
        raise StorageError(
            f"the database has schema {current or 'none'}, this release needs {latest_revision()}",
            code="SCHEMA_TOO_OLD",
            hint="run `pacesetter-server migrate`",
        )
