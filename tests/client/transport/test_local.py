"""`PACESETTER_URL=local` with a stand-in for the server, so that only finding, starting and ending is tested."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from pacesetter.errors import ConfigurationError
from pacesetter.transport import open_transport
from pacesetter.transport.calls import Away
from pacesetter.transport.local import LocalService

from tests.client.transport.samples import eventually

SERVER = """
import argparse, http.server, os, pathlib, signal, sys

def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    for option in ("--host", "--port", "--data-dir", "--url-file"):
        parser.add_argument(option)
    options = parser.parse_args(arguments)
    if os.environ.get("STAND_IN_FAILS"):
        print("the database is of a newer version")
        return 2
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *arguments):
            pass
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = http.server.ThreadingHTTPServer((options.host, 0), Handler)
    folder = pathlib.Path(getattr(options, "data_dir"))
    (folder / f"pid-{os.getpid()}").write_text("")
    pathlib.Path(options.url_file).write_text(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()
"""

JOB = """
import os, sys, time
from pacesetter.transport.local import LocalService
url = LocalService(os.environ).locate()
if os.environ.get("FORKS") and os.fork() == 0:
    time.sleep(600)
print(url, flush=True)
time.sleep(600)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `pacesetter_service` is the stand-in."""
    package = tmp_path / "site" / "pacesetter_service"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "cli.py").write_text(textwrap.dedent(SERVER))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]),
        "PACESETTER_DATA_DIR": str(tmp_path / "data"),
    }


def start_job(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", JOB], env=environment, stdout=subprocess.PIPE, text=True
    )


def url_of(job: "subprocess.Popen[str]") -> str:
    assert job.stdout is not None
    return job.stdout.readline().strip()


def servers(environment: dict[str, str]) -> list[int]:
    started = Path(environment["PACESETTER_DATA_DIR"]).glob("pid-*")
    return [pid for pid in (int(path.name[4:]) for path in started) if psutil.pid_exists(pid)]


@pytest.mark.faults
def test_processes_share_one_server_and_another_follows_when_its_owner_is_killed(
    environment: dict[str, str],
) -> None:
    with start_job(environment) as first, start_job(environment) as second:
        try:
            url = url_of(first)
            assert url.startswith("http://127.0.0.1:")
            assert url_of(second) == url
            [server] = servers(environment)
            owner = psutil.Process(server).ppid()
            (first if owner == first.pid else second).kill()
            eventually(lambda: servers(environment) == [])
            with start_job(environment) as third:
                try:
                    assert url_of(third).startswith("http://127.0.0.1:")
                    assert len(servers(environment)) == 1
                finally:
                    third.kill()
        finally:
            first.kill()
            second.kill()
    eventually(lambda: servers(environment) == [])


@pytest.mark.faults
def test_the_server_ends_with_its_job_even_while_a_forked_worker_lives_on(
    environment: dict[str, str],
) -> None:
    with start_job({**environment, "FORKS": "1"}) as job:
        url_of(job)
        eventually(lambda: servers(environment))
        workers = [
            child.pid
            for child in psutil.Process(job.pid).children()
            if child.pid not in servers(environment)
        ]
        assert len(workers) == 1
        try:
            os.kill(job.pid, signal.SIGKILL)
            eventually(lambda: servers(environment) == [])
            assert psutil.pid_exists(workers[0])
        finally:
            job.kill()
            os.kill(workers[0], signal.SIGKILL)


@pytest.mark.faults
def test_a_server_that_does_not_start_says_why(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "PACESETTER_DATA_DIR"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.setenv("STAND_IN_FAILS", "1")
    with pytest.raises(Away, match="the database is of a newer version"):
        LocalService(environment).locate()


def test_without_the_server_installed_local_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find_nothing(name: str) -> None:
        return None

    monkeypatch.setattr("importlib.util.find_spec", find_nothing)
    with pytest.raises(ConfigurationError, match="pip install"):
        open_transport(url="local", environment={})
