"""The controller as a child process, on SQLite in a folder of the demo's own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

START_SECONDS = 60.0


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Start the service on a free port, yield its URL, and end it."""
    folder.mkdir(parents=True, exist_ok=True)
    url_file = folder / "url"
    url_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pacesetter_service.cli", "serve", "--host", "127.0.0.1"]
    command += ["--port", "0", "--data-dir", str(folder), "--url-file", str(url_file)]
    with (folder / "service.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield wait_until_ready(process, url_file, folder / "service.log")
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_until_ready(process: subprocess.Popen[bytes], url_file: Path, log: Path) -> str:
    """Return the URL once the service answers that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if url_file.exists():
            url = url_file.read_text().strip()
            try:
                if httpx.get(f"{url}/readyz", timeout=2.0).is_success:
                    return url
            except httpx.TransportError:
                continue
        time.sleep(0.1)
    raise SystemExit(f"the service did not start; its log is {log}:\n{log.read_text()[-2000:]}")
