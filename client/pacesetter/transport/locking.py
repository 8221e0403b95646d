"""A lock on a file that ends with the process that holds it.

POSIX record locks, because a forked data-loading worker does not inherit them: a killed job's folder is free at once,
even while its workers linger. They do not exclude the process that holds them, so a set of this process does that.
"""

import os
import sys
import threading
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_held: set[str] = set()
_guard = threading.Lock()


class FileLock:
    """An exclusive lock on ``path``, held from ``acquire`` until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = os.path.realpath(path)
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock and return True, or return False at once where somebody else holds it.

        Raises:
            OSError: The file cannot be created.
        """
        with _guard:
            if self._key in _held:
                return False
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if sys.platform != "win32":
                    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                os.close(descriptor)
                return False
            _held.add(self._key)
            self._descriptor = descriptor
            return True

    def release(self) -> None:
        """Let go; nothing happens where it is not held."""
        with _guard:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
                _held.discard(self._key)
