"""Settings of the service, from the environment and the command line."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

DEFAULT_PORT = 8642
MEBIBYTE = 1024 * 1024

LogFormat = Literal["console", "json"]


class SettingsError(ValueError):
    """A setting that cannot work; the message says which one, and what to write instead."""


def default_data_dir(environment: Mapping[str, str]) -> Path:
    """Return where the database, its secret and its locks live unless somebody says otherwise."""
    configured = environment.get("PACESETTER_DATA_DIR")
    return Path(configured) if configured else Path.home() / ".local" / "share" / "pacesetter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the service needs to know to start.

    Attributes:
        database_url: SQLAlchemy URL; None is a SQLite file in ``data_dir``.
        admin_token: Accepted with every scope, on top of the tokens in the database.
        secret: Key of every HMAC; None is the one kept in ``data_dir``.
        allowed_hosts: Host names served beside localhost while no token is asked for.
        max_body_bytes: Largest request body, as sent and as unpacked.
        lease_seconds: How long a worker holds a trial without a heartbeat.
        stream_seconds: After this a stream ends and the client reconnects, so that no stream grows old.
        graceful_seconds: Time that open requests get after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    data_dir: Path = field(default_factory=lambda: default_data_dir(os.environ))
    database_url: str | None = None
    admin_token: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    allowed_hosts: frozenset[str] = frozenset()
    log_format: LogFormat = "console"
    log_level: str = "info"
    max_body_bytes: int = 8 * MEBIBYTE
    lease_seconds: int = 60
    stream_seconds: float = 600.0
    ping_seconds: int = 15
    graceful_seconds: int = 5

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'pacesetter.db'}"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the address that the service binds."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings that ``PACESETTER_*`` variables name.

        Raises:
            SettingsError: A variable has a value that cannot be used.
        """
        hosts = environment.get("PACESETTER_ALLOWED_HOSTS", "").split(",")
        return cls(
            host=environment.get("PACESETTER_HOST", "127.0.0.1"),
            port=_integer(environment, "PACESETTER_PORT", DEFAULT_PORT, 0, 65535),
            data_dir=default_data_dir(environment),
            database_url=environment.get("PACESETTER_DATABASE_URL") or None,
            admin_token=_secret(environment, "PACESETTER_ADMIN_TOKEN", 16),
            secret=_secret(environment, "PACESETTER_SECRET", 32),
            allowed_hosts=frozenset(host.strip().lower() for host in hosts if host.strip()),
            log_format=_log_format(environment.get("PACESETTER_LOG_FORMAT", "console")),
            log_level=_log_level(environment.get("PACESETTER_LOG_LEVEL", "info")),
            max_body_bytes=_integer(
                environment, "PACESETTER_MAX_BODY_BYTES", 8 * MEBIBYTE, 1024, 1024 * MEBIBYTE
            ),
            lease_seconds=_integer(environment, "PACESETTER_LEASE_SECONDS", 60, 1, 3600),
        )


def shown_url(database_url: str) -> str:
    """Return a database URL fit for logs: without its password."""
    scheme, separator, rest = database_url.partition("://")
    place = rest.rpartition("@")[2]
    return f"{scheme}{separator}{place.partition('?')[0]}"


def _integer(environment: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(
            f"{name} is {text!r}; write a whole number from {low} to {high}"
        ) from None
    if not low <= value <= high:
        raise SettingsError(f"{name} is {value}; write a whole number from {low} to {high}")
    return value


def _secret(environment: Mapping[str, str], name: str, shortest: int) -> str | None:
    value = environment.get(name)
    if not value:
        return None
    if len(value) < shortest or not value.isascii() or any(c.isspace() for c in value):
        # The value itself stays out of the message: messages are logged.
        raise SettingsError(
            f"{name} must be at least {shortest} ASCII characters without spaces; "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"
        )
    return value


def _log_format(text: str) -> LogFormat:
    if text == "console":
        return "console"
    if text == "json":
        return "json"
    raise SettingsError(f"PACESETTER_LOG_FORMAT is {text!r}; write console or json")


def _log_level(text: str) -> str:
    level = text.lower()
    if level not in {"debug", "info", "warning", "error"}:
        raise SettingsError(
            f"PACESETTER_LOG_LEVEL is {text!r}; write debug, info, warning or error"
        )
    return level
