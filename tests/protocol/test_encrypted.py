"""Out to an https service as from a closed network: through a tunnelling proxy, under a private authority."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import trustme
from pacesetter.transport import open_transport

from tests.client.transport.samples import make_spec, measured
from tests.faults.harness import eventually, free_port
from tests.protocol.test_modes import STEPS, train

HOST = "pacesetter.invalid"
"""No resolver knows it: only the proxy can reach it, and the certificate is for this name."""

TOKEN = "an-admin-token-of-32-characters-"

SERVE = """
import sys, uvicorn
from pacesetter_service.app import create_app
from pacesetter_service.settings import Settings
app = create_app(Settings.from_environment())
uvicorn.run(app, port=int(sys.argv[1]), ssl_certfile=sys.argv[2])
"""


class Tunnel(BaseHTTPRequestHandler):
    """Answers CONNECT by passing bytes both ways, unread."""

    def do_CONNECT(self) -> None:
        server = self.server
        assert isinstance(server, TunnellingProxy)
        server.asked.append(self.path)
        with socket.create_connection(("127.0.0.1", server.target), timeout=30) as onward:
            self.send_response(200, "Connection established")
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):  # either end may leave whenever it likes
                self.pass_bytes(onward)

    def pass_bytes(self, onward: socket.socket) -> None:
        other = {self.connection: onward, onward: self.connection}
        server = self.server
        assert isinstance(server, TunnellingProxy)
        while not server.closing:
            for ready in select.select(list(other), [], [], 0.1)[0]:
                block = ready.recv(65536)
                if not block:
                    return
                server.encrypted += block
                other[ready].sendall(block)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class TunnellingProxy(ThreadingHTTPServer):
    """A proxy that sends every tunnel to one port of this machine, and keeps what went through."""

    daemon_threads = False  # closing it waits for the threads, so that no socket is left

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.target, self.closing = target, False
        self.asked: list[str] = []
        self.encrypted = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def proxy_to(port: int) -> Iterator[TunnellingProxy]:
    """Run the proxy until the block ends."""
    with TunnellingProxy(port) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.closing = True
            proxy.shutdown()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that nobody else trusts."""
    return trustme.CA()


@pytest.fixture(scope="module")
def https_port(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a service that speaks TLS with a certificate for ``HOST``."""
    folder = tmp_path_factory.mktemp("https")
    certificate, port = folder / "service.pem", free_port()
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
    environment = {
        **os.environ,
        "PACESETTER_DATA_DIR": str(folder),
        "PACESETTER_ADMIN_TOKEN": TOKEN,
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(port), str(certificate)],
            env=environment,
            stdout=log,
            stderr=log,
        )

    def is_listening() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        eventually(is_listening, "the service to listen")
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def proxy(https_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[TunnellingProxy]:
    """The proxy that the environment names for https."""
    for name in ("no_proxy", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with proxy_to(https_port) as running:
        monkeypatch.setenv("HTTPS_PROXY", running.url)
        yield running


def test_a_job_goes_through_a_tunnel_to_a_service_of_a_private_authority(
    authority: trustme.CA, proxy: TunnellingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(root)
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    result = train("through-a-tunnel", url=f"https://{HOST}", token=TOKEN)
    assert result.unsent_records == 0
    assert set(proxy.asked) == {f"{HOST}:443"}
    # The proxy saw neither the token nor what was measured.
    assert TOKEN.encode() not in proxy.encrypted
    assert b"/v1/jobs" not in proxy.encrypted
    with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}) as api:
        curve = api.get(f"https://{HOST}/v1/jobs/{result.job}/curve?max_points=10000").json()
    assert curve["columns"]["position"] == list(range(STEPS))


def test_a_service_whose_authority_nobody_trusts_gets_nothing(
    proxy: TunnellingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    transport = open_transport("online", f"https://{HOST}", TOKEN, tmp_path)
    assert transport.register(make_spec(), 0.2) is None
    transport.send(measured())
    eventually(lambda: proxy.asked, "the client to try")
    assert transport.close(0.2) == 1
    assert proxy.encrypted
    assert TOKEN.encode() not in proxy.encrypted
