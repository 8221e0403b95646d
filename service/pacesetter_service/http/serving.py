"""Running the app under uvicorn: where it listens, and how it ends."""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from pacesetter_service.http.services import closing_of
from pacesetter_service.logs import uvicorn_log_config
from pacesetter_service.settings import Settings, SettingsError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

logger = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Tells streams and long polls to end as soon as a signal asks for it, and says where it listens."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, url_file: Path | None) -> None:
        super().__init__(config)
        self.app = app
        self.url_file = url_file
        self.url = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then write the base URL where others wait for it."""
        await super().startup(sockets=sockets)
        if self.started and sockets:
            self.url = _base_url(sockets[0])
            logger.info("listening", url=self.url)
            if self.url_file is not None:
                write_atomically(self.url_file, self.url + "\n")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals in the loop: uvicorn's own version raises them again, before the controller has closed."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop taking requests; open streams see ``closing`` and end by themselves."""
        super().handle_exit(sig, frame)
        closing_of(self.app).set()


def build_server(app: FastAPI, settings: Settings, url_file: Path | None = None) -> Server:
    """Return a server for ``app``, not yet listening."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=uvicorn_log_config(),
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.graceful_seconds,
        ws="none",
    )
    return Server(config, app, url_file)


def bind(settings: Settings) -> socket.socket:
    """Return a bound socket; port 0 is one that the system picks.

    Raises:
        SettingsError: The address is taken or is not one of this machine.
    """
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            "choose another --port (0 picks a free one) or --host"
        ) from error
    listener.set_inheritable(False)
    return listener


def write_atomically(path: Path, text: str) -> None:
    """Write ``path`` so that a reader sees all of ``text`` or no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    # A wildcard is no address to connect to; this machine reaches it by loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
