"""Which transport a job gets, from arguments and environment."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from pacesetter.errors import ConfigurationError
from pacesetter.transport.base import Transport
from pacesetter.transport.http import HttpTransport
from pacesetter.transport.local import LocalService
from pacesetter.transport.offline import NullTransport, OfflineTransport
from pacesetter.transport.timing import Timing

Mode = Literal["online", "offline", "disabled"]
LOCAL = "local"
DEFAULT_DIRECTORY = ".pacesetter"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def open_transport(
    mode: Mode | None = None,
    url: str | None = None,
    token: str | None = None,
    journal_dir: str | Path | None = None,
    *,
    timing: Timing | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Transport:
    """Return the transport that arguments, or else the environment, ask for.

    Environment: ``PACESETTER_MODE`` (``online`` by default), ``PACESETTER_URL`` (an address, or ``local``),
    ``PACESETTER_TOKEN``, and ``PACESETTER_DIR`` for journals (``./.pacesetter`` by default).

    Raises:
        ConfigurationError: The mode is unknown, an online job has no usable URL, or ``local`` lacks the server.
    """
    chosen = mode or environment.get("PACESETTER_MODE") or "online"
    directory = Path(journal_dir or environment.get("PACESETTER_DIR") or DEFAULT_DIRECTORY)
    if chosen == "disabled":
        return NullTransport()
    if chosen == "offline":
        return OfflineTransport(directory.absolute(), timing)
    if chosen != "online":
        raise ConfigurationError(
            f"mode is {chosen!r}; expected one of {', '.join(get_args(Mode))} (argument or PACESETTER_MODE)"
        )
    service, locate = find_service(url, environment)
    token = token or environment.get("PACESETTER_TOKEN") or None
    return HttpTransport(service, locate, token, directory.absolute(), timing)


def find_service(
    url: str | None, environment: Mapping[str, str] = os.environ
) -> tuple[str, Callable[[], str]]:
    """Return what to call the service, and a function that returns its base URL.

    Raises:
        ConfigurationError: There is no URL, or it cannot be used.
    """
    address = url or environment.get("PACESETTER_URL") or ""
    if not address:
        raise ConfigurationError(
            "no service is set: set PACESETTER_URL to its address (or to `local` to start one on this machine), "
            "or PACESETTER_MODE to offline or disabled"
        )
    if address == LOCAL:
        return LOCAL, LocalService(environment).locate
    checked = _checked(address, environment)
    return checked, lambda: checked


def _checked(address: str, environment: Mapping[str, str]) -> str:
    """Return the base URL without its trailing slash, after saying what is wrong with it."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"PACESETTER_URL cannot be read: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(
            f"PACESETTER_URL is {address.split('@')[-1]!r}; expected https://host[:port][/prefix], or `local`"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(
            "PACESETTER_URL carries credentials, a query or a fragment; give the bare address and put the token "
            "into PACESETTER_TOKEN"
        )
    plain_is_fine = host in LOOPBACK or environment.get("PACESETTER_INSECURE_HTTP") == "1"
    if parts.scheme == "http" and not plain_is_fine:
        raise ConfigurationError(
            f"PACESETTER_URL is plain http to {host}: measurements and the token would travel unencrypted; use https, "
            "or set PACESETTER_INSECURE_HTTP=1 on a network that you trust"
        )
    return address.rstrip("/")
