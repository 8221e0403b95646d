"""From a database URL to a store."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pacesetter_service.database.postgresql import PostgresqlStore
from pacesetter_service.database.sqlite import SqliteStore
from pacesetter_service.database.store import Store, WakeListener
from pacesetter_service.errors import UnsuitableDatabase

NETWORK_FILE_SYSTEMS = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs"),
        *("ceph", "lustre", "glusterfs", "beegfs", "fuse.sshfs"),
    )
)


def file_system_of(path: Path, mounts: str) -> str:
    """Return the type of the file system that holds ``path``, given the text of ``/proc/mounts``."""
    best, best_type = "", ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, best_type = point, fields[2]
    return best_type


def _refuse_network_file_system(path: Path) -> None:
    mounts = Path("/proc/mounts")
    kind = file_system_of(path, mounts.read_text()) if mounts.exists() else ""
    if kind in NETWORK_FILE_SYSTEMS:
        raise UnsuitableDatabase(
            f"{path} is on a network file system ({kind}), where SQLite's locks do not hold",
            code="NETWORK_FILE_SYSTEM",
            hint="use a local disk, or PostgreSQL",
        )


def _sqlite_path(url: URL) -> Path:
    if not url.database or url.database == ":memory:":
        raise UnsuitableDatabase(
            "SQLite needs a file: its readers and its writer have connections of their own",
            code="NO_DATABASE_FILE",
            hint="give a URL like sqlite:////var/lib/pacesetter/pacesetter.db",
        )
    path = Path(url.database).expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_network_file_system(path)
    return path


def open_store(database_url: str, listener: WakeListener) -> Store:
    """Return the store for ``sqlite:///path`` or ``postgresql://...``, not yet started.

    Raises:
        UnsuitableDatabase: The URL names neither, or a place that cannot work.
    """
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise UnsuitableDatabase(
            "the database URL cannot be read", code="BAD_DATABASE_URL", hint=str(error)
        ) from error
    backend = url.drivername.partition("+")[0]
    if backend == "sqlite":
        return SqliteStore(_sqlite_path(url), listener)
    if backend in ("postgresql", "postgres"):
        return PostgresqlStore(url.set(drivername="postgresql+psycopg"), listener)
    raise UnsuitableDatabase(
        f"{backend} is no database this service knows",
        code="UNKNOWN_DATABASE",
        hint="use sqlite:///path or postgresql://user:password@host/name",
    )
