"""``PACESETTER_URL=local``: a controller on this machine, started as a child process where none runs yet.

Processes of the same user share it: the first one starts it and writes its address beside the database, the others
find it there. It ends with the process that started it; the others then start their own on the same database.
"""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

import httpx

from pacesetter.errors import ConfigurationError
from pacesetter.transport.calls import Away
from pacesetter.transport.conditions import logger
from pacesetter.transport.locking import FileLock

START_SECONDS = 60.0
_LOG_TAIL = 2000


class LocalService:
    """Finds the user's local controller, or starts it.

    Raises:
        ConfigurationError: The server is not installed here.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        if importlib.util.find_spec("pacesetter_service") is None:
            raise ConfigurationError(
                "PACESETTER_URL is `local`, but the server is not installed here: "
                "pip install 'pacesetter-server[server]', or set PACESETTER_URL to a running service"
            )
        self._directory = _data_directory(environment)
        self._url_file = self._directory / "local.url"
        self._lock = FileLock(self._directory / "local.lock")

    def locate(self) -> str:
        """Return the base URL of a controller that answers, starting one if need be.

        Called from a background thread: it takes seconds.

        Raises:
            Away: It does not start, or another process is still starting it.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            url = self._running()
            return url if url is not None else self._start_alone()
        except OSError as error:
            raise Away(
                f"the local service cannot be started in {self._directory}: {error}"
            ) from error

    def _running(self) -> str | None:
        if not self._url_file.exists():
            return None
        url = self._url_file.read_text(encoding="utf-8").strip()
        try:
            # Nothing on the loopback interface goes through a proxy.
            answer = httpx.get(f"{url}/healthz", timeout=5.0, trust_env=False)
        except httpx.HTTPError:
            return None
        return url if answer.is_success else None

    def _start_alone(self) -> str:
        """Start the controller, or wait for the process that is doing so."""
        deadline = monotonic() + START_SECONDS
        while not self._lock.acquire():
            time.sleep(0.1)
            url = self._running()
            if url is not None:
                return url
            if monotonic() > deadline:
                raise Away("another process has been starting the local service for too long")
        try:
            return self._running() or self._start(deadline)
        finally:
            self._lock.release()

    def _start(self, deadline: float) -> str:
        self._url_file.unlink(missing_ok=True)
        log = self._directory / "local.log"
        child = _spawn(self._directory, self._url_file, log)
        while child.poll() is None and monotonic() < deadline:
            url = self._running()
            if url is not None:
                logger.info("Started a local service at %s; its log is %s.", url, log)
                return url
            time.sleep(0.05)
        child.kill()
        child.wait()
        tail = log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:].strip()
        raise Away(f"the local service did not start; the end of {log}:\n{tail}")


def _spawn(directory: Path, url_file: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the controller under a guard that ends it with this process."""
    arguments = ["serve", "--host", "127.0.0.1", "--port", "0"]
    arguments += ["--data-dir", str(directory), "--url-file", str(url_file)]
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "pacesetter.transport.local_server", *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    threading.Thread(target=_reap, args=(child,), name="pacesetter-local", daemon=True).start()
    return child


def _reap(child: subprocess.Popen[bytes]) -> None:
    """Leave no zombie, and hold the pipe that the child watches for as long as this process lives."""
    child.wait()
    if child.stdin is not None:
        child.stdin.close()


def _data_directory(environment: Mapping[str, str]) -> Path:
    """Return the folder where the server keeps its data by default."""
    told = environment.get("PACESETTER_DATA_DIR")
    return Path(told).absolute() if told else Path.home() / ".local" / "share" / "pacesetter"
