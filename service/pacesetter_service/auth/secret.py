"""The server's secret: the key of every HMAC. Whoever has it can make job tokens."""

import os
import secrets
from pathlib import Path

from pacesetter_service.settings import Settings, SettingsError

FILE_NAME = "server-secret"
SECRET_BYTES = 32


def load_secret(settings: Settings) -> bytes:
    """Return the secret from the settings, or the one kept in the data directory, made on first use.

    Raises:
        SettingsError: The file is readable by others, too short, or cannot be written.
    """
    if settings.secret is not None:
        return settings.secret.encode()
    path = settings.data_dir / FILE_NAME
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        _create_once(path)
        return _read(path)
    except OSError as error:
        raise SettingsError(
            f"the server's secret cannot be kept at {path}: {error.strerror}; set PACESETTER_SECRET "
            "or a PACESETTER_DATA_DIR that can be written"
        ) from error


def _create_once(path: Path) -> None:
    """Write a new secret unless there is one; two servers that start at once agree on the first."""
    if path.exists():
        return
    draft = path.with_name(f".{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # link() fails if the name exists: the file appears whole, and only once.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _read(path: Path) -> bytes:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SettingsError(f"{path} has mode {mode:04o}; run `chmod 600 {path}`")
    value = path.read_text(encoding="ascii", errors="replace").strip()
    if len(value) < SECRET_BYTES:
        raise SettingsError(
            f"{path} holds {len(value)} characters, at least {SECRET_BYTES} are needed; "
            "restore it, or delete it (job tokens and created tokens then stop working)"
        )
    return value.encode()
