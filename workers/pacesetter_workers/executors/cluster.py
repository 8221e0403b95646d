"""A local Ray started by the worker itself, or a cluster joined by its address.

Ray is told where its files go: its token, which it would otherwise write into the home folder for everybody to read,
and its sockets, whose paths may not be longer than 107 bytes. It sends no usage statistics.
"""

import atexit
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from functools import cache
from pathlib import Path

from pacesetter_workers.errors import WorkerUnusable

LOCAL = "local"
OBJECT_STORE_BYTES = 128 << 20
"""Trials pass numbers alone. Ray's default is 30 % of the memory, and a container's /dev/shm has 64 MB."""

_NICENESS = {"worker_niceness": 0}
"""Trials rank with those of the executor `process`. Ray puts its processes at 15, behind all else on the machine:
beside a controller that fitted laws, at 10, trials took two and a half times as long."""

_REACH_SECONDS = 10.0
_UNUSABLE = (
    "no Ray cluster can be used at {address!r}: {error}. Expected `local`, `auto` or the host:port of a head node, "
    "with RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH set as on its nodes"
)


class Cluster:
    """A connection to Ray, from the moment it is made until ``close``.

    Args:
        address: ``"local"`` starts one here; ``"auto"`` joins that of this machine; else ``host:port`` of a head node.
        slots: CPUs of a local one.
        gpus: GPUs of a local one; None: as many as Ray finds.

    Raises:
        WorkerUnusable: Ray is not installed, or does not answer there.
    """

    def __init__(self, address: str, slots: int, gpus: int | None = None) -> None:
        self.folder: Path | None = None
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if address == LOCAL:
            self.folder = Path(tempfile.mkdtemp(prefix="pace-ray-", dir=_short_folder()))
            use_own_token()
        try:
            self._connect(address, slots, gpus)
        except BaseException:
            self._clean_up()
            raise

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        import ray

        ray.shutdown()
        self._clean_up()

    def _connect(self, address: str, slots: int, gpus: int | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise WorkerUnusable(
                "the executor `ray` needs Ray; install pacesetter-server[worker], or choose --executor process"
            ) from error
        if ":" in address:
            _reach(address)
        # Ray puts a handler of its own in place that exits at once, and never takes it back.
        in_main_thread = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM) if in_main_thread else None
        try:
            if self.folder is None:
                ray.init(address=address, log_to_driver=True, logging_level=logging.WARNING)
            else:
                ray.init(
                    address=LOCAL,
                    num_cpus=slots,
                    num_gpus=gpus,
                    object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    logging_level=logging.WARNING,
                    _temp_dir=str(self.folder),
                    _system_config=_NICENESS,
                )
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise WorkerUnusable(_UNUSABLE.format(address=address, error=error)) from error
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    def _clean_up(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _reach(address: str) -> None:
    """Knock at a head node's port: Ray itself tries for minutes where nobody answers.

    Raises:
        WorkerUnusable: Nobody does.
    """
    host, _, port = address.rpartition("//")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise WorkerUnusable(_UNUSABLE.format(address=address, error=error)) from error


def _short_folder() -> str | None:
    """Return where a local Ray's sockets fit; None: where temporary files usually go."""
    return "/tmp" if os.path.isdir("/tmp") and os.access("/tmp", os.W_OK) else None


@cache
def use_own_token() -> None:
    """Make a token that only this user can read, and have Ray ask for it. Ray reads it once a process."""
    folder = Path(tempfile.mkdtemp(prefix="pace-ray-token-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "token"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)
